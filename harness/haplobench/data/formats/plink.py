"""What PLINK 1 and 2 files share: their tables of people and sites, and what they can't hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench.data.formats.options import Region, check_names
from haplobench.data.formats.sites import Tally, Variants, choose_sites, parts
from haplobench.data.labels import FAM_COLUMNS, Label, known, known_sex
from haplobench.data.panel import Panel
from haplobench.errors import FormatError
from haplobench.files import ENCODING, require_file

PVAR_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT")


@dataclass(frozen=True, eq=False)
class SiteTable:
    """The variants of a `.bim` or `.pvar` file: contig, position (bp) and alleles of each."""

    contigs: list[str]
    positions: NDArray[np.int64]
    ref: list[str]
    alternates: list[list[str]]

    @property
    def n_sites(self) -> int:
        """Number of variants."""
        return len(self.contigs)

    @property
    def contig_names(self) -> list[str]:
        """The contigs, each once, in the file's order."""
        return list(dict.fromkeys(self.contigs))

    def choose(
        self, contig: str, wanted: Region | None, *, snps_only: bool
    ) -> tuple[NDArray[np.int64], Tally]:
        """Indices of a contig's variants that can be sites; the others counted by reason."""
        mine = np.array([i for i, name in enumerate(self.contigs) if name == contig], np.int64)
        sites, skipped = choose_sites(
            self.positions[mine],
            [self.ref[i] for i in mine],
            [self.alternates[i] for i in mine],
            wanted,
            snps_only=snps_only,
        )
        return mine[sites], skipped


def rows(
    path: Path, columns: int, what: str, *, comments: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of a whitespace-separated table, plain or `.zst`.

    Raises FormatError for a line of fewer fields, unless with `comments` it starts with `#`, or a
    file that isn't text.
    """
    require_file(path)
    try:
        for number, line in enumerate(_lines(path), 1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) < columns and not (comments and line.startswith("#")):
                raise FormatError(
                    f"{path}:{number}: found {line.strip()[:60]!r}, "
                    f"expected {columns} columns: {what}"
                )
            yield number, fields
    except UnicodeDecodeError:
        raise FormatError(f"{path}: not a text file") from None


def _lines(path: Path) -> Iterator[str]:
    if path.suffix != ".zst":
        with path.open(encoding=ENCODING) as lines:
            yield from lines
        return
    from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

    try:
        text = bytes(Zstd().decode(path.read_bytes()))
    except (RuntimeError, ValueError) as error:
        raise FormatError(f"{path}: damaged or cut short: {error}") from None
    yield from text.decode(ENCODING).splitlines()


def read_bim(path: Path) -> SiteTable:
    """Variants of a `.bim` file: its fifth column is the alternate allele, its sixth the reference.

    Raises FormatError naming the line.
    """
    table = SiteTable([], np.empty(0, np.int64), [], [])
    positions: list[int] = []
    for number, fields in rows(path, 6, "contig, id, cM, position, two alleles"):
        positions.append(_position(path, number, fields[3]))
        table.contigs.append(fields[0])
        # `0` stands for an allele that nobody carries.
        table.alternates.append([fields[4]] if fields[4] != "0" else [])
        table.ref.append(fields[5])
    return replace(table, positions=np.array(positions, np.int64))


def read_pvar(path: Path) -> SiteTable:
    """Variants of a `.pvar` file (or `.pvar.zst`); without its header, as a `.bim`.

    Raises FormatError naming the line.
    """
    table = SiteTable([], np.empty(0, np.int64), [], [])
    positions: list[int] = []
    headed = False
    for number, fields in rows(path, 5, " ".join(PVAR_COLUMNS), comments=True):
        if fields[0].startswith("##"):
            continue
        if fields[0].startswith("#"):
            headed = tuple(fields[:5]) == PVAR_COLUMNS
        if not headed:
            if fields[0].startswith("#"):
                raise FormatError(
                    f"{path}:{number}: found {' '.join(fields)[:60]!r}, "
                    f"expected {' '.join(PVAR_COLUMNS)}"
                )
            return read_bim(path)
        if fields[0].startswith("#"):
            continue
        positions.append(_position(path, number, fields[1]))
        table.contigs.append(fields[0])
        table.ref.append(fields[3])
        # `0` is PLINK's other code for an allele that isn't known.
        table.alternates.append([] if fields[4] in (".", "0") else fields[4].split(","))
    return replace(table, positions=np.array(positions, np.int64))


def _position(path: Path, number: int, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise FormatError(f"{path}:{number}: found position {text[:40]!r}, expected bp")
    return int(text)


def read_fam(path: Path) -> tuple[list[str], list[Label]]:
    """Names of the people of a `.fam` file, and their sexes, families and parents."""
    people = [fields for _, fields in rows(path, 6, " ".join(FAM_COLUMNS))]
    return [each[1] for each in people], [
        _label(dict(zip(FAM_COLUMNS, each, strict=False))) for each in people
    ]


def _label(row: dict[str, str]) -> Label:
    return Label(
        known(row.get("Population")),
        known(row.get("SuperPop")),
        known_sex(row.get("SEX", "")),
        known(row.get("FID")),
        known(row.get("PAT")),
        known(row.get("MAT")),
    )


def read_psam(path: Path) -> tuple[list[str], list[Label]]:
    """Names of the people of a `.psam` file, their sexes, families and parents, and, if columns
    Population and SuperPop are there, their labels."""
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
        labels.append(_label(row))
    return names, labels


def check_people(panel: Panel | Variants, path: Path) -> None:
    """Raise FormatError unless PLINK can hold these people and sites: diploid, names in order."""
    if panel.ploidy != 2:
        raise FormatError(f"{path}: PLINK holds diploid people, the panel's ploidy {panel.ploidy}")
    texts = (text for part in parts(panel) for column in part for text in column.tolist())
    check_names(path, chain(texts, (panel.contig,)))
    if not panel.contig:
        raise FormatError(f"{path}: PLINK needs the contig's name, and the panel has none")


def check_writable(panel: Panel, path: Path) -> None:
    """Raise FormatError unless PLINK can hold the panel: diploid, nobody half missing."""
    check_people(panel, path)
    if panel.has_missing:
        missing = panel.haplotypes < 0
        half = missing[0::2] != missing[1::2]
        if half.any():
            person, site = (int(where[0]) for where in np.nonzero(half))
            raise FormatError(
                f"{path}: {panel.contig}:{panel.positions[site]}, sample {panel.samples[person]}: "
                "PLINK can't hold a half-missing genotype"
            )


def write_psam(panel: Variants, path: Path) -> None:
    """Write the people of a panel as `.psam`, labels included."""
    labelled = panel.labelled
    with path.open("w", encoding="utf-8") as file:
        file.write("#IID\tSEX" + ("\tSuperPop\tPopulation" if labelled else "") + "\n")
        for part in parts(panel):
            for name, population, superpopulation in zip(*part, strict=True):
                labels = f"\t{superpopulation or 'NA'}\t{population}" if labelled else ""
                file.write(f"{name}\tNA{labels}\n")


def write_pvar(panel: Variants, path: Path) -> None:
    """Write the sites of a panel as `.pvar`."""
    lines = [f"##{key}={text}" for key, text in panel.header]
    lines += [f"##contig=<ID={panel.contig}>", "\t".join(PVAR_COLUMNS)]
    lines += [
        f"{panel.contig}\t{position}\t.\t{ref}\t{alt}"
        for position, ref, alt in zip(panel.positions, panel.ref, panel.alt, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
