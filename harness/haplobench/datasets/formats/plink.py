"""What PLINK 1 and 2 files share: their tables of people and sites, and what they can't hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from haplobench.datasets.formats.files import check_names, require_file
from haplobench.datasets.labels import Label
from haplobench.errors import FormatError
from haplobench.panel import Panel

FAM_COLUMNS = ("FID", "IID", "PAT", "MAT", "SEX", "PHENO1")


def rows(path: Path, columns: int, what: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of a whitespace-separated table.

    Raises FormatError for a line of fewer fields, or a file that isn't text.
    """
    require_file(path)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                fields = line.split()
                if not fields:
                    continue
                if len(fields) < columns and not line.startswith("#"):
                    raise FormatError(
                        f"{path}:{number}: found {line.strip()[:60]!r}, "
                        f"expected {columns} columns: {what}"
                    )
                yield number, fields
    except UnicodeDecodeError:
        raise FormatError(f"{path}: not a text file") from None


def read_fam(path: Path) -> list[str]:
    """Names of the people of a `.fam` file."""
    return [fields[1] for _, fields in rows(path, 6, " ".join(FAM_COLUMNS))]


def read_psam(path: Path) -> tuple[list[str], list[Label] | None]:
    """Names and, if columns Population and SuperPop are there, labels of a `.psam` file."""
    names: list[str] = []
    labels: list[Label] = []
    columns: list[str] = []
    for number, fields in rows(path, 1, "#IID …"):
        if fields[0].startswith("##"):
            continue
        if fields[0] in ("#IID", "#FID"):
            columns = [name.lstrip("#") for name in fields]
            continue
        if not columns:
            columns = list(FAM_COLUMNS[: len(fields)])
        if len(fields) != len(columns) or "IID" not in columns:
            raise FormatError(
                f"{path}:{number}: found {' '.join(fields)[:60]!r}, "
                f"expected {len(columns)} columns: {' '.join(columns)}"
            )
        row = dict(zip(columns, fields, strict=True))
        names.append(row["IID"])
        labels.append(Label(_known(row.get("Population")), _known(row.get("SuperPop"))))
    return names, labels if any(label.population for label in labels) else None


def _known(text: str | None) -> str:
    return "" if text in (None, "NA", "NONE", "0", ".") else str(text)


def check_writable(panel: Panel, path: Path) -> None:
    """Raise FormatError unless PLINK can hold the panel: diploid, nobody half missing."""
    if panel.ploidy != 2:
        raise FormatError(f"{path}: PLINK holds diploid people, the panel's ploidy {panel.ploidy}")
    check_names(path, (*panel.samples, *panel.population, *panel.superpopulation, panel.contig))
    if not panel.contig:
        raise FormatError(f"{path}: PLINK needs the contig's name, and the panel has none")
    if panel.has_missing:
        missing = panel.haplotypes < 0
        half = missing[0::2] != missing[1::2]
        if half.any():
            person, site = (int(where[0]) for where in np.nonzero(half))
            raise FormatError(
                f"{path}: {panel.contig}:{panel.positions[site]}, sample {panel.samples[person]}: "
                "PLINK can't hold a half-missing genotype"
            )


def write_psam(panel: Panel, path: Path) -> None:
    """Write the people of a panel as `.psam`, labels included."""
    lines = ["#IID\tSEX" + ("\tSuperPop\tPopulation" if panel.labelled else "")]
    for name, population, superpopulation in zip(
        panel.samples, panel.population, panel.superpopulation, strict=True
    ):
        labels = f"\t{superpopulation or 'NA'}\t{population}" if panel.labelled else ""
        lines.append(f"{name}\tNA{labels}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_pvar(panel: Panel, path: Path) -> None:
    """Write the sites of a panel as `.pvar`."""
    lines = [f"##contig=<ID={panel.contig}>", "#CHROM\tPOS\tID\tREF\tALT"]
    lines += [
        f"{panel.contig}\t{position}\t.\t{ref}\t{alt}"
        for position, ref, alt in zip(panel.positions, panel.ref, panel.alt, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
