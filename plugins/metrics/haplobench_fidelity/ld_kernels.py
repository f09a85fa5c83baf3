"""LD kernels: AND and population count over packed sites, compiled.

`site_bits` and `ld_pairs` are their face.

All compiled functions live in this one module, because numba's disk cache notices a change
of the file that a function is in, but not of a function it calls elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from haplobench.kernels import compiled

Bits = NDArray[np.uint64]
Reals = NDArray[np.float64]
Counts = NDArray[np.int64]

# Sites correlated with the same others at once: each word read serves so many counts.
_TILE = 4
# Sites packed at once, so that their bytes stay in the first-level cache.
_PACKED = 1024


class SiteBits(NamedTuple):
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


@intrinsic  # type: ignore[untyped-decorator]
def _population_count(_typing: Any, word: Any) -> Any:
    """Set bits of a uint64: LLVM's `ctpop`, one instruction (or a vector's lane of one)."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@compiled
def pack(rows: NDArray[np.int8], word: int, alternate: Bits, called: Bits) -> bool:
    """Pack up to 64 haplotypes into one word of each site; whether an allele is missing.

    `rows` are (<= 64, n) int8; `alternate` and `called` (n, words) uint64, of which column `word`
    is written.
    """
    # Bytes first, of which a processor's vectors hold many.
    ones, known = np.empty((8, _PACKED), np.uint8), np.empty((8, _PACKED), np.uint8)
    every = ~np.uint64(0) >> np.uint64(64 - rows.shape[0])
    missing = False
    for first in range(0, rows.shape[1], _PACKED):
        size = min(_PACKED, rows.shape[1] - first)
        ones[:] = 0
        known[:] = 0
        for r in range(rows.shape[0]):
            bit, nothing = np.uint8(1 << (r & 7)), np.uint8(0)
            row, one, called_here = rows[r, first : first + size], ones[r >> 3], known[r >> 3]
            for k in range(size):
                one[k] |= bit if row[k] == 1 else nothing
                called_here[k] |= bit if row[k] >= 0 else nothing
        for k in range(size):
            packed = packed_called = np.uint64(0)
            for byte in range(8):
                packed |= np.uint64(ones[byte, k]) << np.uint64(8 * byte)
                packed_called |= np.uint64(known[byte, k]) << np.uint64(8 * byte)
            alternate[first + k, word] = packed
            called[first + k, word] = packed_called
            missing |= packed_called != every
    return missing


@compiled
def _shared(sites: Bits, site: int, others: Bits, first: int, last: int, out: Bits) -> None:
    """`out[t, j - first]` = bits that rows `site` + t and j share, t < 4, first <= j < last.

    Rows are of `sites` and of `others`; past the last row of `sites`, t is that row again. Four
    rows against two at a time: eight counts for six words read.
    """
    end = sites.shape[0] - 1
    a, b = sites[site], sites[min(site + 1, end)]
    c, d = sites[min(site + 2, end)], sites[min(site + 3, end)]
    for j in range(first, last, 2):
        other = min(j + 1, last - 1)
        x, y = others[j], others[other]
        a_x = b_x = c_x = d_x = np.uint64(0)
        a_y = b_y = c_y = d_y = np.uint64(0)
        for k in range(x.size):
            u, v = x[k], y[k]
            a_x += _population_count(a[k] & u)
            b_x += _population_count(b[k] & u)
            c_x += _population_count(c[k] & u)
            d_x += _population_count(d[k] & u)
            a_y += _population_count(a[k] & v)
            b_y += _population_count(b[k] & v)
            c_y += _population_count(c[k] & v)
            d_y += _population_count(d[k] & v)
        at = j - first
        out[0, at], out[1, at], out[2, at], out[3, at] = a_x, b_x, c_x, d_x
        at = other - first
        out[0, at], out[1, at], out[2, at], out[3, at] = a_y, b_y, c_y, d_y


@compiled
def _tile(
    bits: SiteBits,
    site: int,
    first: int,
    last: int,
    work: NDArray[np.uint64],
    out: Reals,
) -> None:
    """`out[t, j - first]` = r of sites `site` + t and j, t < 4, first <= j < last.

    NaN where r is undefined; without meaning where `site` + t is past the last site. `work` is
    (5, 4, >= last - first) uint64.
    """
    alternate, swapped, called, count, sums, scale = bits
    n = np.float64(count)
    size = last - first
    if size <= 0:
        return
    n_sites = alternate.shape[0]
    _shared(alternate, site, alternate, first, last, work[0])
    if swapped.size:
        _shared(alternate, site, swapped, first, last, work[1])
        for t in range(_TILE):
            for k in range(size):
                work[0, t, k] += work[1, t, k]
    if called.size == 0:
        for t in range(min(_TILE, n_sites - site)):
            total, factor = sums[site + t], scale[site + t]
            for k in range(size):
                product = n * np.float64(work[0, t, k]) - total * sums[first + k]
                out[t, k] = product * factor * scale[first + k]
        return
    # Pairwise complete: numbers, sums and sums of squares over values called at both sites.
    _shared(called, site, called, first, last, work[1])
    _shared(alternate, site, called, first, last, work[2])
    _shared(called, site, alternate, first, last, work[3])
    bits_per_value = 2.0 if swapped.size else 1.0
    for t in range(min(_TILE, n_sites - site)):
        for k in range(size):
            number = np.float64(work[1, t, k]) / bits_per_value
            x, y = np.float64(work[2, t, k]), np.float64(work[3, t, k])
            xx, yy = x, y
            if swapped.size:
                twice_x = twice_y = np.uint64(0)
                for w in range(alternate.shape[1]):
                    both = called[site + t, w] & called[first + k, w]
                    mine, others = alternate[site + t, w], alternate[first + k, w]
                    twice_x += _population_count(both & mine & swapped[site + t, w])
                    twice_y += _population_count(both & others & swapped[first + k, w])
                xx += np.float64(twice_x)
                yy += np.float64(twice_y)
            spread = (number * xx - x * x) * (number * yy - y * y)
            if spread > 0:
                out[t, k] = (number * np.float64(work[0, t, k]) - x * y) / np.sqrt(spread)
            else:
                out[t, k] = np.nan


@compiled
def _widest(first: Counts, last: Counts, start: int, stop: int) -> int:
    """Pairs that the widest tile of sites start <= i < stop needs for each of its sites."""
    width = 1
    for i in range(start, stop, _TILE):
        end = min(i + _TILE, stop)
        width = max(width, last[i:end].max() - first[i:end].min())
    return width


@compiled
def band(
    bits: SiteBits,
    start: int,
    stop: int,
    out: NDArray[np.float32],
) -> None:
    """`out[i - start, k]` = r of sites i and i + 1 + k, start <= i < stop; NaN past the last."""
    n_sites, width = bits.alternate.shape[0], out.shape[1]
    work = np.empty((5, _TILE, width + _TILE), np.uint64)
    r = np.empty((_TILE, width + _TILE), np.float64)
    for site in range(start, stop, _TILE):
        end = min(n_sites, site + _TILE + width)
        _tile(bits, site, site + 1, end, work, r)
        for t in range(min(_TILE, stop - site)):
            inside = min(width, n_sites - 1 - site - t)
            for k in range(inside):
                out[site + t - start, k] = r[t, t + k]
            for k in range(inside, width):
                out[site + t - start, k] = np.nan


@compiled
def decay(
    bits: SiteBits,
    coordinates: Reals,
    edges: Reals,
    first: Counts,
    last: Counts,
    start: int,
    stop: int,
    zero: bool,
    pairs: Counts,
    total: Reals,
) -> None:
    """Add r² of the pairs (i, first[i] <= j < last[i]) to the bin of their distance, if any.

    Bin b holds edges[b] <= coordinates[j] - coordinates[i] < edges[b + 1]. The distance grows
    with j, so the bin is walked along and never looked up. `zero` counts an undefined r as 0.
    """
    width = _widest(first, last, start, stop)
    work = np.empty((5, _TILE, width), np.uint64)
    r = np.empty((_TILE, width), np.float64)
    for site in range(start, stop, _TILE):
        count = min(_TILE, stop - site)
        low, high = first[site : site + count].min(), last[site : site + count].max()
        _tile(bits, site, low, high, work, r)
        for t in range(count):
            here, at = coordinates[site + t], 0
            bin_pairs, bin_total = 0, 0.0
            for j in range(first[site + t], last[site + t]):
                distance = coordinates[j] - here
                if distance < edges[0]:
                    continue
                if distance >= edges[-1]:
                    break
                while distance >= edges[at + 1]:
                    pairs[at] += bin_pairs
                    total[at] += bin_total
                    bin_pairs, bin_total = 0, 0.0
                    at += 1
                value = r[t, j - low]
                if not np.isnan(value):
                    bin_pairs += 1
                    bin_total += value * value
                elif zero:
                    bin_pairs += 1
            pairs[at] += bin_pairs
            total[at] += bin_total


@compiled
def moments(
    x_bits: SiteBits,
    y_bits: SiteBits,
    first: Counts,
    last: Counts,
    start: int,
    stop: int,
    zero: bool,
    squared: bool,
    out: Reals,
) -> None:
    """Add to `out` the moments of r in two panels over the pairs (i, first[i] <= j < last[i]).

    Of r² where `squared`. `out` is (6,) float64: pairs, sum x, sum y, sum xx, sum yy, sum xy. A
    pair undefined in x is left out; one undefined in y is left out too, or counted as 0 with
    `zero`.
    """
    width = _widest(first, last, start, stop)
    work = np.empty((5, _TILE, width), np.uint64)
    x = np.empty((_TILE, width), np.float64)
    y = np.empty((_TILE, width), np.float64)
    for site in range(start, stop, _TILE):
        count = min(_TILE, stop - site)
        low, high = first[site : site + count].min(), last[site : site + count].max()
        _tile(x_bits, site, low, high, work, x)
        _tile(y_bits, site, low, high, work, y)
        for t in range(count):
            for j in range(first[site + t], last[site + t]):
                a, b = x[t, j - low], y[t, j - low]
                if np.isnan(b) and zero:
                    b = 0.0
                if np.isnan(a) or np.isnan(b):
                    continue
                if squared:
                    a, b = a * a, b * b
                out[0] += 1
                out[1] += a
                out[2] += b
                out[3] += a * a
                out[4] += b * b
                out[5] += a * b
