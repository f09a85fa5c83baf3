"""Where a value lies against the noise floor, and against other values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haplobench.report.load import SubmetricInfo

if TYPE_CHECKING:
    from haplobench.report.model import Floor, Interval, Place

FAR_WIDTHS, FAR_SCORE = 3.0, 1.5
"""Far outside: further from where real people likely lie than so many widths of the floor's
range, and, where there is an ideal, at least so many times as far from it as the floor."""


def place(value: float, floor: Floor | None, submetric: SubmetricInfo) -> Place:
    """Where a value lies against the floor, see `Cell.place`; empty if there's no floor."""
    if floor is None or submetric.direction == "info":
        return ""
    if submetric.direction == "closer" and submetric.ideal is None:
        return ""
    width = max(floor.high - floor.low, submetric.min_effect)
    low, high = _around(floor, floor.likely)
    least, most = _around(floor, floor.possible)
    if submetric.direction == "lower":
        excess, gain = value - high, least - value
    elif submetric.direction == "higher":
        excess, gain = low - value, value - most
    else:
        # Nearer to the ideal than the floor's own range is never worse than real people.
        ideal = submetric.ideal or 0.0
        excess, gain = abs(value - ideal) - max(abs(low - ideal), abs(high - ideal)), 0.0
    tiny = 1e-9 * max(abs(value), abs(floor.median))  # rounding of the quantiles' arithmetic
    if excess > max(submetric.min_effect, tiny):
        distance = score(value, floor, submetric)
        far = excess > FAR_WIDTHS * width + tiny and (distance is None or distance >= FAR_SCORE)
        return "far" if far else "outside"
    return "better" if gain > max(submetric.min_effect, tiny) else "within"


def _around(floor: Floor, interval: Interval | None) -> Interval:
    """The floor's range and an interval together."""
    if interval is None:
        return floor.low, floor.high
    return min(floor.low, interval[0]), max(floor.high, interval[1])


def score(value: float, floor: Floor | None, submetric: SubmetricInfo) -> float | None:
    """Distance of a value from the ideal over the floor's, see `Cell.score`.

    A floor nearer to the ideal than the metric's smallest effect counts as that far away.
    None without an ideal or a floor, and where the floor is the ideal exactly.
    """
    if floor is None or submetric.ideal is None or submetric.direction == "info":
        return None
    unit = max(floor.distance or 0.0, submetric.min_effect)
    return abs(value - submetric.ideal) / unit if unit else None


def badness(value: float | None, submetric: SubmetricInfo) -> float | None:
    """A number that is smaller the better a value is; None where no value is better."""
    if value is None or submetric.direction == "info":
        return None
    if submetric.direction == "closer":
        return None if submetric.ideal is None else abs(value - submetric.ideal)
    return value if submetric.direction == "lower" else -value
