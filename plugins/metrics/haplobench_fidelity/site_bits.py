"""Site bits: the alleles of a panel packed a row per site, as LD kernels read them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PanelError
from haplobench_fidelity import ld_kernels

_EVEN = np.uint64(0x5555555555555555)
_ONE = np.uint64(1)


@dataclass(frozen=True, eq=False)
class SiteBits:
    """Alleles of one panel as bits, with what the correlation of two sites needs beside them.

    A value is an allele (haplotypes) or an allele count of one person (dosages). A dosage
    product over people is the number of shared bits of two rows plus the number of bits
    that one row shares with the other whose two bits per person are swapped, hence exact.

    Attributes
    ----------
    alternate : (n_sites, n_words) uint64
        Alternate alleles; a missing one is 0 (for dosages so is the person's other one).
    swapped : (n_sites, n_words) uint64
        `alternate` with each person's two bits swapped; (0, 0) for haplotypes.
    called : (n_sites, n_words) uint64
        Alleles that are not missing; (0, 0) where none is.
    n : int
        Values per site: haplotypes, or people for dosages.
    sums : (n_sites,) float64
        Sum of the values.
    scale : (n_sites,) float64
        `1 / sqrt(n * sum of squares - sum ** 2)`; NaN at a site fixed in this panel.
        Unused where alleles are missing: every pair has its own there.
    """

    alternate: NDArray[np.uint64]
    swapped: NDArray[np.uint64]
    called: NDArray[np.uint64]
    n: int
    sums: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return int(self.alternate.shape[0])

    @property
    def dosages(self) -> bool:
        """Whether values are allele counts of people (unphased), not alleles of haplotypes."""
        return self.swapped.size > 0


def pack_sites(
    panel: Panel, sites: NDArray[np.int64] | None = None, *, dosages: bool = False
) -> SiteBits:
    """Pack a panel's alleles at `sites` ((n,) int64 increasing; all by default) for LD.

    Reads 64 haplotypes at a time, so that a memory-mapped panel never has to fit in memory: what
    stays is one bit per allele (two for dosages, one more where any is missing).

    Raises PanelError where dosages are asked of people who are not diploid.
    """
    if dosages and panel.ploidy != 2:
        raise PanelError(f"dosage r: people must be diploid, found ploidy {panel.ploidy}")
    chosen = np.arange(panel.n_sites) if sites is None else np.asarray(sites, np.int64)
    shape = (chosen.size, _words(panel.n_haplotypes))
    alternate, called = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
    missing = False
    for word, start in enumerate(range(0, panel.n_haplotypes, 64)):
        rows = np.array(panel.haplotypes[start : start + 64])  # 64 rows leave a mapped file
        missing |= ld_kernels.pack(rows, chosen, word, alternate, called)
    if missing and dosages:
        called &= _swap(called)
        alternate &= called
    swapped = _swap(alternate) if dosages else np.empty((0, 0), np.uint64)
    n = panel.n_samples if dosages else panel.n_haplotypes
    sums = _bits(alternate)
    squares = sums + _bits(alternate & swapped) if dosages else sums
    with np.errstate(divide="ignore"):
        scale = 1 / np.sqrt(n * squares - sums**2)
    scale[np.isinf(scale)] = np.nan
    return SiteBits(
        alternate=alternate,
        swapped=swapped,
        called=called if missing else np.empty((0, 0), np.uint64),
        n=n,
        sums=sums,
        scale=scale,
    )


def _words(n: int) -> int:
    """Words for `n` bits; beyond eight a multiple of eight, so that vectors need no remainder."""
    n_words = -(-n // 64)
    return n_words if n_words <= 8 else -(-n_words // 8) * 8


def _swap(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bits 2i and 2i + 1 exchanged."""
    return ((bits & _EVEN) << _ONE) | ((bits >> _ONE) & _EVEN)


def _bits(rows: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Set bits per row, (rows,) float64: exact, and ready for division."""
    counts: NDArray[np.float64] = np.bitwise_count(rows).sum(axis=1, dtype=np.int64).astype(float)
    return counts
