"""The kit passes good datasets and catches every breach."""

from __future__ import annotations

import kit_metrics as toys
import pytest

from haplobench.testing import ConformanceError, check_dataset


def test_a_good_dataset_passes() -> None:
    passed = check_dataset(toys.dataset("GoodDataset"), params={"n_samples": 12})
    assert {"load", "panel", "determinism", "fingerprint", "provenance", "writes"} <= set(passed)


@pytest.mark.parametrize(
    ("target", "check", "words"),
    [
        ("UnseededDataset", "determinism", "panels of different digests"),
        ("RestlessDataset", "fingerprint", "the same str twice"),
        ("SourcelessDataset", "provenance", "where the data came from"),
        ("EmptyDataset", "panel", "0 sites"),
        ("OtherMapDataset", "recombination map", "contig '7'"),
        ("PanelOnlyDataset", "load", "Panel"),
        ("RaisingDataset", "load", "OSError: no network"),
        ("WritingDataset", "writes", "download.vcf"),
    ],
)
def test_each_breach_is_caught(target: str, check: str, words: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_dataset(toys.dataset(target))
    (failure,) = caught.value.failures
    assert failure.check == check
    assert words in str(failure)


def test_params_that_do_not_fit_are_said() -> None:
    with pytest.raises(ConformanceError, match="n_people"):
        check_dataset(toys.dataset("GoodDataset"), params={"n_people": 3})
