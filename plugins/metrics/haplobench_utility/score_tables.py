"""Reading tables of scores, and of haplotypes defined by their alleles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from haplobench import FormatError
from haplobench.data.contigs import same_contig
from haplobench.files import cells, numbered_lines, read_text

OTHER = "other"
"""What a haplotype is called that has no definition's alleles."""
_COLUMNS = {
    "locus": ("locus", "gene"),
    "name": ("name", "score", "haplotype"),
    "contig": ("contig", "chr", "chrom", "chromosome", "chr_name"),
    "site": ("site", "position", "pos", "bp", "chr_position"),
    "allele": ("allele", "effect_allele"),
    "weight": ("weight", "effect_weight", "beta", "activity"),
}


@dataclass(frozen=True)
class Allele:
    """An allele of a site, as a table names it; `contig` is empty where it names none."""

    contig: str
    position: int
    allele: str
    weight: float | None = None

    @property
    def site(self) -> str:
        """`contig:position`, or the position alone."""
        return f"{self.contig}:{self.position}" if self.contig else str(self.position)


@dataclass(frozen=True)
class Definition:
    """A score (no locus), or a haplotype of a locus, by its alleles.

    `weight` is a haplotype's: what it adds to a person's phenotype; None where none is given.
    """

    name: str
    alleles: tuple[Allele, ...]
    locus: str = ""
    weight: float | None = None


def read_table(path: Path) -> tuple[Definition, ...]:
    """Definitions of a table, TSV or CSV (`.gz` too), in its order.

    Columns, in any order, others are passed over: `site` (bp, or contig:bp), `allele`, and

    - for scores `weight`, and `name`, without which all rows are one score of the file's name
      (a scoring file of the PGS Catalog with its `chr_name`, `chr_position`, `effect_allele` and
      `effect_weight` is one such);
    - for haplotypes `locus` and `name`: the rows of one name are its alleles. With `weight`, the
      same in all of them, it says what one copy adds to a phenotype. Where `locus` is empty, the
      row is a score's.

    Lines that begin with # are comments. Raises FormatError that names file, line and column.
    """
    header: dict[str, int] = {}
    separator = "\t"
    rows: dict[tuple[str, str], list[tuple[int, Allele]]] = defaultdict(list)
    for number, line in numbered_lines(read_text(path)):
        if not line.strip() or line.startswith("#"):
            continue
        if not header:
            separator = next((mark for mark in "\t,;" if mark in line), "\t")
            header = _header(path, number, cells(line, separator))
            continue
        key, allele = _row(path, number, cells(line, separator), header)
        before = next((n for n, other in rows[key] if _same_site(other, allele)), None)
        if before is not None:
            raise FormatError(
                f"{path}:{number}: column site: {key[1]} has {allele.site} already, in line "
                f"{before}; one allele of a site is expected"
            )
        rows[key].append((number, allele))
    if not rows:
        raise FormatError(f"{path}: no rows, expected a header and a row for each allele")
    definitions = tuple(_definition(path, *key, entries) for key, entries in rows.items())
    _refuse_twins(path, definitions, rows)
    return definitions


def _header(path: Path, number: int, names: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for at, name in enumerate(names):
        for kind, words in _COLUMNS.items():
            if name.lower() in words:
                found.setdefault(kind, at)
    wanted = ["site", "allele"]
    wanted += ["name"] if "locus" in found else ["weight"]
    lacking = [kind for kind in wanted if kind not in found]
    if lacking:
        raise FormatError(
            f"{path}:{number}: no column {' and no column '.join(lacking)}; found "
            f"{', '.join(names)[:80]!r}",
            hint="scores have the columns name, site, allele and weight; haplotypes locus, name, "
            "site and allele",
        )
    return found


def _row(
    path: Path, number: int, row: Sequence[str], header: dict[str, int]
) -> tuple[tuple[str, str], Allele]:
    def cell(kind: str) -> str:
        at = header.get(kind)
        return row[at] if at is not None and at < len(row) else ""

    def refuse(kind: str, expected: str) -> FormatError:
        shown = cell(kind)[:40]
        return FormatError(
            f"{path}:{number}: column {kind} (the {header[kind] + 1}. one): found {shown!r}, "
            f"expected {expected}"
        )

    contig, _, position = cell("site").rpartition(":")
    contig = contig or cell("contig")
    if not position.isascii() or not position.isdigit() or int(position) < 1:
        raise refuse("site", "a position in bp, or contig:position")
    allele = cell("allele").upper()
    if not allele:
        raise refuse("allele", "an allele")
    weight = None
    if cell("weight") or not cell("locus"):
        if "weight" not in header:
            raise FormatError(
                f"{path}:{number}: column locus is empty and there is no column weight; expected "
                "a locus, or a score's weight"
            )
        try:
            weight = float(cell("weight"))
        except ValueError:
            raise refuse("weight", "a number") from None
        if not np.isfinite(weight):
            raise refuse("weight", "a finite number")
    name = cell("name") if "name" in header else path.name.partition(".")[0]
    if "name" in header and not cell("name"):
        raise refuse("name", "a name")
    return (cell("locus"), name), Allele(contig, int(position), allele, weight)


def _same_site(one: Allele, other: Allele) -> bool:
    return one.position == other.position and (
        one.contig == other.contig or same_contig(one.contig, other.contig)
    )


def _definition(
    path: Path, locus: str, name: str, entries: Sequence[tuple[int, Allele]]
) -> Definition:
    alleles = tuple(allele for _, allele in entries)
    if not locus:
        return Definition(name, alleles)
    if name == OTHER:
        raise FormatError(
            f"{path}:{entries[0][0]}: column name: {OTHER!r} is what haplotypes are called that "
            "have no definition's alleles; expected another name"
        )
    for number, allele in entries:
        if allele.weight != alleles[0].weight:
            raise FormatError(
                f"{path}:{number}: column weight: {allele.weight} for haplotype {name}, expected "
                f"{alleles[0].weight} as in line {entries[0][0]}"
            )
    return Definition(name, alleles, locus, alleles[0].weight)


def _refuse_twins(
    path: Path,
    definitions: Sequence[Definition],
    rows: dict[tuple[str, str], list[tuple[int, Allele]]],
) -> None:
    seen: dict[tuple[str, frozenset[tuple[str, int, str]]], str] = {}
    for one in definitions:
        if not one.locus:
            continue
        what = frozenset((a.contig, a.position, a.allele) for a in one.alleles)
        other = seen.setdefault((one.locus, what), one.name)
        if other != one.name:
            number = rows[one.locus, one.name][0][0]
            raise FormatError(
                f"{path}:{number}: haplotype {one.name} has the alleles of {other}; expected "
                "haplotypes of a locus to differ"
            )
