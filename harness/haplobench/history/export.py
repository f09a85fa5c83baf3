"""Every record of many runs as one Parquet file, for pandas, DuckDB and others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from haplobench.errors import BenchError
from haplobench.results.records import Record, read_records

if TYPE_CHECKING:
    import pyarrow as pa

# Rows held in memory at a time.
ROWS = 50_000


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

    kinds = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    kinds["Mapping[str, str]"] = pa.map_(pa.string(), pa.string())
    return pa.schema(
        [
            (column.name, kinds.get(str(column.type).removesuffix(" | None"), pa.string()))
            for column in fields(Record)
        ]
    )


def _batches(records: Iterable[Path]) -> Iterator[list[Record]]:
    rows = (row for path in records for row in read_records(path))
    while batch := list(islice(rows, ROWS)):
        yield batch
