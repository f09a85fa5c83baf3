"""Reading a run folder for its report: what run.json describes, beside the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haplobench.errors import BenchError
from haplobench.report.records_table import iterate, read_table
from haplobench.results.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

FLOOR, SUBSAMPLE = "floor", "subsample"


@dataclass(frozen=True)
class SubmetricInfo:
    """One number that a metric reports, as run.json describes it (see `SubmetricSpec`)."""

    name: str
    title: str
    definition: str = ""
    unit: str = ""
    direction: str = "info"
    ideal: float | None = None
    min_effect: float = 0.0
    headline: bool = False


@dataclass(frozen=True)
class FigureInfo:
    """A figure of a metric, as run.json describes it (see `FigureSpec`)."""

    name: str
    title: str
    caption: str
    target: str


@dataclass(frozen=True)
class MetricInfo:
    """A metric, as run.json describes it (see `MetricSpec`)."""

    name: str
    family: str
    version: str = ""
    distribution: str = ""
    summary: str = ""
    citations: tuple[str, ...] = ()
    submetrics: tuple[SubmetricInfo, ...] = ()
    figures: tuple[FigureInfo, ...] = ()
    floor: str = ""


@dataclass(frozen=True)
class CohortInfo:
    """A row of the tables: a generator, a control, or the floor.

    `label` is the suite's label, with the number of ranks where it ran on more than one;
    `control` says why the harness added it, `missing` what it needs that the machine lacks.
    """

    label: str
    role: str
    name: str = ""
    version: str = ""
    distribution: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    citations: tuple[str, ...] = ()
    site_matched: bool | None = None
    conditional: bool | None = None
    control: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run as its report needs it.

    Attributes
    ----------
    folder : Path
    info : dict
        run.json as it is.
    datasets : dict
        Label to description, in the order of the suite.
    cohorts : dict
        Label to `CohortInfo`: the floor first, then controls, then generators. Subsamples have
        no row of their own: they decide the marks of the cohort that they were drawn from.
    metrics : dict
        Name to `MetricInfo`: those of run.json, then any that only records name.
    records : pandas.DataFrame
        One row per measurement or failure, the newest where a cell was measured again.
        Columns as `Record`, with `cohort` (row label) and `labels` as one text.
    """

    folder: Path
    info: Mapping[str, Any]
    datasets: Mapping[str, Mapping[str, Any]]
    cohorts: Mapping[str, CohortInfo]
    metrics: Mapping[str, MetricInfo]
    records: pd.DataFrame


def load_run(folder: Path) -> Run:
    """Read a run folder.

    Raises
    ------
    BenchError
        If there is no run.json or no records.jsonl.
    FormatError
        If either can't be read, naming file and line.
    """
    path = folder / "records.jsonl"
    if not path.is_file():
        raise BenchError(f"{folder}: no records.jsonl, so no run to report", hint="see `bench run`")
    info = RunFolder(folder).info()
    records = read_table(path)
    return Run(
        folder=folder,
        info=info,
        datasets=_datasets(info, records),
        cohorts=_cohorts(info, records),
        metrics=_metrics(info, records),
        records=records,
    )


def _datasets(info: Mapping[str, Any], records: pd.DataFrame) -> dict[str, Mapping[str, Any]]:
    datasets = dict(info.get("datasets") or {})
    for label in records["dataset"].unique():
        datasets.setdefault(label, {})
    return datasets


def _cohorts(info: Mapping[str, Any], records: pd.DataFrame) -> dict[str, CohortInfo]:
    described = dict(info.get("generators") or {})
    rows = records[["cohort", "generator", "role", "world_size"]].drop_duplicates("cohort")
    known = {field.name for field in fields(CohortInfo)} - {"label", "role"}
    cohorts: list[CohortInfo] = []
    seen = set()

    def add(label: str, generator: str, role: str) -> None:
        entry = described.get(generator) or {}
        entry = {key: value for key, value in entry.items() if key in known}
        for key in ("citations", "missing"):
            entry[key] = tuple(entry.get(key) or ())
        cohorts.append(CohortInfo(label=label, role=role, **entry))
        seen.add(generator)

    place = {generator: i for i, generator in enumerate(described)}
    found = sorted(
        iterate(rows), key=lambda row: (place.get(row.generator, 1 << 30), row.world_size)
    )
    for row in found:
        if row.role != SUBSAMPLE:
            add(row.cohort, row.generator, row.role)
    for generator, entry in described.items():
        if generator not in seen:
            add(generator, generator, entry.get("role") or "generator")
    rank = {"floor": 0, "control": 1}
    cohorts.sort(key=lambda cohort: rank.get(cohort.role, 2))
    return {cohort.label: cohort for cohort in cohorts}


def _metrics(info: Mapping[str, Any], records: pd.DataFrame) -> dict[str, MetricInfo]:
    metrics = {}
    for name, entry in (info.get("metrics") or {}).items():
        metrics[name] = MetricInfo(
            name=name,
            family=entry.get("family") or "other",
            version=entry.get("version") or "",
            distribution=entry.get("distribution") or "",
            summary=entry.get("summary") or "",
            citations=tuple(entry.get("citations") or ()),
            submetrics=tuple(_build(SubmetricInfo, item) for item in entry.get("submetrics") or ()),
            figures=tuple(_build(FigureInfo, item) for item in entry.get("figures") or ()),
            floor=entry.get("floor") or "",
        )
    measured = records[(records["metric"] != "") & (records["submetric"] != "")]
    for row in iterate(measured.drop_duplicates(["metric", "submetric"])):
        metric = metrics.get(row.metric) or MetricInfo(
            name=row.metric,
            family=row.family or "other",
            version=row.metric_version,
            distribution=row.metric_distribution,
        )
        if row.submetric not in {item.name for item in metric.submetrics}:
            found = SubmetricInfo(
                row.submetric, row.submetric, unit=row.unit, direction=row.direction
            )
            metric = MetricInfo(**{**vars(metric), "submetrics": (*metric.submetrics, found)})
        metrics[row.metric] = metric
    return metrics


def _build(kind: type[Any], entry: Mapping[str, Any]) -> Any:
    names = {item.name for item in fields(kind)}
    given = {key: value for key, value in entry.items() if key in names and value is not None}
    for name in ("name", "title", "caption", "target"):
        if name in names:
            given.setdefault(name, given.get("name", ""))
    return kind(**given)
