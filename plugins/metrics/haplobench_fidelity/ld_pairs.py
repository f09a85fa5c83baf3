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

from haplobench_fidelity import ld_kernels
from haplobench_fidelity.site_bits import SiteBits

_BLOCK_SITES = 256
_Part = TypeVar("_Part")
_Bits = NDArray[np.uint64]
_Reals = NDArray[np.float64]


@dataclass(frozen=True)
class PairMoments:
    """Moments of r over pairs of sites, in a first panel (x) and a second one (y)."""

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
        ld_kernels.band(*_arrays(bits), start, stop, out[start:stop])

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
        ld_kernels.decay(*_arrays(bits), positions, edges, *ranges, pairs, total)
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
    threads: int = 1,
) -> PairMoments:
    """Moments of signed r, real against synthetic, over pairs (i, first[i] <= j < last[i]).

    Both panels hold the same sites. `first` and `last` are (n_sites,) int64, first[i] > i; an
    empty range is one that ends before it starts. A pair with a site fixed in the synthetic
    panel is left out, or counts as r = 0 there with `zero`.
    """
    last = np.maximum(first, last)

    def work(start: int, stop: int) -> NDArray[np.float64]:
        out = np.zeros(6)
        ranges = (first, last, start, stop, zero)
        ld_kernels.moments(*_arrays(real), *_arrays(synthetic), *ranges, out)
        return out

    total = np.zeros(6)
    for part in _each_block(real.n_sites, work, threads):
        total += part
    return PairMoments(int(total[0]), *(float(value) for value in total[1:]))


def _arrays(bits: SiteBits) -> tuple[_Bits, _Bits, _Bits, float, _Reals, _Reals]:
    return (
        bits.alternate,
        bits.swapped,
        bits.called,
        float(bits.n),
        bits.sums,
        bits.scale,
    )


def _each_block(n_sites: int, work: Callable[[int, int], _Part], threads: int) -> list[_Part]:
    """`work(start, stop)` for blocks of sites, in the order of the blocks."""
    blocks = [(i, min(i + _BLOCK_SITES, n_sites)) for i in range(0, n_sites, _BLOCK_SITES)]
    if threads <= 1 or len(blocks) < 2:
        return [work(*block) for block in blocks]
    with ThreadPoolExecutor(threads) as pool:  # the kernels hold no GIL
        return list(pool.map(lambda block: work(*block), blocks))
