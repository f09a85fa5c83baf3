"""Digits: as many as mean something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haplobench.report.formatting import decimals_for, format_spread, format_value


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.9984, 4, "0.9984"),
        (0.0013, 4, "0.0013"),
        (0.0, 4, "0.0000"),
        (0.0, None, "0"),
        (-0.00002, 4, "0.0000"),
        (-0.25, 2, "−0.25"),
        (89.93, 2, "89.93"),
        (1419.0, 2, "1,419.0"),
        (12.345, None, "12.3"),
        (1234.5, None, "1,234"),
        (3.8e6, None, "3.80 M"),
        (5.22e9, 3, "5.22 G"),
        (0.000012345, None, "1.23e-05"),
        (0.5, None, "0.500"),
    ],
)
def test_values(value: float, decimals: int | None, text: str) -> None:
    assert format_value(value, decimals) == text


@given(st.floats(1e-300, 1e11), st.sampled_from([None, 2, 3, 4, 5, 6]))
def test_text_is_near_the_value(value: float, decimals: int | None) -> None:
    text = format_value(value, decimals).replace(",", "")
    factor = {"M": 1e6, "G": 1e9}.get(text[-1], 1.0)
    shown = float(text.rstrip(" MG")) * factor
    resolution = 0 if decimals is None else 0.501 * 10.0**-decimals
    assert shown == pytest.approx(value, rel=0.006, abs=resolution)


@pytest.mark.parametrize(
    ("spread", "value", "decimals", "text"),
    [
        (0.0004, 0.9984, 4, "0.0004"),
        (0.00001, 0.9984, 4, "<0.0001"),
        (0.0, 0.9984, 4, "0"),
        (2.31, 24.0, None, "2.3"),
        (380_000.0, 3.8e6, None, "0.38"),
        (7.2, 245.0, None, "7"),
        (0.001, 0.0, None, "0.0010"),
        (2.4e-6, 7.64e-5, None, "2.4e-06"),
    ],
)
def test_spreads(spread: float, value: float, decimals: int | None, text: str) -> None:
    assert format_spread(spread, value, decimals) == text


def test_decimals_follow_the_floor() -> None:
    assert decimals_for([0.9984, 0.98], (0.9979, 0.9984, 0.9988)) == 4
    assert decimals_for([0.984, 0.98], (0.97, 0.98, 0.99)) == 3
    assert decimals_for([7e-5, 2e-6], (0.0, 0.0, 2e-6)) is None
    assert decimals_for([0.0013, 0.17], (0.0009, 0.0013, 0.0021)) == 4
    assert decimals_for([0.49, 0.8], (0.48, 0.49, 0.52)) == 2
    assert decimals_for([1.0], None) is None
    assert decimals_for([50_000.0, 3.0], (1.0, 2.0, 3.0)) is None
    assert decimals_for([0.0], (0.0, 0.0, 0.0)) is None


@given(st.integers(0, 999_999), st.integers(2, 9))
def test_counts_of_people_are_whole_and_their_means_have_one_decimal(count: int, n: int) -> None:
    assert format_value(count, unit="people") == f"{count:,}"
    assert format_value(-count, unit="people").lstrip("−") == f"{count:,}"
    assert decimals_for([240.0, count], (0.0, 0.0, 1.0), "people") == 0
    mean = count + 1 / n
    assert format_value(mean, unit="people").partition(".")[2].isdigit() == (count < 10_000)
    assert decimals_for([240.0, mean], (0.0, 0.0, 0.0), "people") == 1


def test_other_numbers_that_happen_to_be_whole_keep_their_digits() -> None:
    assert format_value(1.0) == "1.00"
    assert format_value(3.0, unit="s") == "3.00"
    assert decimals_for([1.0, 2.0], (0.0, 1.0, 1.0), "sites") == 2
