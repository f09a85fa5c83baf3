"""Durations, sizes and counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haplobench.units import counted, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1.5h", 5400),
        ("500ms", 0.5),
        (45, 45),
        ("45", 45),
        ("1 h 5 m", 3900),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 4 << 30), ("4 GiB", 4 << 30), ("500MB", 500_000_000), (1024, 1024), ("2kib", 2048)],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "soon", "10 parsecs", "-3s", 0, -1, True, None, "m10", [1]])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "big", "4 elephants", 0, "-1GiB", True, None])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


@given(st.integers(1, 10**7))
def test_a_formatted_duration_reads_back(seconds: int) -> None:
    again = parse_duration(format_duration(seconds))
    unit = 1 if seconds < 3600 else 60
    assert abs(again - seconds) <= unit


def test_formatted_sizes() -> None:
    assert format_size(512) == "512 B"
    assert format_size(3.1 * 2**30) == "3.1 GiB"
    assert format_size(2**45) == "32768.0 GiB"


def test_counts_agree_with_their_nouns() -> None:
    assert [counted(n, "seed") for n in (0, 1, 2, 1200)] == [
        *("0 seeds", "1 seed", "2 seeds", "1,200 seeds")
    ]
    assert [counted(n, "family", "families") for n in (1, 2)] == ["1 family", "2 families"]
