"""Options of reading that contradict each other are refused."""

from __future__ import annotations

import pytest

from haplobench.data.formats import ReadOptions


@pytest.mark.parametrize(
    "options",
    [
        {"region": "20:5-1"},
        {"region": "20:a-b"},
        {"region": "20:0-5"},
        {"max_missing": 2},
        {"allow_unphased": True, "skip_unphased": True},
        {"contig": "1", "region": "20:1-5"},
        {"regions": "20"},
    ],
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ReadOptions.model_validate(options)
