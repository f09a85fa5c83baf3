"""Distances between panels' haplotypes, taken once for all cohorts that are drawn of a panel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.panel import Panel
from haplobench.hamming import distance_matrix
from haplobench.memory import remember

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
