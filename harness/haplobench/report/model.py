"""What a summary holds: columns, cells beside their noise floor, failures, datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from haplobench.report.evidence import Attack, Finding
from haplobench.results.description import CohortInfo, SubmetricInfo
from haplobench.results.records import Status
from haplobench.results.table import Labels, Run
from haplobench.suite.schema import VerdictSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


FAR_WIDTHS, FAR_SCORE = 3.0, 1.5
"""Far outside: further from where real people likely lie than so many widths of the floor's
range, and, where there is an ideal, at least so many times as far from it as the floor."""


def band(value: float, floor: Floor | None, submetric: SubmetricInfo) -> Band:
    """Where a value lies against the floor, see `Cell.band`; empty if there's no floor."""
    if floor is None or submetric.direction == "info" or submetric.evidence:
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
    if submetric.evidence:
        return None
    unit = max(floor.distance or 0.0, submetric.min_effect)
    return abs(value - submetric.ideal) / unit if unit else None


def badness(value: float | None, submetric: SubmetricInfo) -> float | None:
    """A number that is smaller the better a value is; None where no value is better."""
    if value is None or submetric.direction == "info":
        return None
    if submetric.direction == "closer":
        return None if submetric.ideal is None else abs(value - submetric.ideal)
    if submetric.evidence:
        return max(0.0, value - (submetric.ideal or 0.0))
    return value if submetric.direction == "lower" else -value


def possible(low: float, value: float, high: float, submetric: SubmetricInfo) -> Interval:
    """An interval about a value, cut where the number can't go.

    Its ideal ends it where better is lower or higher and the value isn't beyond; shares and AUCs
    end at 0 and 1.
    """
    ideal = submetric.ideal
    if ideal is not None and not submetric.evidence:
        if submetric.direction == "lower" and value >= ideal:
            low = max(low, ideal)
        if submetric.direction == "higher" and value <= ideal:
            high = min(high, ideal)
    if submetric.evidence and (submetric.material or 1.0) < 1.0:
        low, high = max(low, min(value, 0.0)), min(high, 1.0)
    return low, high


State = Status | Literal["missing"]
Band = Literal["", "better", "within", "outside", "far"] | Finding
Key = tuple[str, str, Labels]
"""Metric, submetric and labels."""
Interval = tuple[float, float]

Number = TypeVar("Number")

FLOOR_RANGE = (0.05, 0.95)
LIKELY, POSSIBLE = 0.95, 0.99
"""Shares of further draws of real people that lie in a floor's prediction intervals."""


@dataclass(frozen=True)
class Column:
    """One number that is compared: a submetric, or one of its labelled values."""

    metric: str
    family: str
    submetric: SubmetricInfo
    labels: Labels = ()

    @property
    def key(self) -> Key:
        """What cells and floors are looked up by."""
        return (self.metric, self.submetric.name, self.labels)

    @property
    def title(self) -> str:
        """Title for table heads, with label values where there are any."""
        values = ", ".join(value for _, value in self.labels)
        return f"{self.submetric.title} ({values})" if values else self.submetric.title


@dataclass(frozen=True)
class Floor:
    """Real people sampled as if synthetic: what the best generator could reach.

    `low` and `high` are the 5 % and 95 % quantiles over `n` draws, `distance` the median
    distance of a draw from the ideal (None without an ideal). `likely` and `possible` are the
    95 % and 99 % prediction intervals of one more draw: ten draws are too few to show how far
    others may lie, and marks allow for that. None where there are fewer than two draws.
    """

    median: float
    low: float
    high: float
    n: int
    distance: float | None = None
    likely: Interval | None = None
    possible: Interval | None = None

    @classmethod
    def of_each(
        cls, draws: Mapping[Number, tuple[Sequence[float], float | None]]
    ) -> dict[Number, Self]:
        """Floors of numbers, each from its values in draws of real people, and its ideal."""
        import numpy as np

        by_size: dict[int, list[Number]] = {}
        for place, (several, _) in draws.items():
            by_size.setdefault(len(several), []).append(place)
        floors = {}
        for n, places in by_size.items():
            values = np.array([draws[place][0] for place in places], np.float64)
            quantiles = np.quantile(values, [FLOOR_RANGE[0], 0.5, FLOOR_RANGE[1]], axis=1).T
            likely, possible = (_predictions(share, values) for share in (LIKELY, POSSIBLE))
            ideals = [draws[place][1] for place in places]
            away = np.abs(values - np.array([[ideal or 0.0] for ideal in ideals]))
            distances = np.median(away, axis=1).tolist()
            for at, (low, median, high) in enumerate(quantiles.tolist()):
                distance = None if ideals[at] is None else distances[at]
                floors[places[at]] = cls(median, low, high, n, distance, likely[at], possible[at])
        return floors


def _predictions(share: float, draws: NDArray[np.float64]) -> list[Interval | None]:
    """Where `share` of further draws of (numbers, n) lie: Student's prediction intervals.

    Of one normal distribution (Geisser, Predictive Inference, 1993, chapter 2).
    """
    count, n = draws.shape
    if n < 2:
        return [None] * count
    from scipy.special import stdtrit

    mean = draws.mean(axis=1)
    reach = stdtrit(n - 1, (1 + share) / 2) * draws.std(axis=1, ddof=1) * (1 + 1 / n) ** 0.5
    return list(zip((mean - reach).tolist(), (mean + reach).tolist(), strict=True))


@dataclass(frozen=True)
class Cell:
    """One number of one generator on one dataset, or why there is none.

    Attributes
    ----------
    state : str
        `ok`, or what happened instead.
    value : float or None
        Mean over seeds of the means over the draws of each seed.
    spread, spread_over : float or None, str
        Standard deviation over `seeds` (of the seeds' means) or, with one seed, over its
        `draws`; with one draw, the metric's own `standard error`.
    low, high : float or None
        Least and greatest of what `spread` is taken over.
    n_seeds, n_values : int
        Seeds, and draws of all seeds together.
    band : str
        Against the floor: `within` its 5-95 % range, where one more draw of real people is
        likely to lie, or nearer to these than the metric's smallest effect; `outside`, `far`
        (see `FAR_WIDTHS`); `better` than one more draw of real people may possibly be. Of
        evidence, what `attack` finds, which no floor takes part in.
    score : float or None
        Distance from the ideal over the floor's (or over the metric's smallest effect, where
        that is greater): 1 is as good as real people.
    attack : Attack or None
        Of numbers that are evidence of a leak.
    mark_note, mark_value : str, float or None
        Why there is no place and no score, or of what other cohort and value they are.
    reason, phase : str
        Why it is not applicable or failed, one line.
    failed_seeds : int
        Seeds that gave no value, though others did.
    """

    state: State
    value: float | None = None
    spread: float | None = None
    spread_over: str = ""
    low: float | None = None
    high: float | None = None
    n_seeds: int = 0
    n_values: int = 0
    band: Band = ""
    score: float | None = None
    attack: Attack | None = None
    mark_note: str = ""
    mark_value: float | None = None
    reason: str = ""
    phase: str = ""
    failed_seeds: int = 0


@dataclass(frozen=True)
class Failure:
    """A cell, or one metric of it (`metric` not empty), that failed; alike seeds together."""

    dataset: str
    cohort: str
    metric: str
    status: str
    phase: str
    reason: str
    detail: str
    seeds: tuple[int, ...]
    wall_s: float | None


@dataclass(frozen=True)
class Best:
    """The generators nearest to the ideal in one column: within its smallest effect of the best."""

    column: Column
    cohorts: tuple[str, ...]
    cell: Cell


@dataclass(frozen=True)
class DatasetSummary:
    """All cells of one dataset. `columns` are in the metrics' order, labelled ones included."""

    label: str
    cohorts: tuple[CohortInfo, ...]
    columns: tuple[Column, ...]
    floors: Mapping[Key, Floor]
    cells: Mapping[tuple[str, Key], Cell]
    failures: tuple[Failure, ...] = field(default=())

    def cell(self, cohort: str, column: Column) -> Cell:
        """The cell of a cohort in a column; state `missing` where nothing was recorded."""
        return self.cells.get((cohort, column.key), Cell("missing"))

    def headline(self, family: str | None = None) -> list[Column]:
        """Columns of the main table, without those that nobody has anything in.

        A headline number that only exists with labels is shown by its labels, six at most.
        """
        chosen = []
        by_number: dict[tuple[str, str], list[Column]] = {}
        for column in self.columns:
            wanted = column.submetric.headline and family in (None, column.family)
            if wanted and column.key in self._recorded:
                by_number.setdefault(column.key[:2], []).append(column)
        for group in by_number.values():
            plain = [column for column in group if not column.labels]
            chosen += plain or group[:6]
        return chosen

    @cached_property
    def _recorded(self) -> set[Key]:
        found = {key for (_, key), cell in self.cells.items() if cell.state != "missing"}
        return found | set(self.floors)

    @cached_property
    def measured(self) -> frozenset[str]:
        """Labels of the cohorts of which anything was measured."""
        return frozenset(label for (label, _), cell in self.cells.items() if cell.value is not None)

    def mark_notes(self) -> list[str]:
        """What the marks of headline numbers rest on where that isn't the number itself."""
        cells = [self.cell(c.label, column) for column in self.headline() for c in self.cohorts]
        return list(dict.fromkeys(cell.mark_note for cell in cells if cell.mark_note))

    def families(self) -> list[str]:
        """Metric families: fidelity, privacy, utility, performance, then any others."""
        return list(dict.fromkeys(column.family for column in self.columns))

    def best(self, column: Column) -> Best | None:
        """Who comes nearest to the ideal, controls left out.

        None where nothing is better, and where there is one generator: it has no rivals.
        """
        if sum(cohort.role == "generator" for cohort in self.cohorts) < 2:
            return None
        ranked = []
        for cohort in self.cohorts:
            cell = self.cell(cohort.label, column)
            distance = badness(cell.value, column.submetric)
            if cohort.role == "generator" and distance is not None:
                ranked.append((distance, cohort.label, cell))
        if not ranked:
            return None
        ranked.sort(key=lambda item: item[0])
        limit = ranked[0][0] + column.submetric.min_effect
        near = tuple(label for distance, label, _ in ranked if distance <= limit)
        return Best(column, near, ranked[0][2])

    def tally(self, cohort: str, family: str | None = None) -> tuple[int, int]:
        """Headline numbers as good as real people's (of evidence: `clear`), and those judged."""
        bands = [self.cell(cohort, column).band for column in self.headline(family)]
        judged = [band for band in bands if band]
        return sum(band in ("within", "better", "clear") for band in judged), len(judged)


@dataclass(frozen=True)
class Summary:
    """A run, summarised: one `DatasetSummary` per dataset, in the order of the suite.

    `rules` are those by which attacks were judged and verdicts are reached.
    """

    run: Run
    datasets: Mapping[str, DatasetSummary]
    rules: VerdictSettings = field(default_factory=VerdictSettings)

    @property
    def failures(self) -> list[Failure]:
        """Everything that failed, in order."""
        return [failure for dataset in self.datasets.values() for failure in dataset.failures]
