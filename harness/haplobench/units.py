"""Durations, sizes and counts as people write them: `10m`, `4GiB`, `1 family`, `2 families`."""

from __future__ import annotations

import math
import re

from haplobench.errors import BenchError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


def parse_duration(value: object) -> float:
    """Seconds of `90s`, `10m`, `1h30m`, `2d` or a bare number of seconds.

    Raises ValueError, saying what was expected, for anything else or nothing above zero.
    """
    seconds = _sum_of_parts(value, _SECONDS, bare="s")
    if seconds is None or not 0 < seconds < math.inf:
        raise ValueError(f"expected a duration such as 90s, 10m or 1h30m, found {value!r}")
    return seconds


def parse_size(value: object) -> int:
    """Bytes of `4GiB`, `500MB` or a bare number of bytes.

    Raises ValueError, saying what was expected, for anything else or nothing above zero.
    """
    size = _sum_of_parts(value, _BYTES, bare="")
    if size is None or not 1 <= size < math.inf:
        raise ValueError(f"expected a size such as 4GiB or 500MB, found {value!r}")
    return int(size)


_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "in": 25.4, "pt": 25.4 / 72.27}


def parse_width(text: str) -> float:
    """Millimetres of `85mm`, `8.5cm`, `3.35in` or `242pt` (TeX's points).

    Raises BenchError for anything else, or what no page has: under 40 mm, or over 400.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(mm|cm|in|pt)", text.strip().lower())
    width = float(found[1]) * _MILLIMETRES[found[2]] if found else 0.0
    if not 40 <= width <= 400:
        raise BenchError(f"--width {text!r}: expected 40mm to 400mm, such as 85mm, 17cm or 3.35in")
    return width


def _sum_of_parts(
    value: object, units: dict[str, float] | dict[str, int], bare: str
) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        return None
    if any((unit or bare) not in units for _, unit in parts):
        return None
    return sum(float(number) * units[unit or bare] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """Seconds for people: `0.4s`, `12s`, `3m05s`, `2h10m`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def format_size(size: float) -> str:
    """Bytes for people, in binary units: `512 B`, `3.1 GiB`."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024 or unit == "GiB":
            return f"{size:.1f} {unit}"
    raise AssertionError


def counted(count: int, noun: str, nouns: str = "") -> str:
    """How many of something: `1 seed`, `1,200 seeds`; `nouns` where an `s` isn't the plural."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
