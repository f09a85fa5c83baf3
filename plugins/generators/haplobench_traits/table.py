"""Tables of traits: a row for each person, a column for each trait."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import FormatError
from haplobench.files import cells, numbered_lines, read_text


@dataclass(frozen=True, eq=False)
class TraitTable:
    """`values` (n_samples, n_names) float64 of traits `names`, in the table's order."""

    samples: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float64]


def read_table(path: Path) -> TraitTable:
    """The table at `path`: a header, in it `sample`; tabs, commas or semicolons between cells.

    Lines that begin with # are comments. Raises FormatError that names file, line and column.
    """
    names: list[str] = []
    at, separator = -1, "\t"
    rows: dict[str, list[float]] = {}
    for number, line in numbered_lines(read_text(path)):
        if not line.strip() or line.startswith("#"):
            continue
        if not names:
            separator = next((mark for mark in "\t,;" if mark in line), "\t")
            names = cells(line, separator)
            at = _sample_column(path, number, names)
            continue
        row = cells(line, separator)
        if len(row) != len(names):
            raise FormatError(
                f"{path}:{number}: {len(row)} cells, expected {len(names)} as in the header"
            )
        if row[at] in rows:
            raise FormatError(f"{path}:{number}: sample {row[at]!r} has a row already")
        rows[row[at]] = [
            _number(path, number, names[i], cell) for i, cell in enumerate(row) if i != at
        ]
    if not rows:
        raise FormatError(f"{path}: no rows, expected a header and a row for each person")
    traits = [name for i, name in enumerate(names) if i != at]
    return TraitTable(tuple(rows), tuple(traits), np.array(list(rows.values()), np.float64))


def _sample_column(path: Path, number: int, names: list[str]) -> int:
    lowered = [name.lower() for name in names]
    if "sample" not in lowered or len(names) < 2:
        raise FormatError(
            f"{path}:{number}: found the columns {', '.join(names)[:80]!r}, expected `sample` and "
            "one for each trait"
        )
    for i, name in enumerate(names):
        if not name or name in names[:i]:
            raise FormatError(
                f"{path}:{number}: column {i + 1}: found {name!r}, expected a name of its own"
            )
    return lowered.index("sample")


def _number(path: Path, line: int, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(
            f"{path}:{line}: column {name}: found {cell[:40]!r}, expected a number (leave out "
            "people of whom a trait isn't known)"
        )
    return value
