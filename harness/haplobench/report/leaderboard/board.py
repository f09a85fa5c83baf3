"""The leaderboard of one dataset: rows in order, and those that are not ranked, with reasons."""

from __future__ import annotations

from dataclasses import dataclass

from haplobench.report.leaderboard.dominance import Standing, stand
from haplobench.report.leaderboard.scores import AXES, Judged, score_dataset
from haplobench.report.model import DatasetSummary, Summary

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
    columns: tuple[Judged, ...]
    over: str
    reason: str = ""

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes that something was measured on."""
        used = {AXES[judged.axis] for judged in self.columns}
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
