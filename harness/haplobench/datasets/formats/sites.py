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
STRUCTURAL = "structural variant"
NO_ALTERNATE = "no alternate allele"
DUPLICATE = "duplicate position"
MISSING_CALLS = "missing above threshold"
UNPHASED = "unphased"

_BASES = frozenset("ACGTNacgtn")


def reason_to_skip(ref: str, alternates: Sequence[str], *, snps_only: bool) -> str:
    """Why a record can't be a site of a panel; empty if it can.

    Several alternate alleles: `multi-allelic`, of whatever kind. With `snps_only`, one
    alternate allele that is symbolic or a breakend: `structural variant`; of the reference's
    length: `multi-nucleotide`; of another length: `indel`.
    """
    if not alternates or alternates[0] in (".", ""):
        return NO_ALTERNATE
    if len(alternates) > 1:
        return MULTI_ALLELIC
    alternate = alternates[0]
    if ref in _BASES and alternate in _BASES:
        return ""
    if not snps_only:
        return ""
    if alternate[0] == "<" or "[" in alternate or "]" in alternate:
        return STRUCTURAL
    return MULTI_NUCLEOTIDE if len(ref) == len(alternate) and alternate != "*" else INDEL


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
    for contig in contigs:
        if same_contig(contig, wanted.contig):
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
        else:
            kept.append(i)
    return np.array(kept, np.int64), skipped
