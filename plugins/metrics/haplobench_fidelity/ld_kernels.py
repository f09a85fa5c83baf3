"""LD kernels: AND and population count over packed sites, compiled; `ld_pairs` is their face.

All compiled functions live in this one module, because numba's disk cache notices a change
of the file that a function is in, but not of a function it calls elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., Any])
Bits = NDArray[np.uint64]
Reals = NDArray[np.float64]
Counts = NDArray[np.int64]


def _jit(function: _Function) -> _Function:
    """Compile without the GIL and keep the code on disk, or in memory where no disk is writable."""
    try:
        compiled: _Function = numba.njit(function, nogil=True, cache=True)
    except RuntimeError:  # numba found no folder that it may write to
        compiled = numba.njit(function, nogil=True)
    return compiled


@intrinsic  # type: ignore[untyped-decorator]
def _population_count(_typing: Any, word: Any) -> Any:
    """Set bits of a uint64: LLVM's `ctpop`, one instruction (or a vector's lane of one)."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@_jit
def _shared(row: Bits, others: Bits, first: int, last: int, out: Bits) -> None:
    """`out[j - first]` = bits that `row` shares with row j of `others`, first <= j < last.

    Four rows at a time, so that a word of `row` is loaded once for four counts.
    """
    n_words = row.size
    j = first
    while j + 4 <= last:
        a, b, c, d = others[j], others[j + 1], others[j + 2], others[j + 3]
        n_a = n_b = n_c = n_d = np.uint64(0)
        for k in range(n_words):
            word = row[k]
            n_a += _population_count(word & a[k])
            n_b += _population_count(word & b[k])
            n_c += _population_count(word & c[k])
            n_d += _population_count(word & d[k])
        at = j - first
        out[at] = n_a
        out[at + 1] = n_b
        out[at + 2] = n_c
        out[at + 3] = n_d
        j += 4
    while j < last:
        n_a = np.uint64(0)
        for k in range(n_words):
            n_a += _population_count(row[k] & others[j, k])
        out[j - first] = n_a
        j += 1


@_jit
def _row(
    alternate: Bits,
    swapped: Bits,
    called: Bits,
    n: float,
    sums: Reals,
    scale: Reals,
    site: int,
    first: int,
    last: int,
    work: Bits,
    out: Reals,
) -> None:
    """`out[j - first]` = correlation of `site` with sites first <= j < last; NaN if undefined.

    The arrays are those of `SiteBits`; `work` is (6, >= last - first) uint64.
    """
    size = last - first
    if size <= 0:
        return
    _shared(alternate[site], alternate, first, last, work[0])
    if swapped.size:
        _shared(alternate[site], swapped, first, last, work[1])
        for k in range(size):
            work[0, k] += work[1, k]
    if called.size == 0:
        total, factor = sums[site], scale[site]
        for k in range(size):
            j = first + k
            product = n * np.float64(work[0, k]) - total * sums[j]
            out[k] = product * factor * scale[j]
        return
    # Pairwise complete: numbers, sums and sums of squares over values called at both sites.
    _shared(called[site], called, first, last, work[1])
    _shared(alternate[site], called, first, last, work[2])
    _shared(called[site], alternate, first, last, work[3])
    bits_per_value = 1.0
    if swapped.size:
        bits_per_value = 2.0
        both = alternate[site] & swapped[site]
        _shared(both, called, first, last, work[4])
    for k in range(size):
        j = first + k
        number = np.float64(work[1, k]) / bits_per_value
        x, y = np.float64(work[2, k]), np.float64(work[3, k])
        xx, yy = x, y
        if swapped.size:
            xx += np.float64(work[4, k])
            shared = np.uint64(0)
            for w in range(alternate.shape[1]):
                shared += _population_count(called[site, w] & alternate[j, w] & swapped[j, w])
            yy += np.float64(shared)
        spread = (number * xx - x * x) * (number * yy - y * y)
        if spread > 0:
            out[k] = (number * np.float64(work[0, k]) - x * y) / np.sqrt(spread)
        else:
            out[k] = np.nan


@_jit
def band(
    alternate: Bits,
    swapped: Bits,
    called: Bits,
    n: float,
    sums: Reals,
    scale: Reals,
    start: int,
    stop: int,
    out: NDArray[np.float32],
) -> None:
    """`out[i - start, k]` = r of sites i and i + 1 + k, start <= i < stop; NaN past the last."""
    n_sites, width = alternate.shape[0], out.shape[1]
    work = np.empty((6, width), np.uint64)
    r = np.empty(width, np.float64)
    for i in range(start, stop):
        last = min(n_sites, i + 1 + width)
        _row(alternate, swapped, called, n, sums, scale, i, i + 1, last, work, r)
        for k in range(last - i - 1):
            out[i - start, k] = r[k]
        for k in range(last - i - 1, width):
            out[i - start, k] = np.nan


@_jit
def decay(
    alternate: Bits,
    swapped: Bits,
    called: Bits,
    n: float,
    sums: Reals,
    scale: Reals,
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
    width = 0
    for i in range(start, stop):
        width = max(width, last[i] - first[i])
    work = np.empty((6, width), np.uint64)
    r = np.empty(width, np.float64)
    for i in range(start, stop):
        _row(alternate, swapped, called, n, sums, scale, i, first[i], last[i], work, r)
        at = 0
        for j in range(first[i], last[i]):
            distance = coordinates[j] - coordinates[i]
            if distance < edges[0]:
                continue
            if distance >= edges[-1]:
                break
            while distance >= edges[at + 1]:
                at += 1
            value = r[j - first[i]]
            if not np.isnan(value):
                pairs[at] += 1
                total[at] += value * value
            elif zero:
                pairs[at] += 1


@_jit
def moments(
    alternate_x: Bits,
    swapped_x: Bits,
    called_x: Bits,
    n_x: float,
    sums_x: Reals,
    scale_x: Reals,
    alternate_y: Bits,
    swapped_y: Bits,
    called_y: Bits,
    n_y: float,
    sums_y: Reals,
    scale_y: Reals,
    first: Counts,
    last: Counts,
    start: int,
    stop: int,
    zero: bool,
    out: Reals,
) -> None:
    """Add to `out` the moments of r in two panels over the pairs (i, first[i] <= j < last[i]).

    `out` is (6,) float64: pairs, sum x, sum y, sum xx, sum yy, sum xy. A pair undefined in x is
    left out; one undefined in y is left out too, or counted as 0 with `zero`.
    """
    width = 0
    for i in range(start, stop):
        width = max(width, last[i] - first[i])
    work = np.empty((6, width), np.uint64)
    x = np.empty(width, np.float64)
    y = np.empty(width, np.float64)
    for i in range(start, stop):
        low, high = first[i], last[i]
        _row(alternate_x, swapped_x, called_x, n_x, sums_x, scale_x, i, low, high, work, x)
        _row(alternate_y, swapped_y, called_y, n_y, sums_y, scale_y, i, low, high, work, y)
        for k in range(high - low):
            a, b = x[k], y[k]
            if np.isnan(b) and zero:
                b = 0.0
            if np.isnan(a) or np.isnan(b):
                continue
            out[0] += 1
            out[1] += a
            out[2] += b
            out[3] += a * a
            out[4] += b * b
            out[5] += a * b
