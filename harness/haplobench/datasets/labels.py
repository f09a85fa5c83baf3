"""Population labels: the tab-separated panel file of the 1000 Genomes Project."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from haplobench.errors import FormatError
from haplobench.panel import Panel

_COLUMNS = {
    "sample": ("sample", "sample_id", "iid"),
    "population": ("pop", "population"),
    "superpopulation": ("super_pop", "superpop", "superpopulation"),
}


@dataclass(frozen=True)
class Label:
    """Population and superpopulation of a person; `superpopulation` may be empty."""

    population: str
    superpopulation: str


def read_labels(path: Path | str) -> Mapping[str, Label]:
    """Labels by sample from a tab-separated file with columns `sample`, `pop`, `super_pop`.

    Other columns, and empty header fields at the end (as published), are passed over.
    Raises FormatError that names the line.
    """
    path = Path(path)
    labels: dict[str, Label] = {}
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
            header = [name.strip().lstrip("#").lower() for name in next(rows, [])]
            columns = {
                key: next((header.index(name) for name in names if name in header), None)
                for key, names in _COLUMNS.items()
            }
            sample, population = columns["sample"], columns["population"]
            superpopulation = columns["superpopulation"]
            if sample is None or population is None:
                raise FormatError(
                    f"{path}:1: found columns {', '.join(filter(None, header))[:60] or 'none'}, "
                    "expected tab-separated sample, pop and super_pop"
                )
            needed = [index for index in (sample, population, superpopulation) if index is not None]
            for number, row in enumerate(rows, 2):
                if not any(field.strip() for field in row):
                    continue
                if len(row) <= max(needed) or not all(row[index].strip() for index in needed):
                    raise FormatError(
                        f"{path}:{number}: found {chr(9).join(row)[:60]!r}, "
                        "expected a sample with its labels, tab-separated"
                    )
                name = row[sample].strip()
                if name in labels:
                    raise FormatError(f"{path}:{number}: sample {name!r} occurs a second time")
                labels[name] = Label(
                    row[population].strip(),
                    "" if superpopulation is None else row[superpopulation].strip(),
                )
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file", hint="give the panel_file that exists") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: can't be read: {error}") from None
    if not labels:
        raise FormatError(f"{path}: holds no samples")
    return labels


def write_labels(panel: Panel, path: Path | str) -> None:
    """Write a panel's labels as a tab-separated file that `read_labels` reads.

    Raises FormatError if a person has no population.
    """
    if not panel.labelled:
        raise FormatError(f"{path}: the panel has people without a population label")
    rows = zip(panel.samples, panel.population, panel.superpopulation, strict=True)
    lines = ["sample\tpop\tsuper_pop", *("\t".join(row) for row in rows)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
