"""Leaderboard: generators in order of their distance from the floor, those that leak below.

A draw's distance is the mean over metrics of log max(1, d / u): d is how far a number is from
its ideal, u how far the floor's draws are on average (or the metric's smallest effect, where that
is greater). Better than real people counts as real people. No other generator takes part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from haplobench.report.evidence import Finding
from haplobench.report.model import Column, DatasetSummary, Key, Summary
from haplobench.results.description import CohortInfo
from haplobench.results.records import FLOOR, Record
from haplobench.results.table import labels_of, row_label

FAMILIES = ("fidelity", "utility")
TOTAL_LEAK = 0.95
"""Share of the most that an attack can find from which on a leak is total: everybody's."""

Scope = Literal["all", "site-free"]
Gate = Literal[0, 1, 2]
"""0: not said to leak; 1: leaks; 2: leaks totally. A greater one stands below a lesser."""


@dataclass(frozen=True)
class Exposure:
    """What the attacks on a row find together.

    Attributes
    ----------
    finding : str
        `leak` if any finds one; else `clear` if any would have; else `unclear`.
    unclear, attacks : int
        Attacks that can't tell, of how many.
    sure : bool
        Whether no leak was seen, and every headline attack would have seen one that matters.
    title, value, unit : str, float, str
        The strongest attack that finds a leak, and what it finds.
    excess : float
        Of that: the share of the way from chance (0) to everybody (1).
    """

    finding: Finding
    unclear: int
    attacks: int
    sure: bool = False
    title: str = ""
    value: float = 0.0
    unit: str = ""
    excess: float = 0.0

    @property
    def gate(self) -> Gate:
        """Where it stands whatever its distance."""
        return 0 if self.finding != "leak" else 2 if self.excess >= TOTAL_LEAK else 1


@dataclass(frozen=True)
class BoardRow:
    """A line of the leaderboard: the floor, a generator, or a control.

    Attributes
    ----------
    label, role : str
    rank : int
        1 + the generators that are better beyond doubt, by gate or by distance, and never before
        one that is nearer; equal ranks are ties. A control's is the rank that it would have, the
        floor's is 0.
    tied : bool
        Whether it is a generator, and another one has the rank.
    distance, low, high : float
        Typical distance from the ideal over the floor's, 1 or more, with its 95 % interval.
    seeds, lacking : int
        Seeds that it rests on, and those that lack a number; 0 for the floor.
    exposure : Exposure or None
        None for the floor.
    cost : float or None
    """

    label: str
    role: str
    rank: int
    tied: bool
    distance: float
    low: float
    high: float
    seeds: int
    lacking: int
    exposure: Exposure | None
    cost: float | None


@dataclass(frozen=True)
class Leaderboard:
    """One leaderboard of one dataset.

    `rows` are in order, the floor first; `unranked` are pairs of label and reason; `cost` is the
    column of the rows' costs. `reason` says why nothing is ranked; empty otherwise.
    """

    dataset: str
    scope: Scope
    rows: tuple[BoardRow, ...]
    unranked: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    cost: Column | None = None
    reason: str = ""

    @property
    def ranked(self) -> tuple[BoardRow, ...]:
        """The generators."""
        return tuple(row for row in self.rows if row.role == "generator")

    @property
    def leaders(self) -> tuple[str, ...]:
        """Generators of the first rank that aren't said to leak."""
        first = (row for row in self.ranked if row.rank == 1)
        return tuple(row.label for row in first if not _gate(row))


def leaderboards(summary: Summary) -> list[Leaderboard]:
    """One leaderboard per dataset that any headline number was measured on, or two.

    The second is of site-free numbers, where it ranks a generator that lacks others.
    """
    boards = []
    for dataset in summary.datasets.values():
        if dataset.headline():
            boards.append(rank_generators(summary, dataset))
            free = rank_generators(summary, dataset, "site-free")
            whole = {row.label for row in boards[-1].ranked}
            if boards[-1].columns and any(row.label not in whole for row in free.ranked):
                boards.append(free)
    return boards


def by_rank(summary: Summary, boards: Sequence[Leaderboard]) -> Summary:
    """A summary whose cohorts are in the leaderboards' order: generators, then controls.

    After those of the first leaderboard come those that only the second one ranks, then those that
    none does.
    """
    datasets = {}
    for label, dataset in summary.datasets.items():
        ranked = [row.label for board in boards if board.dataset == label for row in board.rows]
        place = {name: at for at, name in reversed(list(enumerate(ranked)))}
        roles = (FLOOR, "generator", "control")
        cohorts = sorted(
            dataset.cohorts,
            key=lambda one: (roles.index(one.role), place.get(one.label, len(ranked))),
        )
        datasets[label] = replace(dataset, cohorts=tuple(cohorts))
    return replace(summary, datasets=datasets)


def rank_generators(summary: Summary, dataset: DatasetSummary, scope: Scope = "all") -> Leaderboard:
    """Rank a dataset's generators by fidelity and utility; whoever leaks stands below all others.

    A generator is placed by its own numbers, the floor's, and the attacks on it: no other
    generator changes its distance, its interval, or who of two others comes first.
    """
    columns = _columns(dataset, scope)
    yard, columns = _yardstick(summary.run.records, dataset, columns)
    cohorts = [cohort for cohort in dataset.cohorts if cohort.role != FLOOR]
    if yard is None:
        reason = "no number of fidelity has two draws of a floor to be held against"
        nobody = tuple((cohort.label, reason) for cohort in cohorts)
        return Leaderboard(dataset.label, scope, (), nobody, (), None, reason)
    values = _values(summary, dataset, columns)
    paid = dataset.headline("performance")
    cost = next((column for column in paid if column.submetric.unit == "s"), None)
    placed: list[tuple[BoardRow, Place]] = []
    unranked: list[tuple[str, str]] = []
    for cohort in cohorts:
        numbers = values.get(cohort.label, {})
        seeds = tuple(seed for seed, own in sorted(numbers.items()) if len(own) == len(columns))
        if not seeds:
            unranked.append((cohort.label, _why(dataset, cohort, columns, scope)))
            continue
        place = yard.place(_table([numbers[seed] for seed in seeds]), seeds)
        row = _row(cohort.label, cohort.role, place.estimate, expose(dataset, cohort.label))
        spent = dataset.cell(cohort.label, cost).value if cost else None
        row = replace(row, seeds=len(seeds), lacking=len(numbers) - len(seeds), cost=spent)
        placed.append((row, place))
    rows = (_row(FLOOR, FLOOR, yard.own, None), *_ranked(placed))
    return Leaderboard(dataset.label, scope, rows, tuple(unranked), tuple(columns), cost)


def _row(label: str, role: str, found: Estimate, exposure: Exposure | None) -> BoardRow:
    low, high = (max(1.0, float(np.exp(found.value + sign * found.half))) for sign in (-1, 1))
    distance = max(1.0, float(np.exp(found.value)))
    return BoardRow(label, role, 0, False, distance, low, high, 0, 0, exposure, None)


def _ranked(placed: Sequence[tuple[BoardRow, Place]]) -> list[BoardRow]:
    """Rows in order, with ranks."""

    def key(item: tuple[BoardRow, Place]) -> tuple[int, bool, float, str]:
        row, place = item
        # Nobody leaks more than a control that is made to: it comes last of the total leaks.
        last = _gate(row) == 2 and row.role == "control"
        return _gate(row), last, place.estimate.value, row.label

    rows: list[BoardRow] = []
    above: list[tuple[BoardRow, Place]] = []
    rank = 1
    for row, place in sorted(placed, key=key):
        better = sum(_better(other, row, place) for other in above)
        at = max(rank, 1 + better)
        rows.append(replace(row, rank=at))
        if row.role == "generator":
            rank = at
            above.append((row, place))
    counts = Counter(row.rank for row in rows if row.role == "generator")
    return [replace(row, tied=row.role == "generator" and counts[row.rank] > 1) for row in rows]


def _gate(row: BoardRow) -> Gate:
    return row.exposure.gate if row.exposure else 0


def _better(other: tuple[BoardRow, Place], row: BoardRow, place: Place) -> bool:
    """Whether another one, above a row, is better beyond doubt."""
    if _gate(other[0]) != _gate(row):
        return True
    gap = place.minus(other[1])
    return gap.value > gap.half


def expose(dataset: DatasetSummary, label: str) -> Exposure:
    """What the attacks on a row find together."""
    cells = [
        (column, cell)
        for column in dataset.columns
        if (cell := dataset.cell(label, column)).attack is not None
    ]
    findings = Counter(cell.attack.finding for _, cell in cells if cell.attack)
    unclear, attacks = findings["unclear"], len(cells)
    strongest = Exposure("leak", unclear, attacks, excess=-1.0)
    for column, cell in cells:
        if cell.attack is None or cell.value is None or cell.attack.finding != "leak":
            continue
        chance, material = column.submetric.ideal or 0.0, column.submetric.material
        # A size that matters below 1 is a share's, or an AUC's: at most everybody.
        share = material is not None and material < 1
        excess = min(1.0, (cell.value - chance) / (1 - chance)) if share else 0.0
        if excess > strongest.excess:
            strongest = Exposure(
                "leak",
                unclear,
                attacks,
                title=column.title,
                value=cell.value,
                unit=column.submetric.unit,
                excess=excess,
            )
    if strongest.title:
        return strongest
    weak = any(
        column.submetric.headline and cell.attack and cell.attack.finding == "unclear"
        for column, cell in cells
    )
    clear = findings["clear"] > 0
    return Exposure("clear" if clear else "unclear", unclear, attacks, sure=clear and not weak)


# --- numbers --------------------------------------------------------------------------------


def _columns(dataset: DatasetSummary, scope: Scope) -> list[Column]:
    """Headline numbers that have an ideal and a floor; by label where there are only such."""
    by_number: dict[tuple[str, str], list[Column]] = {}
    for column in dataset.columns:
        info = column.submetric
        wanted = info.headline and column.family in FAMILIES
        wanted &= scope == "all" or not info.site_matched
        judged = not info.evidence and info.direction != "info" and info.ideal is not None
        if wanted and judged and column.key in dataset.floors:
            by_number.setdefault(column.key[:2], []).append(column)
    chosen = []
    for group in by_number.values():
        chosen += [column for column in group if not column.labels] or group
    return chosen


def _yardstick(
    records: Sequence[Record], dataset: DatasetSummary, columns: list[Column]
) -> tuple[Yardstick | None, list[Column]]:
    """What distances are measured by, and the columns that can be; None without any.

    Only draws of the floor that have all numbers count; a number that all of them have at its
    ideal, and whose smallest effect is 0, can't be held against anything.
    """
    keys = {column.key for column in columns}
    draws: dict[tuple[int, int], dict[Key, float]] = {}
    for row in records:
        if row.role == FLOOR and row.dataset == dataset.label and row.value is not None:
            key = (row.metric, row.submetric, labels_of(row))
            if row.status == "ok" and key in keys:
                draws.setdefault((row.seed, row.replicate), {})[key] = row.value
    whole = [draw for _, draw in sorted(draws.items()) if len(draw) == len(keys)]
    if len(whole) < 2 or not columns:
        return None, []

    def made(columns: list[Column]) -> Yardstick:
        metrics = Counter(column.metric for column in columns)
        return Yardstick(
            np.array([[draw[column.key] for draw in whole] for column in columns]),
            np.array([column.submetric.ideal for column in columns], np.float64),
            np.array([column.submetric.min_effect for column in columns], np.float64),
            np.array([1 / len(metrics) / metrics[column.metric] for column in columns]),
        )

    units = made(columns).units
    columns = [column for at, column in enumerate(columns) if (units[:, at] > 0).all()]
    return (made(columns) if columns else None), columns


def _values(
    summary: Summary, dataset: DatasetSummary, columns: Sequence[Column]
) -> dict[str, dict[int, dict[int, list[float]]]]:
    """Draws by row label, seed and number of column.

    A seed without any of the numbers is there, and empty. Where a floor of training people can't
    be as large as a cohort, a subsample's numbers stand for its (see run.json's `marks`).
    """
    run = summary.run
    place = {column.key: at for at, column in enumerate(columns)}
    found: dict[str, dict[int, dict[int, list[float]]]] = {}
    for row in run.records:
        if row.dataset != dataset.label or row.role == FLOOR:
            continue
        seeds = found.setdefault(row_label(row.generator, row.world_size), {})
        own = seeds.setdefault(row.seed, {})
        at = place.get((row.metric, row.submetric, labels_of(row)))
        if at is not None and row.value is not None and row.status == "ok":
            own.setdefault(at, []).append(row.value)
    trained = {at for at, c in enumerate(columns) if run.metrics[c.metric].floor == "train"}
    for cohort in dataset.cohorts:
        marks = run.marks(dataset.label, cohort.label)
        for seed, own in found.get(cohort.label, {}).items() if marks else ():
            stand_in = found.get(marks["cohort"], {}).get(seed, {})
            kept = {at: draws for at, draws in own.items() if at not in trained}
            found[cohort.label][seed] = kept | {
                at: draws for at, draws in stand_in.items() if at in trained
            }
    return found


def _table(seeds: Sequence[Mapping[int, Sequence[float]]]) -> Floats:
    """(n_numbers, n_seeds, n_draws) float64, NaN where a draw lacks a number."""
    most = max(len(draws) for own in seeds for draws in own.values())
    table = np.full((len(seeds[0]), len(seeds), most), np.nan)
    for at, own in enumerate(seeds):
        for number, draws in own.items():
            table[number, at, : len(draws)] = draws
    return table


def _why(
    dataset: DatasetSummary, cohort: CohortInfo, columns: Sequence[Column], scope: Scope
) -> str:
    """Why a generator is not ranked, one line: how many numbers it lacks, and the main reason."""
    reasons: Counter[str] = Counter()
    for column in columns:
        cell = dataset.cell(cohort.label, column)
        if cell.value is None:
            phase = f" in {cell.phase}" if cell.phase else ""
            state = "n/a" if cell.state == "not-applicable" else f"{cell.state}{phase}"
            reasons[f"{state}: {cell.reason or 'no reason given'}"] += 1
    if not reasons:
        return "no seed has all numbers, each as large as the floor's"
    lacks = f"lacks {sum(reasons.values())} of {len(columns)} numbers"
    free = [column for column in columns if not column.submetric.site_matched]
    has = [dataset.cell(cohort.label, column).value is not None for column in free]
    if cohort.site_matched is False and scope == "all" and free and all(has):
        return f"{lacks}: it has sites of its own, see the board of site-free numbers"
    return f"{lacks} ({reasons.most_common(1)[0][0]})"


# --- distance from the floor: arrays only ----------------------------------------------------

CONFIDENCE = 0.95
SEED_SHARE = 0.5
"""Variance between seeds over that between draws of a seed, assumed where seeds are too few to
tell: vae-paper's over ten seeds of two draws; of Markov chains and mosaics it is less."""
PRIOR_SEEDS = 4
"""Seeds' differences that a variance borrowed from the floor weighs as much as."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Yardstick:
    """What distances are measured by.

    Attributes
    ----------
    floor : (n_numbers, n_draws) float64
        Numbers of real people sampled as if synthetic; two draws or more.
    ideal, least, weight : (n_numbers,) float64
        Best value, smallest effect, and share of the whole distance; weights sum to 1.
    """

    floor: Floats
    ideal: Floats
    least: Floats
    weight: Floats

    @cached_property
    def units(self) -> Floats:
        """(1 + n_draws, n_numbers) float64: of all the floor's draws, then without each in turn."""
        away = np.abs(self.floor - self.ideal[:, None])
        n = away.shape[1]
        total = away.sum(axis=1)
        means = np.vstack([total / n, (total - away.T) / (n - 1)])
        return np.asarray(np.maximum(means, self.least), np.float64)

    def logs(self, values: Floats, units: Floats) -> Floats:
        """Log distances of values (…, n_numbers) by units (…, n_numbers): (…) float64."""
        ratio = np.abs(values - self.ideal) / units
        return np.asarray(np.log(np.maximum(ratio, 1)) @ self.weight, np.float64)

    @property
    def own(self) -> Estimate:
        """The floor's own distance: each draw by the others."""
        return estimate(self.logs(self.floor.T, self.units[1:]))

    def place(self, values: Floats, seeds: tuple[int, ...]) -> Place:
        """Where values (n_numbers, n_seeds, n_draws) lie; NaN where a draw lacks a number.

        Each seed has every number in one draw at least.
        """
        ratio = np.abs(values - self.ideal[:, None, None]) / self.units[..., None, None]
        logs = np.einsum("kns,n->ks", np.nanmean(np.log(np.maximum(ratio, 1)), -1), self.weight)
        noise = self.floor - self.floor.mean(axis=1, keepdims=True)
        typical = np.nanmean(values, axis=(1, 2))
        around = self.logs(typical + noise.T, self.units[0])
        draws = (~np.isnan(values)).sum(axis=-1).min(axis=0)
        borrowed = around.var(ddof=1) * (SEED_SHARE + 1 / draws)
        # Few draws of the floor make the logarithm of a unit too small: Quenouille's correction.
        shifts = (noise.shape[1] - 1) * (logs[0] - logs[1:])
        return Place(
            dict(zip(seeds, (logs[0] + shifts.mean(axis=0)).tolist(), strict=True)),
            dict(zip(seeds, borrowed.tolist(), strict=True)),
            shifts.mean(axis=1),
        )


@dataclass(frozen=True)
class Estimate:
    """A mean of log distances, or of differences of them, and half its 95 % interval."""

    value: float
    half: float


@dataclass(frozen=True)
class Place:
    """Log distances of one generator.

    Attributes
    ----------
    logs : dict
        Seed to the mean over its draws.
    borrowed : dict
        Seed to the variance that the floor's noise would give that mean at this place.
    influence : (n_floor_draws,) float64
        What each of the floor's draws adds to the mean over seeds, times their number.
    """

    logs: dict[int, float]
    borrowed: dict[int, float]
    influence: Floats

    @property
    def estimate(self) -> Estimate:
        """The generator's distance."""
        return estimate(list(self.logs.values()), list(self.borrowed.values()), self.influence)

    def minus(self, other: Place) -> Estimate:
        """How much further this one is, paired by seed over the seeds of both, if there are any."""
        influence = self.influence - other.influence
        common = [seed for seed in self.logs if seed in other.logs]
        if common:
            gaps = [self.logs[seed] - other.logs[seed] for seed in common]
            return estimate(
                gaps, [self.borrowed[seed] + other.borrowed[seed] for seed in common], influence
            )
        mine, theirs = self.estimate, other.estimate
        return Estimate(mine.value - theirs.value, float(np.hypot(mine.half, theirs.half)))


def estimate(
    logs: Floats | list[float], borrowed: list[float] | None = None, influence: Floats | None = None
) -> Estimate:
    """Mean of seeds' log distances with Student's 95 % interval.

    The variance between seeds is the seeds' own and what is `borrowed` from the floor's draws,
    weighted (moderated as in Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, 3); the floor's own
    error is added, by the `influence` of its draws. Degrees of freedom are Satterthwaite's (1946,
    Biometrics Bulletin 2, 110-114); what rests on the same floor draws counts once.
    """
    from scipy.special import stdtrit

    n = len(logs)
    own = float(np.var(logs, ddof=1)) / n if n > 1 else 0.0
    terms = [(own, n - 1)]
    if borrowed is not None and influence is not None:
        draws = len(influence)
        weight = PRIOR_SEEDS / (PRIOR_SEEDS + n - 1)
        lent = weight * float(np.mean(borrowed)) / n + float(influence.var(ddof=1)) / draws
        terms = [((1 - weight) * own, n - 1), (lent, draws - 1)]
    whole = sum(part for part, _ in terms)
    doubt = sum(part**2 / freedom for part, freedom in terms if part)
    student = float(stdtrit(whole**2 / doubt, (1 + CONFIDENCE) / 2)) if doubt else 0.0
    return Estimate(float(np.mean(logs)), student * whole**0.5)
