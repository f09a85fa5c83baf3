"""Summary: records to one cell per dataset, generator and number, each beside its noise floor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast, get_args

from haplobench.plugin import Family
from haplobench.report.load import MetricInfo, Run, SubmetricInfo
from haplobench.report.model import (
    Cell,
    Column,
    DatasetSummary,
    Failure,
    Floor,
    Key,
    Summary,
    place,
    score,
)
from haplobench.report.records_table import iterate

if TYPE_CHECKING:
    import pandas as pd

_WORST = ("memory", "timeout", "failed", "not-applicable")


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
    _mark(cells, run)
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
    grouped = rows.groupby(["dataset", *_NUMBER], observed=True)["value"]
    floors = {}
    for group, values in grouped:
        dataset, metric, submetric, labels = (str(part) for part in cast(Iterable[object], group))
        info = known.get((metric, submetric))
        draws = values.to_numpy(dtype=float)
        floors[dataset, (metric, submetric, labels)] = Floor.of(draws, info.ideal if info else None)
    return floors


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


def _mark(cells: dict[tuple[str, str, Key], Cell], run: Run) -> None:
    """Give cells the marks of a subsample, or none, where no floor is as large as their cohorts.

    Only what is held against a floor of training people: run.json says so of a dataset.
    """
    for (dataset, cohort, key), cell in list(cells.items()):
        marks = run.datasets.get(dataset, {}).get("marks")
        metric = run.metrics.get(key[0])
        if not marks or metric is None or metric.floor != "train":
            continue
        other = cells.get((dataset, str(marks.get("cohort")), key), Cell("missing"))
        cells[dataset, cohort, key] = replace(
            cell,
            place=other.place,
            score=other.score,
            mark_value=other.value,
            mark_note=str(marks.get("note", "")),
        )


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
    families = list(dict.fromkeys([*get_args(Family), *(metric.family for metric in metrics)]))
    return sorted(metrics, key=lambda metric: families.index(metric.family))
