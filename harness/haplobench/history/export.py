"""Every record of many runs as one Parquet file, for pandas, DuckDB and others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from haplobench.errors import BenchError
from haplobench.results.records import Record, parse_record

if TYPE_CHECKING:
    import pyarrow as pa

# Rows held in memory at a time.
ROWS = 50_000
_INTEGERS = ("schema", "seed", "replicate", "world_size", "n")
_NUMBERS = ("value", "standard_error", "wall_s")


def write_parquet(records: Iterable[Path], to: Path) -> int:
    """Write the records of files into one Parquet file, whole or not at all; how many.

    Columns are a record's; `labels` is a map of text to text. Torn lines are passed over.

    Raises
    ------
    BenchError
        If pyarrow is missing.
    FormatError
        If a line is JSON but no record.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise BenchError("Parquet needs pyarrow", hint="pip install 'haplobench[report]'") from None
    schema = _schema()
    to.parent.mkdir(parents=True, exist_ok=True)
    scratch = to.with_name(f".{to.name}.{os.getpid()}")
    count = 0
    try:
        with parquet.ParquetWriter(scratch, schema) as writer:
            for rows in _batches(records):
                columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
                columns["labels"] = [list(row.labels.items()) for row in rows]
                writer.write_table(pa.table(columns, schema=schema))
                count += len(rows)
        scratch.replace(to)
    finally:
        with contextlib.suppress(FileNotFoundError):
            scratch.unlink()
    return count


def _schema() -> pa.Schema:
    import pyarrow as pa

    def kind(name: str) -> pa.DataType:
        if name in _INTEGERS:
            return pa.int64()
        if name in _NUMBERS:
            return pa.float64()
        if name == "git_dirty":
            return pa.bool_()
        return pa.map_(pa.string(), pa.string()) if name == "labels" else pa.string()

    return pa.schema([(name, kind(name)) for name in Record.__dataclass_fields__])


def _batches(records: Iterable[Path]) -> Iterator[list[Record]]:
    rows: list[Record] = []
    decode = msgspec.json.Decoder(dict).decode
    for path in records:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    row = decode(line)
                except msgspec.DecodeError:
                    continue
                rows.append(parse_record(row, f"{path}:{number}"))
                if len(rows) >= ROWS:
                    yield rows
                    rows = []
    if rows:
        yield rows
