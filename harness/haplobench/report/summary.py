"""Summary: records to one cell per dataset, generator and number, each beside its noise floor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from haplobench.report.load import CohortInfo, MetricInfo, Run, SubmetricInfo, iterate, parse_labels

if TYPE_CHECKING:
    import pandas as pd

State = Literal["ok", "not-applicable", "failed", "timeout", "memory", "missing"]
Place = Literal["", "better", "within", "outside", "far"]
Key = tuple[str, str, str]
"""Metric, submetric and labels (as one text, see `load.parse_labels`)."""

FLOOR_RANGE = (0.05, 0.95)
FAR_WIDTHS, FAR_SCORE = 3.0, 1.5
"""Far outside: further from the floor's range than so many of its widths, and, where there is
an ideal, at least so many times further from the ideal than the floor."""
_WORST = ("memory", "timeout", "failed", "not-applicable")


@dataclass(frozen=True)
class Column:
    """One number that is compared: a submetric, or one of its labelled values."""

    metric: str
    family: str
    submetric: SubmetricInfo
    labels: str = ""

    @property
    def key(self) -> Key:
        """What cells and floors are looked up by."""
        return (self.metric, self.submetric.name, self.labels)

    @property
    def label_text(self) -> str:
        """Labels for a reader: `superpopulation EUR, maf 0.05-0.1`; empty if none."""
        return ", ".join(f"{key} {value}" for key, value in parse_labels(self.labels))

    @property
    def title(self) -> str:
        """Title for table heads, with label values where there are any."""
        values = ", ".join(value for _, value in parse_labels(self.labels))
        return f"{self.submetric.title} ({values})" if values else self.submetric.title


@dataclass(frozen=True)
class Floor:
    """Real people sampled as if synthetic: what the best generator could reach.

    `low` and `high` are the 5 % and 95 % quantiles over `n` draws, `distance` the median
    distance of a draw from the ideal (None without an ideal).
    """

    median: float
    low: float
    high: float
    n: int
    distance: float | None = None


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
    place : str
        Against the floor's 5-95 % range: `better`, `within` (or nearer to it than the metric's
        smallest effect), `outside`, `far` (see `FAR_WIDTHS`).
    score : float or None
        Distance from the ideal over the floor's (or over the metric's smallest effect, where
        that is greater): 1 is as good as real people.
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
    place: Place = ""
    score: float | None = None
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

    def families(self) -> list[str]:
        """Metric families, in the order in which the run names them."""
        return list(dict.fromkeys(column.family for column in self.columns))

    def best(self, column: Column) -> Best | None:
        """Who comes nearest to the ideal, controls left out; None where nothing is better."""
        ranked = []
        for cohort in self.cohorts:
            cell = self.cell(cohort.label, column)
            badness = _badness(cell.value, column.submetric)
            if cohort.role == "generator" and badness is not None:
                ranked.append((badness, cohort.label, cell))
        if not ranked:
            return None
        ranked.sort(key=lambda item: item[0])
        limit = ranked[0][0] + column.submetric.min_effect
        near = tuple(label for badness, label, _ in ranked if badness <= limit)
        return Best(column, near, ranked[0][2])

    def tally(self, cohort: str, family: str | None = None) -> tuple[int, int]:
        """Headline numbers within the floor's range or better, and those compared with a floor."""
        places = [self.cell(cohort, column).place for column in self.headline(family)]
        judged = [place for place in places if place]
        return sum(place in ("within", "better") for place in judged), len(judged)


@dataclass(frozen=True)
class Summary:
    """A run, summarised: one `DatasetSummary` per dataset, in the order of the suite."""

    run: Run
    datasets: Mapping[str, DatasetSummary]

    @property
    def failures(self) -> list[Failure]:
        """Everything that failed, in order."""
        return [failure for dataset in self.datasets.values() for failure in dataset.failures]


def summarise(run: Run) -> Summary:
    """Aggregate a run's records.

    A value is the mean over seeds of the means over each seed's draws, so that seeds weigh
    alike however many draws each has. The floor's draws are pooled.
    """
    records = run.records
    ok = records[
        (records["status"] == "ok")
        & (records["metric"] != "")
        & (records["submetric"] != "")
        & records["value"].notna()
    ]
    is_floor = ok["role"] == "floor"
    floors = _floors(ok[is_floor], run.metrics)
    cells = _cells(ok[~is_floor], run, floors)
    cells.update(_floor_cells(floors, run))
    bad = _bad(records)
    columns = _columns(ok, run)
    datasets = {}
    for label in run.datasets:
        here = columns.get(label, ())
        full: dict[tuple[str, Key], Cell] = {}
        for cohort in run.cohorts:
            for column in here:
                cell = cells.get((label, cohort, column.key))
                full[cohort, column.key] = _with_bad(cell, label, cohort, column, bad)
        datasets[label] = DatasetSummary(
            label=label,
            cohorts=tuple(run.cohorts.values()),
            columns=here,
            floors={key: floor for (dataset, key), floor in floors.items() if dataset == label},
            cells=full,
            failures=_failures(records, label),
        )
    return Summary(run, datasets)


# --- aggregation ----------------------------------------------------------------------------

_NUMBER = ["metric", "submetric", "labels"]


def _submetrics(metrics: Mapping[str, MetricInfo]) -> dict[tuple[str, str], SubmetricInfo]:
    return {(m.name, item.name): item for m in metrics.values() for item in m.submetrics}


def _floors(rows: pd.DataFrame, metrics: Mapping[str, MetricInfo]) -> dict[tuple[str, Key], Floor]:
    if rows.empty:
        return {}
    known = _submetrics(metrics)
    # One row per draw: floors with several seeds pool their draws.
    ideals = {key: item.ideal for key, item in known.items()}
    pairs = zip(rows["metric"], rows["submetric"], strict=True)
    ideal = [ideals.get(pair) for pair in pairs]
    import numpy as np
    import pandas as pd

    rows = rows.assign(distance=(rows["value"] - pd.Series(ideal, rows.index, dtype=float)).abs())
    grouped = rows.groupby(["dataset", *_NUMBER], observed=True)
    quantiles = grouped["value"].quantile(np.array([FLOOR_RANGE[0], 0.5, FLOOR_RANGE[1]])).unstack()
    table = quantiles.join(grouped["value"].size().rename("n")).join(grouped["distance"].median())
    return {
        (dataset, (metric, submetric, labels)): Floor(
            median=float(row[1]),
            low=float(row[0]),
            high=float(row[2]),
            n=int(row[3]),
            distance=None if math.isnan(row[4]) else float(row[4]),
        )
        for (dataset, metric, submetric, labels), row in zip(
            table.index, table.to_numpy(), strict=True
        )
    }


def _cells(
    rows: pd.DataFrame, run: Run, floors: Mapping[tuple[str, Key], Floor]
) -> dict[tuple[str, str, Key], Cell]:
    if rows.empty:
        return {}
    known = _submetrics(run.metrics)
    keys = ["dataset", "cohort", *_NUMBER]
    grouped = rows.groupby([*keys, "seed"], observed=True)
    seeds = grouped["value"].agg(["mean", "std", "min", "max", "size"])
    seeds["standard_error"] = grouped["standard_error"].first()
    again = seeds.groupby(level=keys, observed=True)
    table = again["mean"].agg(["mean", "std", "min", "max", "size"])
    first = again[["std", "min", "max"]].first().add_suffix("_draws")
    table = (
        table.join(first)
        .join(again["standard_error"].first())
        .join(again["size"].sum().rename("values"))
    )
    cells = {}
    for index, row in zip(table.index, table.to_dict("records"), strict=True):
        dataset, cohort, key = index[0], index[1], tuple(index[2:])
        submetric = known.get(key[:2]) or SubmetricInfo(key[1], key[1])
        floor = floors.get((dataset, key))
        value = float(row["mean"])
        if row["size"] > 1:
            spread, over = row["std"], "seeds"
            low, high = row["min"], row["max"]
        else:
            spread, over = row["std_draws"], "draws"
            low, high = row["min_draws"], row["max_draws"]
            if math.isnan(spread):
                spread, over = row["standard_error"], "standard error"
        known_spread = not math.isnan(spread)
        cells[dataset, cohort, key] = Cell(
            state="ok",
            value=value,
            spread=float(spread) if known_spread else None,
            spread_over=over if known_spread else "",
            low=float(low),
            high=float(high),
            n_seeds=int(row["size"]),
            n_values=int(row["values"]),
            place=place(value, floor, submetric),
            score=score(value, floor, submetric),
        )
    return cells


def _floor_cells(
    floors: Mapping[tuple[str, Key], Floor], run: Run
) -> dict[tuple[str, str, Key], Cell]:
    """The floor as a row of its own: its median, with its 5-95 % range as low and high."""
    labels = [cohort.label for cohort in run.cohorts.values() if cohort.role == "floor"]
    return {
        (dataset, label, key): Cell(
            "ok", floor.median, low=floor.low, high=floor.high, n_values=floor.n
        )
        for label in labels[:1]
        for (dataset, key), floor in floors.items()
    }


def place(value: float, floor: Floor | None, submetric: SubmetricInfo) -> Place:
    """Where a value lies against the floor's range, see `Cell.place`; empty if there's no floor."""
    if floor is None or submetric.direction == "info":
        return ""
    if submetric.direction == "closer" and submetric.ideal is None:
        return ""
    width = max(floor.high - floor.low, submetric.min_effect)
    above, below = value - floor.high, floor.low - value
    if submetric.direction == "lower":
        excess, gain = above, below
    elif submetric.direction == "higher":
        excess, gain = below, above
    else:
        # Nearer to the ideal than the floor's own range is never worse than real people.
        ideal = submetric.ideal or 0.0
        reach = max(abs(floor.low - ideal), abs(floor.high - ideal))
        excess, gain = abs(value - ideal) - reach, 0.0
    tiny = 1e-9 * max(abs(value), abs(floor.median))  # rounding of the quantiles' arithmetic
    if excess > max(submetric.min_effect, tiny):
        distance = score(value, floor, submetric)
        far = excess > FAR_WIDTHS * width + tiny and (distance is None or distance >= FAR_SCORE)
        return "far" if far else "outside"
    return "better" if gain > max(submetric.min_effect, tiny) else "within"


def score(value: float, floor: Floor | None, submetric: SubmetricInfo) -> float | None:
    """Distance of a value from the ideal over the floor's, see `Cell.score`.

    A floor nearer to the ideal than the metric's smallest effect counts as that far away.
    None without an ideal or a floor, and where the floor is the ideal exactly.
    """
    if floor is None or submetric.ideal is None or submetric.direction == "info":
        return None
    unit = max(floor.distance or 0.0, submetric.min_effect)
    return abs(value - submetric.ideal) / unit if unit else None


def _badness(value: float | None, submetric: SubmetricInfo) -> float | None:
    if value is None or submetric.direction == "info":
        return None
    if submetric.direction == "closer":
        return None if submetric.ideal is None else abs(value - submetric.ideal)
    return value if submetric.direction == "lower" else -value


# --- what has no value ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Bad:
    status: str
    reason: str
    phase: str
    seeds: frozenset[int]


def _bad(records: pd.DataFrame) -> dict[tuple[str, str, str, str, str], _Bad]:
    """What went wrong, by dataset, cohort, metric, submetric and labels (empty: all of them)."""
    rows = records[(records["status"] != "ok") | (records["value"].isna())]
    keys = ["dataset", "cohort", *_NUMBER]
    entries: dict[tuple[str, str, str, str, str], _Bad] = {}
    columns = [*keys, "status", "note", "error_type", "error", "phase", "seed"]
    for row in iterate(rows[columns].drop_duplicates()):
        key = (row.dataset, row.cohort, row.metric, row.submetric, row.labels)
        status = "not-applicable" if row.status == "ok" else row.status
        reason = row.note if status == "not-applicable" else one_line(row.error_type, row.error)
        new = _Bad(status, reason or row.note or status, row.phase, frozenset([row.seed]))
        old = entries.get(key)
        if old is not None:
            worst = min(old, new, key=lambda bad: _rank(bad.status))
            new = _Bad(worst.status, worst.reason, worst.phase, old.seeds | new.seeds)
        entries[key] = new
    return entries


def _rank(status: str) -> int:
    return _WORST.index(status) if status in _WORST else 0


def _with_bad(
    cell: Cell | None,
    dataset: str,
    cohort: str,
    column: Column,
    bad: Mapping[tuple[str, str, str, str, str], _Bad],
) -> Cell:
    metric, submetric, labels = column.key
    levels = [(metric, submetric, labels), (metric, submetric, ""), (metric, "", ""), ("", "", "")]
    found = next((entry for level in levels if (entry := bad.get((dataset, cohort, *level)))), None)
    if cell is None:
        if found is None:
            return Cell("missing", reason="not measured")
        state: Any = found.status
        return Cell(state, reason=found.reason, phase=found.phase)
    failed = {
        seed
        for level in levels
        if (entry := bad.get((dataset, cohort, *level))) and entry.status != "not-applicable"
        for seed in entry.seeds
    }
    if not failed or cell.n_seeds == 0:
        return cell
    values = {name: getattr(cell, name) for name in Cell.__dataclass_fields__}
    return Cell(**{**values, "failed_seeds": len(failed), "reason": found.reason if found else ""})


def _failures(records: pd.DataFrame, dataset: str) -> tuple[Failure, ...]:
    rows = records[
        (records["dataset"] == dataset) & records["status"].isin(["failed", "timeout", "memory"])
    ]
    grouped: dict[tuple[str, ...], list[Any]] = {}
    # Of one seed's draws, the first failure speaks for those after it.
    rows = rows.drop_duplicates(["cohort", "metric", "status", "phase", "seed"])
    for row in iterate(rows):
        reason = one_line(row.error_type, row.error) or row.note or row.status
        key = (row.cohort, row.metric, row.status, row.phase, reason)
        grouped.setdefault(key, []).append(row)
    failures = []
    for (cohort, metric, status, phase, reason), same in grouped.items():
        walls = [row.wall_s for row in same if not math.isnan(row.wall_s)]
        failures.append(
            Failure(
                dataset=dataset,
                cohort=cohort,
                metric=metric,
                status=status,
                phase=phase,
                reason=reason,
                detail=same[0].error,
                seeds=tuple(sorted({int(row.seed) for row in same})),
                wall_s=max(walls) if walls else None,
            )
        )
    return tuple(failures)


def one_line(error_type: str, error: str, width: int = 160) -> str:
    """What an error says, as one line: its type and the first line that isn't a traceback's."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if lines and lines[0].startswith("Traceback"):
        lines = lines[-1:]
    message = lines[0] if lines else ""
    if message.endswith(":") and len(lines) > 1:
        message += f" {lines[1]}"
    if error_type and not message.startswith(error_type):
        message = f"{error_type}: {message}" if message else error_type
    return message if len(message) <= width else message[: width - 1] + "…"


# --- columns --------------------------------------------------------------------------------


def _columns(ok: pd.DataFrame, run: Run) -> dict[str, tuple[Column, ...]]:
    """Columns of each dataset: every known number unlabelled, and with the labels that occur."""
    labels: dict[tuple[str, str, str], list[str]] = {}
    rows = ok[["dataset", *_NUMBER]].drop_duplicates()
    for row in iterate(rows):
        labels.setdefault((row.dataset, row.metric, row.submetric), []).append(row.labels)
    columns = {}
    for dataset in run.datasets:
        here = []
        for metric in _by_family(run.metrics.values()):
            for submetric in metric.submetrics:
                # What nobody has without labels exists only with them.
                found = labels.get((dataset, metric.name, submetric.name)) or [""]
                found = sorted(found, key=bool)
                here += [Column(metric.name, metric.family, submetric, text) for text in found]
        columns[dataset] = tuple(here)
    return columns


def _by_family(metrics: Iterable[MetricInfo]) -> list[MetricInfo]:
    metrics = list(metrics)
    families = list(dict.fromkeys(metric.family for metric in metrics))
    return sorted(metrics, key=lambda metric: families.index(metric.family))
