"""Summary: records to one cell per dataset, generator and number, each beside its noise floor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from haplobench.errors import BenchError, FormatError
from haplobench.files import near_names
from haplobench.report.evidence import judge_attacks
from haplobench.report.model import (
    Cell,
    Column,
    DatasetSummary,
    Failure,
    Floor,
    Key,
    Summary,
    badness,
    band,
    score,
)
from haplobench.results.description import MetricInfo, SubmetricInfo
from haplobench.results.records import FAILED, FAMILIES, FLOOR, Record, current_name
from haplobench.results.run_folder import DESCRIPTION
from haplobench.results.table import Labels, Run, labels_of, row_label, why
from haplobench.suite.schema import VerdictSettings
from haplobench.suite.source import key_text, structural_problems

_GRAVEST = (*FAILED, "not-applicable")


def summarise(run: Run, rules: VerdictSettings | None = None) -> Summary:
    """Aggregate a run's records; `rules` of its verdicts are its suite's unless given.

    A value is the mean over seeds of the means over each seed's draws, so that seeds weigh
    alike however many draws each has. The floor's draws are pooled. Raises FormatError where
    run.json's rules can't be read.
    """
    rules = rules or _rules(run)
    draws: dict[tuple[str, Key], list[float]] = {}
    seeds: dict[tuple[str, str, Key], dict[int, list[Record]]] = {}
    labels: dict[tuple[str, str, str], dict[Labels, None]] = {}
    for record in run.records:
        if record.status != "ok" or not record.submetric or not record.metric:
            continue
        if record.value is None:
            continue
        key = (record.metric, record.submetric, labels_of(record))
        labels.setdefault((record.dataset, *key[:2]), {})[key[2]] = None
        if record.role == FLOOR:
            draws.setdefault((record.dataset, key), []).append(record.value)
        else:
            cohort = row_label(record.generator, record.world_size)
            same = seeds.setdefault((record.dataset, cohort, key), {})
            same.setdefault(record.seed, []).append(record)
    known = {(m.name, item.name): item for m in run.metrics.values() for item in m.submetrics}
    floors = Floor.of_each(
        {place: (values, known[place[1][:2]].ideal) for place, values in draws.items()}
    )
    cells = {
        (dataset, cohort, key): _cell(same, floors.get((dataset, key)), known[key[:2]])
        for (dataset, cohort, key), same in seeds.items()
    }
    _mark(cells, run)
    for (dataset, cohort), attacks in judge_attacks(run, rules).items():
        for key, attack in attacks.items():
            if (cell := cells.get((dataset, cohort, key))) is not None:
                place = (dataset, cohort, key)
                cells[place] = replace(cell, band=attack.finding, attack=attack)
    cells.update(_floor_cells(floors, run))
    bad = _bad(run.records)
    columns = _columns(labels, run)
    datasets = {}
    for label in run.datasets:
        datasets[label] = DatasetSummary(
            label=label,
            cohorts=tuple(
                cohort
                for cohort in run.cohorts.values()
                if not cohort.datasets or label in cohort.datasets
            ),
            columns=columns[label],
            floors={key: floor for (dataset, key), floor in floors.items() if dataset == label},
            cells={
                (cohort, column.key): _with_bad(
                    cells.get((label, cohort, column.key)), label, cohort, column, bad
                )
                for cohort in run.cohorts
                for column in columns[label]
            },
            failures=_failures(run.records, label),
        )
    return Summary(run, datasets, rules)


def select(
    summary: Summary,
    metrics: Sequence[str] = (),
    generators: Sequence[str] = (),
    everything: bool = False,
) -> Summary:
    """Some of a summary's numbers, all of them for its main tables, and some of its generators.

    `metrics` are names, as `ld-decay` or `ld-decay/rmse`; none: the main tables' numbers, or with
    `everything` all. Of `generators` the floor and, where there are any, controls stay.

    Raises
    ------
    BenchError
        If something that was asked for isn't there, with near names.
    """
    parts = [name.partition("/") for name in metrics]
    wanted = {f"{metric}{slash}{current_name(metric, number)}" for metric, slash, number in parts}
    found: set[str] = set()
    datasets = {}
    for label, dataset in summary.datasets.items():
        columns = dataset.headline() if not (metrics or everything) else []
        for column in () if columns else dataset.columns:
            names = {column.metric, f"{column.metric}/{column.submetric.name}"}
            if (everything and not metrics) or names & wanted:
                found |= names
                number = replace(column.submetric, headline=True)
                columns.append(replace(column, submetric=number))
        kept = tuple(
            cohort
            for cohort in dataset.cohorts
            if not generators or cohort.role != "generator" or cohort.label in generators
        )
        datasets[label] = replace(dataset, columns=tuple(columns), cohorts=kept)
    known = {f"{c.metric}/{c.submetric.name}" for d in summary.datasets.values() for c in d.columns}
    for name in sorted(wanted - found):
        metrics = sorted({metric.partition("/")[0] for metric in known})
        hint = near_names(name, sorted(known) + metrics, lead="")
        hint = hint or f"its metrics are {', '.join(metrics)}"
        raise BenchError(f"no number of the run is called {name!r}", hint=hint)
    for name in generators:
        if name not in summary.run.cohorts:
            raise BenchError(
                f"no generator of the run is called {name!r}",
                hint=near_names(name, summary.run.cohorts, lead="")
                or f"there are {', '.join(summary.run.cohorts)}",
            )
    return replace(summary, datasets=datasets)


def order_by(summary: Summary, number: str) -> Summary:
    """Generators, then controls, by one number (`ld-decay/rmse`), the best first; or by `name`.

    What has no value comes last. Raises BenchError as `select` does, and where several numbers are
    called so.
    """
    datasets = {}
    for label, dataset in summary.datasets.items():
        keys: dict[str, Any] = {cohort.label: cohort.label for cohort in dataset.cohorts}
        if number != "name":
            columns = [
                column
                for column in select(summary, [number]).datasets[label].columns
                if not column.labels
            ]
            if len(columns) != 1:
                names = ", ".join(f"{column.metric}/{column.submetric.name}" for column in columns)
                raise BenchError(f"--sort {number}: one number is needed", hint=f"one of {names}")
            for cohort in dataset.cohorts:
                value = dataset.cell(cohort.label, columns[0]).value
                bad = badness(value, columns[0].submetric)
                key = value if bad is None else bad
                keys[cohort.label] = math.inf if key is None else key
        roles = ("floor", "generator", "control")
        cohorts = sorted(dataset.cohorts, key=lambda one: (roles.index(one.role), keys[one.label]))
        datasets[label] = replace(dataset, cohorts=tuple(cohorts))
    return replace(summary, datasets=datasets)


def _rules(run: Run) -> VerdictSettings:
    """The rules of verdicts that the run was made with; today's where it doesn't say."""
    section = run.info.get("verdict") or {}
    for key, message in structural_problems(section, VerdictSettings):
        where = key_text(("verdict", *key))
        raise FormatError(f"{run.folder / DESCRIPTION}: {where}: {message}")
    return VerdictSettings.model_validate(section)


# --- aggregation ----------------------------------------------------------------------------


def _cell(
    seeds: Mapping[int, Sequence[Record]], floor: Floor | None, submetric: SubmetricInfo
) -> Cell:
    """The cell of one number of one generator, of its records by seed."""
    values = [[record.value or 0.0 for record in seeds[seed]] for seed in sorted(seeds)]
    over = "seeds" if len(values) > 1 else "draws"
    units = [_mean(draws) for draws in values] if over == "seeds" else values[0]
    spread = _deviation(units)
    if spread is None:
        over = "standard error"
        errors = (record.standard_error for record in next(iter(seeds.values())))
        spread = next((error for error in errors if error is not None), None)
    value = _mean(units)
    return Cell(
        state="ok",
        value=value,
        spread=spread,
        spread_over="" if spread is None else over,
        low=min(units),
        high=max(units),
        n_seeds=len(values),
        n_values=sum(map(len, values)),
        band=band(value, floor, submetric),
        score=score(value, floor, submetric),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float | None:
    """Standard deviation, None of one value (Welford, Technometrics 4, 419-420, 1962)."""
    if len(values) < 2:
        return None
    mean = squares = 0.0
    for n, value in enumerate(values, 1):
        before = value - mean
        mean += before / n
        squares += before * (value - mean)
    return math.sqrt(squares / (len(values) - 1))


def _mark(cells: dict[tuple[str, str, Key], Cell], run: Run) -> None:
    """Give cells the marks of a subsample, or none, where no floor is as large as their cohorts.

    Only what is held against a floor of training people: run.json says so of a dataset.
    """
    for (dataset, cohort, key), cell in list(cells.items()):
        marks = run.marks(dataset, cohort)
        metric = run.metrics.get(key[0])
        if not marks or metric is None or metric.floor != "train":
            continue
        other = cells.get((dataset, marks["cohort"], key), Cell("missing"))
        cells[dataset, cohort, key] = replace(
            cell,
            band=other.band,
            score=other.score,
            mark_value=other.value,
            mark_note=marks["note"],
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


_Bads = dict[tuple[str, str, Key], _Bad]


def _bad(records: Iterable[Record]) -> _Bads:
    """What went wrong, by dataset, cohort, metric, submetric and labels (empty: all of them)."""
    entries: _Bads = {}
    for row in records:
        if row.status == "ok" and row.value is not None:
            continue
        cohort = row_label(row.generator, row.world_size)
        place = (row.dataset, cohort, (row.metric, row.submetric, labels_of(row)))
        status = "not-applicable" if row.status == "ok" else row.status
        reason = row.note if status == "not-applicable" else why(row.error_type, row.error)
        new = _Bad(status, reason or row.note or status, row.phase, frozenset([row.seed]))
        if (old := entries.get(place)) is not None:
            gravest = min(old, new, key=lambda bad: _gravity(bad.status))
            new = replace(gravest, seeds=old.seeds | new.seeds)
        entries[place] = new
    return entries


def _gravity(status: str) -> int:
    return _GRAVEST.index(status) if status in _GRAVEST else 0


def _with_bad(
    cell: Cell | None,
    dataset: str,
    cohort: str,
    column: Column,
    bad: _Bads,
) -> Cell:
    metric, submetric, labels = column.key
    levels: list[Key] = [
        (metric, submetric, labels), (metric, submetric, ()), (metric, "", ()), ("", "", ())
    ]  # fmt: skip
    entries = [entry for level in levels if (entry := bad.get((dataset, cohort, level)))]
    nearest = entries[0] if entries else None
    if cell is None:
        if nearest is None:
            return Cell("missing", reason="not measured")
        state: Any = nearest.status
        return Cell(state, reason=nearest.reason, phase=nearest.phase)
    failed = {seed for entry in entries if entry.status != "not-applicable" for seed in entry.seeds}
    if not failed or cell.n_seeds == 0:
        return cell
    return replace(cell, failed_seeds=len(failed), reason=nearest.reason if nearest else "")


def _failures(records: Iterable[Record], dataset: str) -> tuple[Failure, ...]:
    # Of one seed's draws, the first failure speaks for those after it.
    seeds: dict[tuple[Any, ...], Record] = {}
    for row in records:
        if row.status in FAILED and row.dataset == dataset:
            cohort = row_label(row.generator, row.world_size)
            seeds.setdefault((cohort, row.metric, row.status, row.phase, row.seed), row)
    grouped: dict[tuple[str, str, str, str, str], list[Record]] = {}
    for (cohort, metric, status, phase, _), row in seeds.items():
        reason = why(row.error_type, row.error) or row.note or row.status
        grouped.setdefault((cohort, metric, status, phase, reason), []).append(row)
    return tuple(
        Failure(
            dataset=dataset,
            cohort=cohort,
            metric=metric,
            status=status,
            phase=phase,
            reason=reason,
            detail=same[0].error,
            seeds=tuple(sorted({row.seed for row in same})),
            wall_s=max((row.wall_s for row in same if row.wall_s is not None), default=None),
        )
        for (cohort, metric, status, phase, reason), same in grouped.items()
    )


# --- columns --------------------------------------------------------------------------------


def _columns(
    labels: Mapping[tuple[str, str, str], Iterable[Labels]], run: Run
) -> dict[str, tuple[Column, ...]]:
    """Columns of each dataset: every known number unlabelled, and with the labels that occur."""
    return {
        dataset: tuple(
            Column(metric.name, submetric.family, submetric, text)
            for metric, submetric in _by_family(run.metrics.values())
            # What nobody has without labels exists only with them.
            for text in sorted(labels.get((dataset, metric.name, submetric.name)) or [()], key=bool)
        )
        for dataset in run.datasets
    }


def _by_family(metrics: Iterable[MetricInfo]) -> list[tuple[MetricInfo, SubmetricInfo]]:
    numbers = [(metric, number) for metric in metrics for number in metric.submetrics]
    families = list(dict.fromkeys([*FAMILIES, *(number.family for _, number in numbers)]))
    return sorted(numbers, key=lambda item: families.index(item[1].family))
