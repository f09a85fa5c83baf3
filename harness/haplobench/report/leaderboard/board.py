"""The leaderboard of one dataset: rows in order, and those that are not ranked, with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from haplobench.report.leaderboard.dominance import Scores, Standing, stand
from haplobench.report.model import Column, DatasetSummary, Summary
from haplobench.results.records import FLOOR, SUBSAMPLE, Record
from haplobench.results.table import labels_of, row_label

AXES = ("fidelity", "privacy", "cost")
_AXIS_OF = {"fidelity": 0, "utility": 0, "privacy": 1, "performance": 2}
COST_MARGIN = 0.1
"""Costs that differ by less than this part are ties: a machine's own noise."""
_RANGE_WIDTHS = 3.29
"""Standard deviations between the 5 % and 95 % quantiles of a normal distribution."""


@dataclass(frozen=True)
class RankedColumn:
    """A headline number that counts: `origin` and `unit` make values scores (cost: logarithms)."""

    column: Column
    axis: int
    origin: float
    unit: float
    margin: float

    def badness(self, values: Any) -> Any:
        """Scores of values (n,): the smaller the better, 0 as good as real people."""
        info = self.column.submetric
        values = np.asarray(values, np.float64)
        if self.axis == AXES.index("cost"):
            logs = np.log(np.maximum(values, info.min_effect or np.finfo(np.float64).tiny))
            return -logs if info.direction == "higher" else logs
        if info.direction == "closer":
            assert info.ideal is not None
            distance = np.abs(values - info.ideal)
        else:
            distance = values if info.direction == "lower" else -values
        return (distance - self.origin) / self.unit


@dataclass(frozen=True)
class DatasetScores:
    """Scores of the generators that can be compared, and why the others can't.

    `units` are the seeds, or the draws of the one seed (`Scores.paired` False); `labels` and
    `columns` name the rows and columns of `scores`, which is None with too little to compare.
    """

    labels: tuple[str, ...]
    columns: tuple[RankedColumn, ...]
    scores: Scores | None
    units: tuple[int, ...]
    refused: tuple[tuple[str, str], ...]
    reason: str = ""


def judged_columns(dataset: DatasetSummary) -> list[RankedColumn]:
    """The headline numbers that have a better and a worse, and something to measure it by.

    The unit is the floor's standard deviation (from its 5-95 % range), or the metric's smallest
    effect where that is greater; without a floor, the smallest effect counted from the ideal.
    """
    found = []
    for column in dataset.headline():
        info, axis = column.submetric, _AXIS_OF.get(column.family)
        closer = info.direction == "closer"
        if axis is None or info.direction == "info" or (closer and info.ideal is None):
            continue
        if AXES[axis] == "cost":
            if not closer:
                found.append(RankedColumn(column, axis, 0.0, 1.0, float(np.log1p(COST_MARGIN))))
            continue
        floor = dataset.floors.get(column.key)
        unit = info.min_effect
        sign = -1.0 if info.direction == "higher" else 1.0
        if floor is not None:
            unit = max(unit, (floor.high - floor.low) / _RANGE_WIDTHS)
            origin = (floor.distance or 0.0) if closer else sign * floor.median
        elif info.ideal is not None:
            origin = 0.0 if closer else sign * info.ideal
        else:
            continue
        if unit > 0:
            found.append(RankedColumn(column, axis, origin, unit, info.min_effect / unit))
    return found


def score_dataset(summary: Summary, dataset: DatasetSummary) -> DatasetScores:
    """Scores of a dataset's generators and controls.

    A generator that lacks any ranked number, or any seed of one, is refused: it would be
    compared on other grounds than its rivals.
    """
    cohorts = [cohort for cohort in dataset.cohorts if cohort.role != "floor"]
    generators = [cohort.label for cohort in cohorts if cohort.role == "generator"]
    columns = []
    for ranked in judged_columns(dataset):
        cells = [dataset.cell(label, ranked.column) for label in generators]
        if sum(cell.value is not None for cell in cells) >= min(2, len(generators)):
            columns.append(ranked)
    values = _values(summary.run.records, dataset, columns)
    seeds = tuple(sorted({seed for _, _, seed, _ in values}))
    over_seeds = len(seeds) > 1
    kept, refused = [], []
    units: tuple[int, ...] = seeds
    if not over_seeds:
        units = tuple(sorted({draw for _, _, _, draw in values}))
    table: dict[tuple[str, int, int], list[float]] = {}
    for (label, column, seed, draw), value in values.items():
        table.setdefault((label, column, seed if over_seeds else draw), []).append(value)
    for cohort in cohorts:
        missing = [
            i
            for i in range(len(columns))
            if any((cohort.label, i, unit) not in table for unit in units)
        ]
        if missing or not columns:
            refused.append((cohort.label, _why(dataset, cohort.label, columns, missing)))
        else:
            kept.append(cohort)
    roles = [cohort.role == "generator" for cohort in kept]
    labels = tuple(cohort.label for cohort in kept)
    reason = _too_little(columns, sum(roles), len(units), over_seeds)
    if reason:
        return DatasetScores(labels, tuple(columns), None, units, tuple(refused), reason)
    metrics = list(dict.fromkeys(ranked.column.metric for ranked in columns))
    axis_of = {ranked.column.metric: ranked.axis for ranked in columns}
    array = np.array(
        [
            [
                [float(np.mean(ranked.badness(table[label, i, unit])))
                 for i, ranked in enumerate(columns)]
                for unit in units
            ]
            for label in labels
        ]
    )  # fmt: skip
    # A cost counts from the cheapest of the generators: what it is measured in drops out.
    cost = np.array([AXES[ranked.axis] == "cost" for ranked in columns])
    array[..., cost] -= array[np.array(roles)][..., cost].mean(axis=1).min(axis=0)
    bands = [[dataset.cell(label, ranked.column).band for ranked in columns] for label in labels]
    scores = Scores(
        values=array,
        margin=np.array([ranked.margin for ranked in columns]),
        safe=np.isin(np.array(bands), ("within", "better")),
        metric=np.array([metrics.index(ranked.column.metric) for ranked in columns]),
        axis=np.array([axis_of[name] for name in metrics]),
        logarithm=cost,
        rival=np.array(roles),
        paired=over_seeds,
    )
    return DatasetScores(labels, tuple(columns), scores, units, tuple(refused))


def _too_little(columns: list[RankedColumn], rivals: int, n_units: int, over_seeds: bool) -> str:
    if not any(AXES[ranked.axis] != "cost" for ranked in columns):
        return "no headline number of fidelity or privacy has a floor or a smallest effect"
    if rivals < 2:
        have = f"{rivals} generator{'' if rivals == 1 else 's'}"
        return f"{have} with all headline numbers: a rank needs two"
    if n_units < 2 and not over_seeds:
        return "one seed of one draw: nothing tells a difference from noise"
    return ""


def _values(
    records: Sequence[Record], dataset: DatasetSummary, columns: list[RankedColumn]
) -> dict[tuple[str, int, int, int], float]:
    """Values by row label, column, seed and draw."""
    place = {ranked.column.key: at for at, ranked in enumerate(columns)}
    metrics = {metric for metric, *_ in place}
    return {
        (row_label(row.generator, row.world_size), column, row.seed, row.replicate): row.value
        for row in records
        if row.metric in metrics
        and row.value is not None
        and row.status == "ok"
        and row.dataset == dataset.label
        and row.role not in (FLOOR, SUBSAMPLE)
        and (column := place.get((row.metric, row.submetric, labels_of(row)))) is not None
    }


def _why(
    dataset: DatasetSummary, label: str, columns: list[RankedColumn], missing: list[int]
) -> str:
    """Why a generator is not ranked, one line: how many numbers it lacks, and the main reason."""
    if not columns:
        return "no number to rank by"
    reasons: Counter[str] = Counter()
    for i in missing:
        cell = dataset.cell(label, columns[i].column)
        if cell.failed_seeds:
            reasons[f"{cell.failed_seeds} seeds failed: {cell.reason}"] += 1
        elif cell.value is not None:
            reasons["seeds or draws missing"] += 1
        elif cell.state == "not-applicable":
            reasons[f"not applicable: {cell.reason or 'no reason given'}"] += 1
        else:
            phase = f" in {cell.phase}" if cell.phase else ""
            reasons[f"{cell.state}{phase}: {cell.reason}"] += 1
    main = reasons.most_common(1)[0][0]
    return f"lacks {len(missing)} of {len(columns)} numbers ({main})"


RANKED = (AXES.index("fidelity"), AXES.index("privacy"))


@dataclass(frozen=True)
class AxisStanding:
    """One generator on one axis.

    `share` is the share of pairwise comparisons that it wins, a tie counting half; `distance`
    its typical distance from the floor in the floor's standard deviations (of cost: times the
    cheapest, less 1), with a 95 % bootstrap interval.
    """

    share: float
    distance: float
    low: float
    high: float


@dataclass(frozen=True)
class BoardRow:
    """A generator, or a control, of the leaderboard.

    Attributes
    ----------
    label, role : str
    rank : int
        1 + the generators that are better beyond doubt; equal ranks are ties. A control's is the
        rank that it would have.
    tied : bool
        Whether a generator of the same rank exists.
    overall, low, high : float
        The lesser of its shares of fidelity and privacy, with a 95 % bootstrap interval.
    axes : dict
        Axis to `AxisStanding`; axes that nothing was measured on are left out.
    front : bool
        On the Pareto front of fidelity, privacy and cost.
    front_share : float
        Share of bootstrap resamples in which it is.
    """

    label: str
    role: str
    rank: int
    tied: bool
    overall: float
    low: float
    high: float
    axes: dict[str, AxisStanding]
    front: bool
    front_share: float


@dataclass(frozen=True)
class Leaderboard:
    """The leaderboard of one dataset.

    `rows` are in order: generators by rank and share, then controls; `unranked` are pairs of
    label and reason. `reason` says why nothing is ranked; empty otherwise.
    """

    dataset: str
    rows: tuple[BoardRow, ...]
    unranked: tuple[tuple[str, str], ...]
    columns: tuple[RankedColumn, ...]
    over: str
    reason: str = ""

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes that something was measured on."""
        used = {AXES[ranked.axis] for ranked in self.columns}
        return tuple(axis for axis in AXES if axis in used)

    @property
    def leaders(self) -> tuple[str, ...]:
        """Generators of the first rank."""
        return tuple(row.label for row in self.rows if row.role == "generator" and row.rank == 1)


def rank_generators(summary: Summary, dataset: DatasetSummary) -> Leaderboard:
    """Rank a dataset's generators.

    A generator beats another in a number if the 95 % interval of their difference, paired by
    seed, excludes zero, the difference exceeds the metric's smallest effect, and the other is
    outside the floor's range. Its share on an axis is the mean over metrics of the share of
    rivals it beats, a tie counting half. The rank goes by the lesser of its shares of fidelity
    and privacy: neither a copy of the training people nor noise can make up for one by the
    other. Cost is shown, and counts on the Pareto front only.
    """
    scored = score_dataset(summary, dataset)
    n = len(scored.units)
    paired = scored.scores is None or scored.scores.paired
    over = f"{n} seeds" if paired else f"{n} draws of one seed"
    if scored.scores is None:
        kept = [(label, scored.reason) for label in scored.labels]
        unranked = (*kept, *scored.refused)
        return Leaderboard(dataset.label, (), unranked, scored.columns, over, scored.reason)
    standing = stand(scored.scores, len(AXES), RANKED)
    roles = {cohort.label: cohort.role for cohort in dataset.cohorts}
    ranks = [
        int(rank)
        for rank, label in zip(standing.rank, scored.labels, strict=True)
        if roles[label] == "generator"
    ]
    rows = [_row(label, roles[label], i, standing, ranks) for i, label in enumerate(scored.labels)]
    rows.sort(key=lambda row: (row.role == "control", row.rank, -row.overall, row.label))
    return Leaderboard(dataset.label, tuple(rows), scored.refused, scored.columns, over)


def _row(label: str, role: str, i: int, standing: Standing, ranks: list[int]) -> BoardRow:
    axes = {
        axis: AxisStanding(
            share=float(standing.share[i, at]),
            distance=float(standing.distance[i, at]),
            low=float(standing.distance_low[i, at]),
            high=float(standing.distance_high[i, at]),
        )
        for at, axis in enumerate(AXES)
        if standing.share[i, at] == standing.share[i, at]
    }
    rank = int(standing.rank[i])
    return BoardRow(
        label=label,
        role=role,
        rank=rank,
        tied=ranks.count(rank) > (role == "generator"),
        overall=float(standing.overall[i]),
        low=float(standing.low[i]),
        high=float(standing.high[i]),
        axes=axes,
        front=bool(standing.front[i]),
        front_share=float(standing.front_share[i]),
    )


def leaderboards(summary: Summary) -> list[Leaderboard]:
    """One leaderboard per dataset that any headline number was measured on."""
    return [
        rank_generators(summary, dataset)
        for dataset in summary.datasets.values()
        if dataset.headline()
    ]
