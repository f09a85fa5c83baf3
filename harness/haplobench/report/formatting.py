"""Numbers for readers: as many digits as mean something, the same down a column."""

from __future__ import annotations

import math
from collections.abc import Sequence

ARROWS = {"lower": "↓", "higher": "↑", "closer": "→", "info": ""}
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"))


COUNTED = "people"
"""Unit of numbers that are whole in every cohort."""


def decimals_for(
    values: Sequence[float], floor: tuple[float, float, float] | None, unit: str = ""
) -> int | None:
    """Digits after the point for a column, or None to give each value three significant digits.

    `floor` is the floor's low, median and high: enough digits that its width is three units or
    more of the last, and its median has two, since a smaller difference is noise. Columns of
    very large or very small values, or without a floor, have no common number of digits.
    Counts have none, or one where some are means.
    """
    if unit == COUNTED:
        return 0 if all(value == round(value) for value in (*values, *(floor or ()))) else 1
    sizes = [abs(value) for value in values if value]
    if floor is None or not sizes or not 1e-3 <= max(sizes) < 1e4:
        return None
    low, median, high = floor
    return min(max(_places((high - low) / 3, 1), _places(median, 2), 2), 6)


def _places(value: float, digits: int) -> int:
    if value == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def format_value(value: float, decimals: int | None = None, unit: str = "") -> str:
    """A number for a table: `0.0013`, `12.4`, `3.80 M`; a true minus sign.

    With `decimals`, so many digits after the point unless that claims more than five
    significant digits; else three significant digits, unless its `unit` says that it is a count.
    """
    if decimals is None and unit == COUNTED:
        decimals = decimals_for([value], None, unit)
    text = _format(abs(value), decimals)
    return f"−{text}" if value < 0 and text.strip("0.") else text


def _format(size: float, decimals: int | None) -> str:
    if not math.isfinite(size):
        return str(size)
    if size == 0:
        return "0" if decimals is None else f"{0:.{decimals}f}"
    for limit, suffix in _SUFFIXES:
        if size >= limit:
            return f"{_significant(size / limit, 3)} {suffix}"
    if decimals is None:
        return _significant(size, 3)
    exponent = math.floor(math.log10(size))
    return f"{size:,.{min(decimals, max(0, 4 - exponent))}f}"


def _significant(size: float, digits: int) -> str:
    exponent = math.floor(math.log10(size))
    if exponent < -4:
        return f"{size:.{digits - 1}e}"
    return f"{size:,.{max(0, digits - 1 - exponent)}f}"


def format_spread(spread: float, value: float, decimals: int | None = None) -> str:
    """A standard deviation beside its value: no finer than the value, two digits at most.

    One that would round to nothing is given as a bound: `<0.0001`.
    """
    for limit, _ in _SUFFIXES:
        if abs(value) >= limit:
            return _rounded(spread / limit, _places(value / limit, 3))
    if decimals is None:
        if spread and abs(value) < 1e-4:
            return _significant(spread, 2)
        return _rounded(spread, _places(value, 3))
    exponent = math.floor(math.log10(abs(value))) if value else 0
    return _rounded(spread, min(decimals, max(0, 4 - exponent)), at_most=False)


def _rounded(spread: float, places: int, at_most: bool = True) -> str:
    if spread == 0:
        return "0"
    if round(spread, places) == 0:
        return f"<{10.0**-places:.{places}f}"
    return f"{spread:,.{min(places, _places(spread, 2)) if at_most else places}f}"


def format_count(count: float) -> str:
    """A whole number with thousands separated: `9,349`."""
    return f"{int(count):,}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; empty where there are none."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def row_text(label: str, role: str) -> str:
    """A row of the tables: `shuffled (control)`."""
    return f"{label} (control)" if role == "control" else label
