"""What kind of variant a record is, and which contig of a file is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench.contigs import same_contig
from haplobench.datasets.formats.options import Region
from haplobench.datasets.formats.tally import Tally
from haplobench.errors import FormatError

MULTI_ALLELIC = "multi-allelic"
INDEL = "indel"
MULTI_NUCLEOTIDE = "multi-nucleotide"
NOT_BASES = "alleles that aren't bases"
STRUCTURAL = "structural variant"
NO_ALTERNATE = "no alternate allele"
DUPLICATE = "duplicate position"
MISSING_CALLS = "missing above threshold"
HETEROZYGOUS = "heterozygous where people have one copy"
UNPHASED = "unphased"

_BASES = frozenset("ACGTNacgtn")
# Reference and alternate that are one base.
_SAME = frozenset(a + b for base in ("Aa", "Cc", "Gg", "Tt") for a in base for b in base)


def reason_to_skip(ref: str, alternates: Sequence[str], *, snps_only: bool) -> str:
    """Why a record can't be a site of a panel; empty if it can.

    Several alternate alleles: `multi-allelic`, of whatever kind. With `snps_only`, one
    alternate allele that is symbolic or a breakend: `structural variant`; written in other
    than bases (0 and 1, I and D): `alleles that aren't bases`; of the reference's length:
    `multi-nucleotide`; of another length: `indel`.
    """
    if not alternates or alternates[0] in (".", ""):
        return NO_ALTERNATE
    if len(alternates) > 1:
        return MULTI_ALLELIC
    alternate = alternates[0]
    if ref in _BASES and alternate in _BASES:
        return NO_ALTERNATE if ref + alternate in _SAME else ""
    if not snps_only:
        return ""
    if _is_symbolic(alternate):
        return STRUCTURAL
    if alternate == "*":
        return INDEL
    if not (_BASES.issuperset(ref) and _BASES.issuperset(alternate)):
        return NOT_BASES
    return MULTI_NUCLEOTIDE if len(ref) == len(alternate) else INDEL


def is_rival(ref: str, alternates: Sequence[str]) -> bool:
    """Whether carriers of a record's alternate alleles have another base at its position, or none.

    A SNP beside such a record would call them reference: the two are one site, split. Carriers
    of an insertion, of a deletion after the position or of a structural variant have the
    reference's base there.
    """
    return any(
        alternate == "*"
        or (not _is_symbolic(alternate) and alternate[:1].upper() != ref[:1].upper())
        for alternate in alternates
        if alternate not in (".", "")
    )


def _is_symbolic(alternate: str) -> bool:
    return alternate[0] == "<" or "[" in alternate or "]" in alternate


def choose_contig(path: Path, contigs: Sequence[str], wanted: Region | None) -> str:
    """The one contig to read, as the file names it.

    Raises FormatError that lists the file's contigs if the wanted one isn't among them, or
    if none is wanted and there are several.
    """
    listed = ", ".join(contigs[:30]) + (", …" if len(contigs) > 30 else "")
    if wanted is None:
        if len(contigs) == 1:
            return contigs[0]
        if not contigs:
            raise FormatError(f"{path}: holds no variants")
        raise FormatError(
            f"{path}: holds several contigs ({listed})", hint="choose one by contig or region"
        )
    for contig in contigs:
        if contig == wanted.contig:
            return contig
    # With more than 22 autosomes, 23 isn't X.
    human = not any(contig.isdigit() and int(contig) > 26 for contig in contigs)
    for contig in contigs:
        plainly = contig.removeprefix("chr") == wanted.contig.removeprefix("chr")
        if plainly or (human and same_contig(contig, wanted.contig)):
            return contig
    raise FormatError(f"{path}: no contig {wanted.contig!r}; it holds {listed or 'none'}")


def choose_sites(
    positions: NDArray[np.int64],
    ref: Sequence[str],
    alternates: Sequence[Sequence[str]],
    wanted: Region | None,
    *,
    snps_only: bool,
) -> tuple[NDArray[np.int64], Tally]:
    """Which records of one contig can be sites: (indices, the others counted by reason).

    Records outside `wanted` are passed over, and aren't counted.
    """
    inside = np.ones(positions.size, np.bool_)
    if wanted is not None:
        inside &= positions >= wanted.start
        if wanted.end is not None:
            inside &= positions <= wanted.end
    kept: list[int] = []
    skipped = Tally()
    for i in np.flatnonzero(inside).tolist():
        reason = reason_to_skip(ref[i], alternates[i], snps_only=snps_only)
        if reason:
            skipped.add(reason, int(positions[i]))
            if is_rival(ref[i], alternates[i]):
                skipped.rivals.add(int(positions[i]))
        else:
            kept.append(i)
    return np.array(kept, np.int64), skipped
