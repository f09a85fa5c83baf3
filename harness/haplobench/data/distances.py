"""Hamming distances of haplotypes, and those between panels, taken once for all cohorts of one.

Haplotypes come bit-packed, as `Panel.packed_haplotypes` gives them; a distance is the number of
sites at which two of them differ. Kernels take them by XOR and population count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from haplobench.data.panel import Panel
from haplobench.kernels import compiled
from haplobench.memory import remember

# Columns of one pass, chosen so that four rows of running sums stay in the first-level cache.
_TILE = 512


@intrinsic  # type: ignore[misc, untyped-decorator, unused-ignore]
def popcount(typing_context: Any, word: Any) -> Any:
    """Set bits of a 64-bit word, as LLVM's `ctpop` (vectorised where the processor can)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(64), [ir.IntType(64)])
        function = builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)], kind)
        return builder.call(function, [args[0]])

    return types.int64(types.uint64), codegen


@compiled
def four_rows(a: Any, first: int, columns: Any, out: Any, begin: int) -> None:
    """Distances of rows first..first + 3 of `a` to columns from `begin` on: `out` (4, m) int64.

    `columns` (n_words, m) is the other panel transposed: the inner loop runs along m and
    vectorises. Rows past the end repeat the last one.
    """
    n, words = a.shape
    m = columns.shape[1]
    i0, i1 = first, min(first + 1, n - 1)
    i2, i3 = min(first + 2, n - 1), min(first + 3, n - 1)
    for low in range(begin, m, _TILE):
        high = min(low + _TILE, m)
        o0, o1, o2, o3 = out[0, low:high], out[1, low:high], out[2, low:high], out[3, low:high]
        out[:, low:high] = 0
        for w in range(words):
            b = columns[w, low:high]
            x0, x1, x2, x3 = a[i0, w], a[i1, w], a[i2, w], a[i3, w]
            for j in range(high - low):
                o0[j] += popcount(x0 ^ b[j])
                o1[j] += popcount(x1 ^ b[j])
                o2[j] += popcount(x2 ^ b[j])
                o3[j] += popcount(x3 ^ b[j])


@compiled
def _add_distances(a: Any, b: Any, out: Any, within: bool) -> None:
    """Distances of all rows of `a` (an even number) to those of `b` (a multiple of four): int32.

    Two rows against four at a time, so that sums stay in registers; words are taken some hundred
    at a time, so that rows of `b` stay in the cache. `within`: of pairs below the diagonal,
    those in the blocks along it alone.
    """
    n, n_words = a.shape
    for low in range(0, n_words, _TILE):
        high = min(low + _TILE, n_words)
        for begin in range(0, b.shape[0], 64):
            end = min(begin + 64, b.shape[0])
            for i in range(0, min(n, end) if within else n, 2):
                x, y = a[i, low:high], a[i + 1, low:high]
                for j in range(begin, end, 4):
                    b0, b1, b2 = b[j, low:high], b[j + 1, low:high], b[j + 2, low:high]
                    b3 = b[j + 3, low:high]
                    x0 = x1 = x2 = x3 = y0 = y1 = y2 = y3 = 0
                    for w in range(high - low):
                        x0 += popcount(x[w] ^ b0[w])
                        x1 += popcount(x[w] ^ b1[w])
                        x2 += popcount(x[w] ^ b2[w])
                        x3 += popcount(x[w] ^ b3[w])
                        y0 += popcount(y[w] ^ b0[w])
                        y1 += popcount(y[w] ^ b1[w])
                        y2 += popcount(y[w] ^ b2[w])
                        y3 += popcount(y[w] ^ b3[w])
                    out[i, j] += x0
                    out[i, j + 1] += x1
                    out[i, j + 2] += x2
                    out[i, j + 3] += x3
                    out[i + 1, j] += y0
                    out[i + 1, j + 1] += y1
                    out[i + 1, j + 2] += y2
                    out[i + 1, j + 3] += y3


def distance_matrix(
    a: NDArray[np.uint64], b: NDArray[np.uint64] | None = None
) -> NDArray[np.int32]:
    """Hamming distances of all rows of `a` to those of `b`, or of `a`: (n, m) int32."""
    n, m = a.shape[0], (a if b is None else b).shape[0]
    rows = _padded(a, 2 if b is not None else 4)
    columns = rows if b is None else _padded(b, 4)
    out = np.zeros((rows.shape[0], columns.shape[0]), np.int32)
    _add_distances(rows, columns, out, b is None)
    if b is None:
        for first in range(0, n, 64):
            out[first + 64 :, first : first + 64] = out[first : first + 64, first + 64 :].T
    return out[:n, :m]


def _padded(rows: NDArray[np.uint64], multiple: int) -> NDArray[np.uint64]:
    """The rows and as many empty ones as make their number a multiple."""
    more = -rows.shape[0] % multiple
    return np.pad(rows, ((0, more), (0, 0))) if more else np.ascontiguousarray(rows)


@compiled
def _nearest_within(a: Any, columns: Any) -> Any:
    n = a.shape[0]
    distances = np.empty((4, n), np.int64)
    best = np.full(n, 64 * a.shape[1] + 1, np.int64)
    for first in range(0, n, 4):
        four_rows(a, first, columns, distances, first)
        for r in range(min(4, n - first)):
            row, least = distances[r], best[first + r]
            for j in range(first + r + 1, n):
                least = min(least, row[j])
                best[j] = min(best[j], row[j])
            best[first + r] = least
    return best


@compiled
def _difference_counts(a: Any, columns: Any, within: bool) -> Any:
    n, m = a.shape[0], columns.shape[1]
    distances = np.empty((4, m), np.int64)
    counts = np.zeros(64 * a.shape[1] + 1, np.int64)
    for first in range(0, n, 4):
        four_rows(a, first, columns, distances, first if within else 0)
        for r in range(min(4, n - first)):
            for j in range(first + r + 1 if within else 0, m):
                counts[distances[r, j]] += 1
    return counts


def nearest_within(a: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Hamming distance of each row to the nearest other row of `a`: (n,) int64, n at least 2."""
    return np.asarray(_nearest_within(a, np.ascontiguousarray(a.T)))


def difference_counts(
    a: NDArray[np.uint64], b: NDArray[np.uint64] | None = None
) -> NDArray[np.int64]:
    """How many pairs of rows differ at d sites, for d = 0, 1, …: (max d + 1,) int64.

    Pairs of rows of `a`, each once; or of a row of `a` and one of `b`.
    """
    columns = np.ascontiguousarray((a if b is None else b).T)
    counts = np.asarray(_difference_counts(a, columns, b is None))
    return counts[: max(1, np.trim_zeros(counts, "b").size)]


# --- between panels ---------------------------------------------------------------------------

Rows = NDArray[np.int64]
# Pairs of which the distances are kept (64 MiB), and how many times those that are asked for:
# other metrics ask for all, and draws for others.
_MOST_PAIRS, _WORTH = 1 << 25, 32
_BLOCK_PAIRS = 1 << 21


def distances_kept(
    a: Panel, b: Panel, rows: Rows | None = None, others: Rows | None = None
) -> bool:
    """Whether `distance_blocks` pays: of panels that aren't large, and not little of one drawn."""
    n, m = (
        panel.n_haplotypes if some is None else some.size
        for panel, some in ((a, rows), (b, others))
    )
    pairs = sum(
        one.n_haplotypes * other.n_haplotypes for one, _ in a.origin for other, _ in b.origin
    )
    return pairs <= min(_MOST_PAIRS, _WORTH * n * m)


def distance_blocks(
    a: Panel, b: Panel, rows: Rows | None = None, others: Rows | None = None
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Yield (first row, at how many sites haplotypes differ): blocks of (n, m) int32, copies.

    Of all haplotypes of `a` and `b`, or of some, by index. The panels are complete and have the
    same sites. What is computed is kept for the panels of which they were drawn (`Panel.origin`):
    further draws of these are looked up.
    """
    rows = np.arange(a.n_haplotypes) if rows is None else rows
    others = np.arange(b.n_haplotypes) if others is None else others
    lines = [
        (of, own, [(_matrix(of, to), theirs) for to, theirs in b.origin]) for of, own in a.origin
    ]
    step = max(1, _BLOCK_PAIRS // max(1, b.n_haplotypes))
    ends = np.cumsum([own.size for _, own, _ in lines])
    for low in range(0, rows.size, step):
        some = rows[low : low + step]
        block = np.empty((some.size, b.n_haplotypes), np.int32)
        for (_, own, parts), end in zip(lines, ends, strict=True):
            mine = np.flatnonzero((some >= end - own.size) & (some < end))
            place = own[some[mine] - (end - own.size)]
            first = 0
            for matrix, theirs in parts:
                columns = slice(first, first + theirs.size)
                block[mine, columns] = np.take(matrix[place], theirs, axis=1)
                first += theirs.size
        yield low, np.take(block, others, axis=1)


def _matrix(a: Panel, b: Panel) -> NDArray[np.integer[Any]]:
    def make() -> NDArray[np.integer[Any]]:
        words = a.packed_haplotypes()
        own = distance_matrix(words, None if a.digest == b.digest else b.packed_haplotypes())
        return own.astype(np.uint16) if own.max(initial=0) < 1 << 16 else own

    return remember(("haplotype distances", a.digest, b.digest), make)
