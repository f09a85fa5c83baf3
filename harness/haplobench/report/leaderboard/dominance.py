"""Dominance of generators over each other, shares of it, and the Pareto front: arrays only.

Rows are generators, units are seeds (or draws of one seed), columns are numbers of metrics;
scores are badness, the smaller the better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000
_SEED = 20261121
_CHUNK = 4_000_000

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """Scores of some generators, comparable and complete.

    Attributes
    ----------
    values : (n_rows, n_units, n_columns) float64
        Badness; 0 is as good as real people where there is a floor.
    margin : (n_columns,) float64
        Differences up to this are ties.
    safe : (n_rows, n_columns) bool
        As good as real people already: nobody can be better.
    metric : (n_columns,) int64
        Which metric a column belongs to: numbers of one metric share its weight.
    axis : (n_metrics,) int64
        Which axis a metric belongs to; -1: none.
    logarithm : (n_columns,) bool
        Scores that are logarithms of ratios already, as those of costs are.
    rival : (n_rows,) bool
        Rows that others are compared with; controls are compared, but are nobody's rivals.
    paired : bool
        Whether a unit is the same for all rows (a seed) or each row's own (a draw).
    """

    values: Floats
    margin: Floats
    safe: Bools
    metric: NDArray[np.int64]
    axis: NDArray[np.int64]
    logarithm: Bools
    rival: Bools
    paired: bool = True


def half_widths(scores: Scores) -> Floats:
    """Half the 95 % interval of each difference of means: (n_rows, n_rows, n_columns) float64.

    Student's t on the differences paired by unit, or Welch's for unpaired units; infinite with
    one unit.
    """
    from scipy.special import stdtrit

    values = scores.values
    n = values.shape[1]
    if n < 2:
        return np.full((len(values), len(values), values.shape[2]), np.inf)
    level = (1 + CONFIDENCE) / 2
    # A difference that rounding makes noisy is constant.
    noise = 1e-12 * np.abs(values).max(axis=1)
    noise = noise[:, None] + noise[None]
    if scores.paired:
        gaps = values[None] - values[:, None]
        deviation = gaps.std(axis=2, ddof=1)
        deviation[deviation <= noise] = 0
        return np.asarray(stdtrit(n - 1, level) * deviation / np.sqrt(n), np.float64)
    share = values.var(axis=1, ddof=1) / n
    total = share[:, None] + share[None]
    freedom = np.divide(
        total**2 * (n - 1),
        share[:, None] ** 2 + share[None] ** 2,
        out=np.full_like(total, n - 1.0),
        where=total > 0,
    )
    return np.asarray(stdtrit(freedom, level) * np.sqrt(total), np.float64)


def dominance(means: Floats, threshold: Floats, safe: Bools) -> NDArray[np.int8]:
    """1 where a row beats another in a column, -1 where it is beaten, 0 for a tie.

    `means` (…, n_rows, n_columns), `threshold` (n_rows, n_rows, n_columns): differences up to it
    are ties. What is `safe` (n_rows, n_columns) is never beaten. Returns
    (…, n_rows, n_rows, n_columns) int8.
    """
    gaps = means[..., None, :, :] - means[..., :, None, :]
    better = (gaps > threshold) & ~safe[None]
    worse = (-gaps > threshold) & ~safe[:, None]
    return better.astype(np.int8) - worse.astype(np.int8)


def shares(beats: NDArray[np.int8], scores: Scores, n_axes: int) -> Floats:
    """Share of rivals beaten by axis, a tie counting half: (…, n_rows, n_axes) float64.

    The mean over metrics of the mean over each metric's numbers, so that a metric weighs the
    same however many numbers it reports. NaN for an axis without metrics or a row without rivals.
    """
    others = scores.rival[None] & ~np.eye(len(scores.rival), dtype=bool)
    points = (beats + 1.0) / 2 * others[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        per_column = points.sum(axis=-2) / others.sum(axis=1)[:, None]
    return _by_axis(per_column, scores, n_axes)


def _by_axis(columns: Floats, scores: Scores, n_axes: int) -> Floats:
    """Means over each metric's columns, then over each axis's metrics: (…, n_axes) float64."""
    out = np.full((*columns.shape[:-1], n_axes), np.nan)
    for axis in range(n_axes):
        metrics = [
            columns[..., scores.metric == metric].mean(axis=-1)
            for metric in np.flatnonzero(scores.axis == axis)
            if (scores.metric == metric).any()
        ]
        if metrics:
            out[..., axis] = np.mean(metrics, axis=0)
    return out


def distances(means: Floats, scores: Scores, n_axes: int) -> Floats:
    """Typical distance from the floor by axis: (…, n_rows, n_axes) float64, 0 is the floor.

    The mean of log(1 + score) over metrics, back from the logarithm: one metric that is a
    thousand times off does not hide the others. Better than the floor counts as the floor. Of
    costs it is the typical ratio to the cheapest, less 1.
    """
    above = np.maximum(means, 0)
    logs = np.where(scores.logarithm, above, np.log1p(above))
    return np.asarray(np.expm1(_by_axis(logs, scores, n_axes)), np.float64)


def pareto_front(points: Floats, rival: Bools) -> Bools:
    """Rows that no rival is at least as good as on every axis and better on one.

    `points` (…, n_rows, n_axes) are smaller the better; axes that are NaN for all are left out.
    Returns (…, n_rows) bool.
    """
    axes = ~np.isnan(points).all(axis=tuple(range(points.ndim - 1)))
    points = points[..., axes]
    mine, theirs = points[..., :, None, :], points[..., None, :, :]
    beaten = (theirs <= mine).all(axis=-1) & (theirs < mine).any(axis=-1) & rival
    return ~np.asarray(beaten.any(axis=-1))


@dataclass(frozen=True)
class Standing:
    """Where each row stands.

    Attributes
    ----------
    beats : (n_rows, n_rows, n_columns) int8
    share : (n_rows, n_axes) float64
        Share of pairwise dominance by axis.
    overall, low, high : (n_rows,) float64
        The least share over the ranked axes, with its bootstrap interval over units.
    rank : (n_rows,) int64
        1 + the rivals whose overall share is greater beyond the bootstrap's doubt.
    distance, distance_low, distance_high : (n_rows, n_axes) float64
    front : (n_rows,) bool
    front_share : (n_rows,) float64
        Share of resamples in which a row is on the front.
    """

    beats: NDArray[np.int8]
    share: Floats
    overall: Floats
    low: Floats
    high: Floats
    rank: NDArray[np.int64]
    distance: Floats
    distance_low: Floats
    distance_high: Floats
    front: Bools
    front_share: Floats


def stand(scores: Scores, n_axes: int, ranked: tuple[int, ...]) -> Standing:
    """Compare all rows; `ranked` are the axes whose least share decides the rank.

    The bootstrap resamples units with replacement, the same for all rows where they are
    paired, and keeps the widths below which differences are ties.
    """
    values = scores.values
    n_rows, n, n_columns = values.shape
    threshold = np.maximum(half_widths(scores), scores.margin)
    means = values.mean(axis=1)
    beats = dominance(means, threshold, scores.safe)
    share = shares(beats, scores, n_axes)
    rng = np.random.default_rng(_SEED)
    step = max(1, _CHUNK // max(1, n_rows * n_rows * n_columns))
    drawn_share, drawn_distance, drawn_front = [], [], []
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        if scores.paired:
            weights = rng.multinomial(n, np.full(n, 1 / n), size=size) / n
            resampled = np.einsum("bu,ruc->brc", weights, values)
        else:
            weights = rng.multinomial(n, np.full(n, 1 / n), size=(size, n_rows)) / n
            resampled = np.einsum("bru,ruc->brc", weights, values)
        found = dominance(resampled, threshold, scores.safe)
        drawn_share.append(shares(found, scores, n_axes))
        away = distances(resampled, scores, n_axes)
        drawn_distance.append(away)
        drawn_front.append(pareto_front(away, scores.rival))
    axes = [axis for axis in ranked if (scores.axis == axis).any()]
    overall = share[:, axes].min(axis=-1)
    drawn = np.concatenate(drawn_share)[..., axes].min(axis=-1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    gaps = np.quantile(drawn[:, None, :] - drawn[:, :, None], tail, axis=0)
    above = (gaps > 1e-12) & (overall[None] > overall[:, None]) & scores.rival[None]
    away = distances(means, scores, n_axes)
    away_low, away_high = np.quantile(np.concatenate(drawn_distance), [tail, 1 - tail], axis=0)
    fronts = np.concatenate(drawn_front)
    return Standing(
        beats=beats,
        share=share,
        overall=overall,
        low=np.minimum(low, overall),
        high=np.maximum(high, overall),
        rank=1 + above.sum(axis=1),
        distance=away,
        distance_low=np.minimum(away_low, away),
        distance_high=np.maximum(away_high, away),
        front=pareto_front(away, scores.rival),
        front_share=fronts.mean(axis=0),
    )
