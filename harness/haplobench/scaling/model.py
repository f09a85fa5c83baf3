"""What a stage's time is made of, fitted to what was measured, and projected to more ranks.

T(p) = serial + rate × work of a rank + communication(p), where communication follows the α-β
model of an all-reduce by halving and doubling (Thakur, Rabenseifner & Gropp 2005,
doi:10.1177/1094342005051521): calls × α log2 p + β bytes × 2 (p - 1) / p. `serial` is what
every rank does in full (Amdahl 1967). All coefficients are 0 or more, by least squares
(Lawson & Hanson 1974).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from haplobench.scaling.points import Point

_FEWEST = 3


@dataclass(frozen=True)
class TimeModel:
    """Coefficients of the time of a stage.

    Attributes
    ----------
    serial : float
        Seconds that don't depend on the ranks.
    rate : float
        Seconds per haplotype of a rank's share.
    alpha : float
        Seconds of latency: per call and doubling of the ranks.
    beta : float
        Seconds per byte handed over.
    """

    serial: float
    rate: float
    alpha: float
    beta: float

    def computing(self, amount: float, ranks: int) -> float:
        """Seconds of a rank's own work, of `amount` in all."""
        return self.serial + self.rate * amount / ranks

    def communication(self, calls: float, sent: float, ranks: int) -> float:
        """Seconds of all-reduce that are waited for."""
        return self.alpha * calls * math.log2(ranks) + self.beta * sent * 2 * (ranks - 1) / ranks


@dataclass(frozen=True)
class Projected:
    """Time at a world size that was not measured, by the model."""

    ranks: int
    amount: float
    seconds: float
    waited: float


def fit_model(points: Sequence[Point]) -> TimeModel:
    """Fit to measured points; with a single one all time is taken as divisible."""
    computing = [[1.0, point.amount / point.ranks] for point in points]
    if len({row[1] for row in computing}) < 2:
        # Work per rank never changed: nothing tells what is serial.
        computing = [[0.0, row[1]] for row in computing]
    serial, rate = _least_squares(computing, [p.seconds - p.waited for p in points])
    several = [point for point in points if point.ranks > 1 and point.sent]
    rows = [[p.calls * math.log2(p.ranks), p.sent * 2 * (p.ranks - 1) / p.ranks] for p in several]
    if len(several) == 1:
        # One measurement can't tell latency from bandwidth: bandwidth, since messages are large.
        rows = [[0.0, row[1]] for row in rows]
    alpha, beta = _least_squares(rows, [p.waited for p in several]) if rows else (0.0, 0.0)
    return TimeModel(serial, rate, alpha, beta)


def project(points: Sequence[Point], ranks: Sequence[int], weak: bool) -> list[Projected]:
    """Time at other world sizes; in weak scaling the work grows with the ranks."""
    model = fit_model(points)
    last = points[-1]
    found = []
    for size in ranks:
        amount = last.amount * size / last.ranks if weak else last.amount
        talking = _talking(points)
        waited = model.communication(talking[0], talking[1], size)
        found.append(Projected(size, amount, model.computing(amount, size) + waited, waited))
    return found


def left_out_error(points: Sequence[Point], weak: bool) -> float | None:
    """Relative error at the largest measured world size when it's left out of the fit.

    None where fewer than three world sizes were measured.
    """
    if len(points) < _FEWEST:
        return None
    last = points[-1]
    (guess,) = project(points[:-1], [last.ranks], weak)
    return guess.seconds / last.seconds - 1


def computing_error(points: Sequence[Point], crowded: Point) -> float | None:
    """Relative error of a rank's computing at a world size that had too few cores.

    Its wall time tells nothing there, its processor seconds do: those of `points`, fitted as
    serial + rate x work of a rank, against those measured. None with fewer than two points.
    """
    if len(points) < _FEWEST - 1 or not crowded.cpu:
        return None
    rows = [[1.0, point.amount / point.ranks] for point in points]
    if len({row[1] for row in rows}) < 2:
        rows = [[0.0, row[1]] for row in rows]
    serial, rate = _least_squares(rows, [point.cpu for point in points])
    return (serial + rate * crowded.amount / crowded.ranks) / crowded.cpu - 1


def _talking(points: Sequence[Point]) -> tuple[float, float]:
    """Calls and bytes of a rank, where there are several."""
    several = [point for point in points if point.ranks > 1]
    return (several[-1].calls, several[-1].sent) if several else (0.0, 0.0)


def _least_squares(rows: Sequence[Sequence[float]], values: Sequence[float]) -> tuple[float, float]:
    """Two coefficients of 0 or more."""
    import numpy as np
    from scipy.optimize import nnls

    matrix = np.array(rows, np.float64)
    # Columns of very different size (haplotypes, bytes) are brought to one.
    size = np.where((top := np.abs(matrix).max(axis=0)) > 0, top, 1.0)
    found, _ = nnls(matrix / size, np.maximum(np.array(values, np.float64), 0.0))
    first, second = (found / size).tolist()
    return first, second
