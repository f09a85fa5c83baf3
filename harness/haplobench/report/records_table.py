"""records.jsonl as a table."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haplobench.errors import BenchError
from haplobench.files import has_controls, printable_values
from haplobench.results.records import HYPHENATED, SCHEMA, current_name, read_records

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

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


def read_table(path: Path) -> pd.DataFrame:
    """Read records.jsonl as a table of the latest records, see `report.load.Run.records`.

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
    sources = (lambda: path, lambda: io.BytesIO(_whole_lines(path)))
    for source in () if has_controls(path) else sources:
        try:
            table = pyarrow.json.read_json(
                source(), parse_options=options, read_options=read_options
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        schemas = table.column("schema").to_numpy(zero_copy_only=False)
        if len(schemas) and not (schemas != schemas).any() and schemas.max() <= SCHEMA:
            return table
    # Lines that are no record, or a newer program's: this reader knows which and says so. And
    # texts that could command a terminal, or pass for the ends of labels.
    rows = [printable_values(asdict(record)) for record in read_records(path)]
    if not rows:
        return pa.table({"schema": pa.array([], pa.int64())})
    return pa.Table.from_pylist(rows)


def _whole_lines(path: Path) -> bytes:
    """The file without lines that a killed writer tore: the schema is a record's last key."""
    lines = path.read_bytes().splitlines(keepends=True)
    return b"".join(
        line for line in lines if line.rstrip().endswith(b"}") and b'"schema"' in line[-40:]
    )


def _current_names(frame: pd.DataFrame) -> pd.Series:
    """The column `submetric`, as categories, with older names of numbers replaced."""
    known = set(frame["submetric"].cat.categories)
    old = [(metric, name) for metric, names in HYPHENATED.items() for name in known & {*names}]
    if not old:
        return frame["submetric"]
    names = frame["submetric"].astype(object)
    for metric, name in old:
        rows = (frame["metric"] == metric) & (frame["submetric"] == name)
        names[rows] = current_name(metric, name)
    return names.astype("category")


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
    frame["submetric"] = _current_names(frame)
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
