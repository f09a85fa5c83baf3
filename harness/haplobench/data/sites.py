"""Sites that two panels share: of the same contig, position and alleles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from haplobench.data.contigs import same_contig
from haplobench.data.panel import MISSING, Panel

_COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True, eq=False)
class MatchedSites:
    """Sites that two panels share.

    Attributes
    ----------
    first, second : (n,) int64
        Indices of the shared sites in either panel, increasing.
    swapped : (n,) bool
        Where the second panel calls the first one's reference allele alternate.
    other_alleles : int
        Sites at the same position whose alleles differ, which are not shared.
    other_strand : int
        Of these, sites whose alleles are the complements of the first panel's: one of the
        panels names the other strand's bases.
    ambiguous : int
        Of the shared sites, those of A and T or C and G, whose strand can't be told.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    swapped: NDArray[np.bool_]
    other_alleles: int
    other_strand: int = 0
    ambiguous: int = 0

    @property
    def n(self) -> int:
        """How many sites are shared."""
        return int(self.first.size)

    def second_at(self, panel: Panel) -> Panel:
        """The second panel at the shared sites, its alleles coded as the first one's."""
        chosen = panel.select_sites(self.second)
        if not self.swapped.any():
            return chosen
        haplotypes = chosen.haplotypes.copy()
        columns = haplotypes[:, self.swapped]
        haplotypes[:, self.swapped] = np.where(columns == MISSING, MISSING, 1 - columns)
        return replace(
            chosen,
            haplotypes=haplotypes,
            ref=np.where(self.swapped, chosen.alt, chosen.ref),
            alt=np.where(self.swapped, chosen.ref, chosen.alt),
        )


def match_sites(first: Panel, second: Panel) -> MatchedSites:
    """Sites of the same contig (`chr20` is `20`), position and alleles.

    Where either panel doesn't name its alleles (`N`), position alone decides; alleles the
    other way round are recognised and turned.
    """
    if not same_contig(first.contig, second.contig):
        none = np.empty(0, np.int64)
        return MatchedSites(none, none, np.empty(0, bool), 0)
    _, i, j = np.intersect1d(
        first.positions, second.positions, assume_unique=True, return_indices=True
    )
    ref, alt = first.ref[i], first.alt[i]
    other_ref, other_alt = second.ref[j], second.alt[j]
    unnamed = (ref == "N") | (other_ref == "N")
    same = unnamed | ((ref == other_ref) & (alt == other_alt))
    swapped = ~same & (ref == other_alt) & (alt == other_ref)
    kept = same | swapped
    turned = [
        np.array([text.translate(_COMPLEMENT) for text in texts.tolist()], np.str_)
        for texts in (other_ref, other_alt)
    ]
    flipped = ~kept & (
        ((ref == turned[0]) & (alt == turned[1])) | ((ref == turned[1]) & (alt == turned[0]))
    )
    return MatchedSites(
        i[kept].astype(np.int64),
        j[kept].astype(np.int64),
        swapped[kept],
        int((~kept).sum()),
        int(flipped.sum()),
        int(((turned[0] == other_alt) & kept & ~unnamed).sum()),
    )


def common_shift(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[int, int]:
    """The one number of bp by which most of some positions lie off others, and how many do.

    Of at most 300 of `second`, evenly spread: (bp, positions); builds of a genome differ by
    one number over megabases.
    """
    some = second[np.linspace(0, second.size - 1, min(300, second.size)).round().astype(np.int64)]
    shifts, counts = np.unique(some[:, None] - first[None], return_counts=True)
    most = int(counts.argmax())
    return int(shifts[most]), int(counts[most])
