"""Correlation of pairs of sites (LD): bands, distance bins, and two panels against each other.

r is the correlation of alleles over haplotypes (Hill & Robertson 1968) or, for panels without
phase, of allele counts over people (Rogers & Huff 2009; what `plink --r2` squares). Work is cut
into fixed blocks of sites and added up in their order: the result is the same whatever the
number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PanelError
from haplobench.data.panel import columns_of
from haplobench_fidelity import ld_kernels
from haplobench_fidelity.cohorts import basis
from haplobench_fidelity.ld_kernels import SiteBits
from haplobench_fidelity.specs_sites import LDParams

_Part = TypeVar("_Part")
_BLOCK_SITES = 256
_EVEN = np.uint64(0x5555555555555555)
_ONE = np.uint64(1)


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
    for start, block in panel.bits.turned_blocks() if panel.bits else ():
        low, high = np.searchsorted(chosen, [start, start + block.shape[0]])
        alternate[low:high, : block.shape[1]] = block[chosen[low:high] - start]
    for word, start in enumerate(range(0, 0 if panel.bits else panel.n_haplotypes, 64)):
        # A copy: 64 rows leave a mapped file.
        rows = columns_of(panel.haplotypes[start : start + 64], chosen)
        missing |= ld_kernels.pack(rows, word, alternate, called)
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


@dataclass(frozen=True, eq=False)
class LDSites:
    """LD sites of two panels, packed.

    Attributes
    ----------
    real_sites, synthetic_sites : (n,) int64
        Indices of the sites in each panel; the same where the panels have the same sites.
    real, synthetic : SiteBits
    zero : bool
        Whether a pair with a site fixed in the synthetic panel counts as r = 0.
    note : str
        What the comparison rests on.
    """

    real_sites: NDArray[np.int64]
    synthetic_sites: NDArray[np.int64]
    real: SiteBits
    synthetic: SiteBits
    zero: bool
    note: str


def ld_sites(
    holdout: Panel, synthetic: Panel, params: LDParams, *, max_sites: int | None = None
) -> LDSites:
    """Choose and pack the sites at which LD is compared.

    Where both panels have the same sites, held-out frequencies choose; otherwise each panel's
    own. Alleles are haplotypes', or people's dosages where either panel is unphased.
    With `max_sites`, that many evenly spaced sites at most.

    Raises PanelError where dosages are needed of people who are not diploid.
    """
    min_maf = 0.0 if params.fixed == "all-polymorphic" else params.min_maf
    matched = synthetic.same_sites(holdout)
    real_sites = _chosen(holdout, min_maf)
    fixed = np.zeros(real_sites.size, np.bool_)
    if matched:
        frequency = synthetic.frequencies[real_sites]
        fixed = (frequency == 0) | (frequency == 1)
        if params.fixed != "zero":
            real_sites = real_sites[~fixed]
        real_sites = synthetic_sites = _thinned(real_sites, max_sites)
    else:
        real_sites = _thinned(real_sites, max_sites)
        synthetic_sites = _thinned(_chosen(synthetic, min_maf), max_sites)
    dosages = needs_dosages(holdout, synthetic)
    counted = (
        f"{real_sites.size:,} sites"
        if matched
        else (f"{synthetic_sites.size:,} and {real_sites.size:,} sites, each side's own")
    )
    note = basis(
        synthetic.n_haplotypes,
        holdout.n_haplotypes,
        f"{counted} with MAF > {min_maf:g}",
        f"fixed sites: {params.fixed}, {int(fixed.sum()):,} found" if matched else "",
        "r of dosages (unphased)" if dosages else "",
    )
    return LDSites(
        real_sites=real_sites,
        synthetic_sites=synthetic_sites,
        real=pack_sites(holdout, real_sites, dosages=dosages),
        synthetic=pack_sites(synthetic, synthetic_sites, dosages=dosages),
        zero=params.fixed == "zero",
        note=note,
    )


def needs_dosages(*panels: Panel) -> bool:
    """Whether LD must be of people's dosages: some panel is unphased.

    A haploid person's row is a haplotype, phased or not.
    """
    return any(not panel.phased and panel.ploidy > 1 for panel in panels)


def _chosen(panel: Panel, min_maf: float) -> NDArray[np.int64]:
    return np.flatnonzero(panel.maf > min_maf)


def _thinned(sites: NDArray[np.int64], max_sites: int | None) -> NDArray[np.int64]:
    """At most `max_sites` of them, evenly spaced in their order."""
    if max_sites is None or sites.size <= max_sites:
        return sites
    return sites[np.linspace(0, sites.size - 1, max_sites).round().astype(np.int64)]


@dataclass(frozen=True)
class PairMoments:
    """Moments of r, or r², over pairs of sites, in a first panel (x) and a second one (y)."""

    pairs: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    @property
    def correlation(self) -> float | None:
        """Pearson correlation of the elements; None where one side does not vary."""
        if self.pairs < 2:
            return None
        spread_x = self.xx - self.x**2 / self.pairs
        spread_y = self.yy - self.y**2 / self.pairs
        # Below this the difference is rounding, not spread.
        if spread_x <= 1e-12 * self.xx or spread_y <= 1e-12 * self.yy:
            return None
        product = self.xy - self.x * self.y / self.pairs
        return max(-1.0, min(1.0, product / math.sqrt(spread_x * spread_y)))

    @property
    def rmse(self) -> float | None:
        """Root mean square of y - x; None without pairs."""
        return math.sqrt(self._squared_difference / self.pairs) if self.pairs else None

    @property
    def relative_error(self) -> float | None:
        """Frobenius norm of y - x over that of x, off the diagonal; None if x is 0 throughout."""
        return math.sqrt(self._squared_difference / self.xx) if self.xx > 0 else None

    @property
    def _squared_difference(self) -> float:
        return max(0.0, self.xx + self.yy - 2 * self.xy)


def correlation_band(bits: SiteBits, width: int, *, threads: int = 1) -> NDArray[np.float32]:
    """Signed r of each site with the `width` sites after it: (n_sites, width) float32.

    `[i, k]` belongs to sites i and i + 1 + k; NaN past the last site, and where one of the two
    is fixed.
    """
    out = np.empty((bits.n_sites, width), np.float32)

    def work(start: int, stop: int) -> None:
        ld_kernels.band(bits, start, stop, out[start:stop])

    _each_block(bits.n_sites, work, threads)
    return out


def correlation_matrix(bits: SiteBits) -> NDArray[np.float32]:
    """Signed r of all pairs, for a small number of sites: (n_sites, n_sites) float32.

    Symmetric, 1 on the diagonal; NaN in rows and columns of fixed sites.
    """
    n = bits.n_sites
    matrix = np.eye(n, dtype=np.float32)
    band = correlation_band(bits, max(n - 1, 1))
    for i in range(n - 1):
        matrix[i, i + 1 :] = matrix[i + 1 :, i] = band[i, : n - 1 - i]
    matrix[np.isnan(bits.scale), np.isnan(bits.scale)] = np.nan
    return matrix


def decay(
    bits: SiteBits,
    coordinates: NDArray[np.float64],
    edges: NDArray[np.float64],
    *,
    zero: bool = False,
    threads: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number of pairs and sum of r² in bins of distance: (n_bins,) int64 and float64.

    Every pair whose distance lies in one of the bins [edges[b], edges[b + 1]) counts, without a
    matrix of pairs in memory. `coordinates` are (n_sites,), not decreasing, in the unit of
    `edges` (bp or cM), which increase and start above 0. A pair with a fixed site is left out,
    or counts as r² = 0 with `zero`.
    """
    edges = np.asarray(edges, np.float64)
    positions = np.ascontiguousarray(coordinates, np.float64)
    # A little generous: the kernel itself leaves out what rounding lets in.
    after = np.searchsorted(positions, positions + edges[0] * (1 - 1e-9))
    first = np.maximum(after, np.arange(1, positions.size + 1))
    last = np.searchsorted(positions, positions + edges[-1] * (1 + 1e-9), side="right")
    last = np.maximum(first, last)

    def work(start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        pairs, total = np.zeros(edges.size - 1, np.int64), np.zeros(edges.size - 1)
        ranges = (first, last, start, stop, zero)
        ld_kernels.decay(bits, positions, edges, *ranges, pairs, total)
        return pairs, total

    parts = _each_block(bits.n_sites, work, threads)
    pairs, total = np.zeros(edges.size - 1, np.int64), np.zeros(edges.size - 1)
    for part_pairs, part_total in parts:
        pairs += part_pairs
        total += part_total
    return pairs, total


def pair_moments(
    real: SiteBits,
    synthetic: SiteBits,
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    *,
    zero: bool = False,
    squared: bool = False,
    threads: int = 1,
) -> PairMoments:
    """Moments of signed r, real against synthetic, over pairs (i, first[i] <= j < last[i]).

    Of r² with `squared`.

    Both panels hold the same sites. `first` and `last` are (n_sites,) int64, first[i] > i; an
    empty range is one that ends before it starts. A pair with a site fixed in the synthetic
    panel is left out, or counts as r = 0 there with `zero`.
    """
    last = np.maximum(first, last)

    def work(start: int, stop: int) -> NDArray[np.float64]:
        out = np.zeros(6)
        ranges = (first, last, start, stop, zero, squared)
        ld_kernels.moments(real, synthetic, *ranges, out)
        return out

    total = np.zeros(6)
    for part in _each_block(real.n_sites, work, threads):
        total += part
    return PairMoments(int(total[0]), *(float(value) for value in total[1:]))


def _each_block(n_sites: int, work: Callable[[int, int], _Part], threads: int) -> list[_Part]:
    """`work(start, stop)` for blocks of sites, in the order of the blocks."""
    blocks = [(i, min(i + _BLOCK_SITES, n_sites)) for i in range(0, n_sites, _BLOCK_SITES)]
    if threads <= 1 or len(blocks) < 2:
        return [work(*block) for block in blocks]
    with ThreadPoolExecutor(threads) as pool:  # the kernels hold no GIL
        return list(pool.map(lambda block: work(*block), blocks))
