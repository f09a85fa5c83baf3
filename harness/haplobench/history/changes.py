"""Change points: where a number left its level for good."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from haplobench.history.model import Change

# Fewer points hold no level to leave.
LEAST_POINTS = 5
# Of the variance, per logarithm of the number of points, and so for each change that is assumed.
# Yao's criterion (1988, Statistics & Probability Letters 6, 181-189) has 2; among thousands of
# series of pure noise that marks several in a hundred, 6 marks fewer than one (see the tests).
PENALTY = 6.0


def find_changes(
    values: Sequence[float],
    *,
    direction: str = "info",
    ideal: float | None = None,
    min_effect: float = 0.0,
) -> tuple[Change, ...]:
    """Change points of a series: optimal segmentation by least squares with a penalty.

    Exact (Killick, Fearnhead & Eckley 2012, PELT, doi:10.1080/01621459.2012.737745; the
    library is ruptures). The noise is measured on successive differences (median absolute
    deviation), which a change of level hardly moves.

    Parameters
    ----------
    values : sequence of float
        Oldest first.
    direction : str
        `lower`, `higher`, `closer` (to `ideal`) or `info`.
    min_effect : float
        Changes of level smaller than this are left out.
    """
    signal = np.asarray(values, np.float64)
    if len(signal) < LEAST_POINTS or not np.ptp(signal):
        return ()
    ends = _segments(signal)
    # A step back to within `min_effect` is no change: its segments are taken together.
    borders = [0]
    for start, end in pairwise(ends):
        level = signal[borders[-1] : start].mean()
        if abs(signal[start:end].mean() - level) > min_effect:
            borders.append(start)
    borders.append(len(signal))
    levels = [float(signal[a:b].mean()) for a, b in pairwise(borders)]
    return tuple(
        Change(index, before, after, _verdict(before, after, direction, ideal))
        for index, before, after in zip(borders[1:-1], levels[:-1], levels[1:], strict=True)
    )


def _segments(signal: np.ndarray) -> list[int]:
    """Ends of the segments, the last being the number of points."""
    from ruptures import KernelCPD

    steps = np.diff(signal)
    # Of a normal distribution: sigma = 1.4826 MAD, and a difference has twice the variance.
    deviation = 1.4826 * float(np.median(np.abs(steps))) / np.sqrt(2)
    if not deviation:
        # More than half of the steps are exactly 0: every change of the value is a change.
        deviation = 1e-12 * max(float(np.abs(signal).max()), np.finfo(np.float64).tiny)
    # In units of the noise, so that sums of squares neither underflow nor cancel.
    scaled = (signal - np.median(signal)) / deviation
    scaled = np.clip(scaled, -1e6, 1e6)
    search = KernelCPD(kernel="linear", min_size=2)
    return list(search.fit_predict(scaled.reshape(-1, 1), pen=PENALTY * np.log(len(signal))))


def _verdict(before: float, after: float, direction: str, ideal: float | None) -> str:
    if direction == "closer" and ideal is not None:
        before, after = abs(before - ideal), abs(after - ideal)
    elif direction == "higher":
        before, after = -before, -after
    elif direction != "lower":
        return "changed"
    if before == after:
        return "changed"
    return "better" if after < before else "worse"
