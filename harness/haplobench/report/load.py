"""Reading a run folder for its report: what run.json describes, and the records as a table."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haplobench.errors import BenchError, FormatError
from haplobench.results.records import SCHEMA, read_records

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FLOOR = "floor"
# Separate a label's key from its value, and one label from the next, inside one table column:
# control characters, since a population may be named anything.
KEY_END = "\x1f"
LABEL_END = "\x1e"

_COLUMNS = {
    "dataset": "",
    "generator": "",
    "role": "generator",
    "seed": 0,
    "replicate": 0,
    "world_size": 1,
    "cell_id": "",
    "run_key": "",
    "metric": "",
    "metric_version": "",
    "metric_distribution": "",
    "family": "",
    "submetric": "",
    "value": None,
    "standard_error": None,
    "n": None,
    "unit": "",
    "direction": "info",
    "status": "ok",
    "phase": "",
    "wall_s": None,
    "error_type": "",
    "error": "",
    "note": "",
    "series": "",
}


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
        Label to `CohortInfo`: the floor first, then controls, then generators.
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
    info = read_info(folder / "run.json")
    records = read_table(path)
    return Run(
        folder=folder,
        info=info,
        datasets=_datasets(info, records),
        cohorts=_cohorts(info, records),
        metrics=_metrics(info, records),
        records=records,
    )


def read_info(path: Path) -> dict[str, Any]:
    """Read a run.json; an empty dict where there is none (a run killed at its very start)."""
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path}: not JSON: {error}") from None
    if not isinstance(info, dict):
        raise FormatError(f"{path}: expected an object, found {type(info).__name__}")
    return info


def read_table(path: Path) -> pd.DataFrame:
    """Read records.jsonl as a table of the latest records, see `Run.records`.

    Arrow parses the file, some 100 MB/s, without the lines that a killed writer tore; where
    other lines are no records, `read_records` goes line by line and names the first.
    """
    return _latest(_frame(_arrow_table(path)))


def _arrow_table(path: Path) -> pa.Table:
    try:
        import pyarrow as pa
        import pyarrow.json
    except ImportError as error:
        raise BenchError(
            f"reports need {error.name}", hint="pip install 'haplobench[report]'"
        ) from None

    if path.stat().st_size == 0:
        return pa.table({"schema": pa.array([], pa.int64())})
    types = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    annotated = {"value": float, "standard_error": float, "wall_s": float, "n": int}
    whole = {"seed", "replicate", "world_size", "schema", "n"}
    schema = pa.schema(
        [
            (name, types[annotated.get(name, int if name in whole else str)])
            for name in (*_COLUMNS, "schema")
        ]
    )
    options = pyarrow.json.ParseOptions(
        explicit_schema=schema, unexpected_field_behavior="infer", newlines_in_values=False
    )
    read_options = pyarrow.json.ReadOptions(block_size=1 << 24)
    for source in (lambda: path, lambda: io.BytesIO(_whole_lines(path))):
        try:
            table = pyarrow.json.read_json(
                source(), parse_options=options, read_options=read_options
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        schemas = table.column("schema").to_numpy(zero_copy_only=False)
        if len(schemas) and not (schemas != schemas).any() and schemas.max() <= SCHEMA:
            return table
    # Lines that are no record, or a newer program's: this reader knows which and says so.
    rows = [asdict(record) for record in read_records(path)]
    if not rows:
        return pa.table({"schema": pa.array([], pa.int64())})
    return pa.Table.from_pylist(rows)


def _whole_lines(path: Path) -> bytes:
    """The file without lines that a killed writer tore: the schema is a record's last key."""
    lines = path.read_bytes().splitlines(keepends=True)
    return b"".join(
        line for line in lines if line.rstrip().endswith(b"}") and b'"schema"' in line[-40:]
    )


def _frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name, default in _COLUMNS.items():
        if name not in table.column_names:
            columns[name] = [default] * len(table)
            continue
        column = table.column(name)
        if isinstance(default, str):
            # Few distinct texts among many rows: as categories they group fast.
            column = column.cast(pa.string()).fill_null(default).dictionary_encode()
        elif isinstance(default, int):
            column = column.fill_null(default)
        columns[name] = column.to_pandas()
    frame = pd.DataFrame(columns)
    for name in ("value", "standard_error", "n", "wall_s"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("float64")
    for name, default in _COLUMNS.items():
        if isinstance(default, str):
            frame[name] = frame[name].astype("category")
    frame["labels"] = pd.Categorical(_label_texts(table))
    several = frame["world_size"] > 1
    cohort = frame["generator"].astype(object)
    if several.any():
        ranks = frame["world_size"].astype(str)
        cohort = cohort.where(~several, cohort.astype(str) + " (" + ranks + " ranks)")
    frame["cohort"] = cohort.astype("category")
    return frame


def _label_texts(table: pa.Table) -> Any:
    """Labels of each row as one text (n_rows,): keys sorted, so that equal labels are equal."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if "labels" not in table.column_names or not pa.types.is_struct(
        table.schema.field("labels").type
    ):
        return np.full(len(table), "", dtype=object)
    parts = []
    labels = table.column("labels").combine_chunks()
    for key in sorted(item.name for item in labels.type):
        values = pc.struct_field(labels, key).cast(pa.string())
        part = pc.binary_join_element_wise(key, values, LABEL_END, KEY_END)
        # The separator of the join stands between all three; undo it before the label's end.
        part = pc.replace_substring(part, KEY_END + LABEL_END, LABEL_END)
        parts.append(part.fill_null(""))
    if not parts:
        return np.full(len(table), "", dtype=object)
    text = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "")
    return text.to_numpy(zero_copy_only=False)


def parse_labels(text: str) -> tuple[tuple[str, str], ...]:
    """Labels (key, value) of a text in the column `labels`."""
    pairs = (part.split(KEY_END, 1) for part in text.split(LABEL_END) if part)
    return tuple((pair[0], pair[1]) for pair in pairs)


def iterate(frame: pd.DataFrame) -> Iterator[Any]:
    """Rows of a table as named tuples."""
    yield from frame.itertuples(index=False)


def _latest(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop what a later record replaces: a measurement made again, a failure since mended."""
    if frame.empty:
        return frame
    cell = ["dataset", "cohort", "seed"]
    where = [*cell, "replicate", "metric"]
    frame = frame.drop_duplicates([*where, "submetric", "labels"], keep="last").copy()
    order = frame.reset_index()["index"].to_numpy()
    frame["_at"] = order

    def last(rows: pd.DataFrame, keys: list[str]) -> Any:
        latest = rows.groupby(keys, observed=True)["_at"].max().rename("_then").reset_index()
        return frame.merge(latest, on=keys, how="left")["_then"].fillna(-1).to_numpy()

    # One metric of one cohort measured again by other code replaces all of its older numbers,
    # whatever they were called.
    newest = frame.drop_duplicates(where, keep="last")[[*where, "run_key"]]
    kept = frame.merge(newest, on=where, how="left", suffixes=("", "_newest"))
    same = (kept["run_key"].astype(str) == kept["run_key_newest"].astype(str)).to_numpy()
    frame = frame[same | (frame["metric"] == "").to_numpy()]
    order = frame["_at"].to_numpy()

    measured = frame[(frame["metric"] != "") & (frame["status"] == "ok")]
    is_cell = (frame["metric"] == "").to_numpy()
    is_metric = ((frame["metric"] != "") & (frame["submetric"] == "")).to_numpy()
    replaced = is_cell & (last(measured, cell) > order)
    details = frame[(frame["metric"] != "") & (frame["submetric"] != "")]
    replaced |= is_metric & (last(details, where) > order)
    whole = frame[is_metric & (frame["status"] != "ok").to_numpy()]
    replaced |= ~is_cell & ~is_metric & (last(whole, where) > order)
    result: pd.DataFrame = frame[~replaced].drop(columns="_at").reset_index(drop=True)
    return result


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
