"""Longest exact matches by the positional Burrows-Wheeler transform (Durbin 2014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.kernels import compiled

# Site blocks of at most so many alleles are held at once.
_BLOCK_ALLELES = 1 << 24


@compiled
def _advance(
    alleles: Any,
    first: int,
    order: Any,
    divergence: Any,
    group: Any,
    n_groups: int,
    begins: Any,
    ends: Any,
    longest: Any,
) -> None:
    """Run the transform over a block of sites and lengthen `longest` where matches grew.

    `order` and `divergence` are Durbin's a_k and d_k (algorithm 2): rows sorted by their
    reversed prefixes, and where the match of each with the row before it starts. A row's
    longest match with a group that ends at a site is with the nearest member of the group
    above or below it in that order, and starts at the largest divergence between them.
    """
    n_sites, n_rows = alleles.shape
    n_measures = begins.shape[0]
    ones = np.empty(n_rows, order.dtype)
    ones_divergence = np.empty(n_rows, order.dtype)
    start = np.empty(n_groups, np.int64)
    for offset in range(n_sites):
        site = first + offset
        column = alleles[offset]
        zero, one = 0, 0
        p, q = site + 1, site + 1
        for i in range(n_rows):
            row, d = order[i], divergence[i]
            p, q = max(p, d), max(q, d)
            if column[row] == 0:
                order[zero], divergence[zero] = row, p
                zero += 1
                p = 0
            else:
                ones[one], ones_divergence[one] = row, q
                one += 1
                q = 0
        order[zero:] = ones[:one]
        divergence[zero:] = ones_divergence[:one]
        for downwards in (True, False):
            start[:] = site + 1
            for step in range(n_rows):
                i = step if downwards else n_rows - 1 - step
                row = order[i]
                if downwards:
                    for g in range(n_groups):
                        start[g] = max(start[g], divergence[i])
                own = group[row]
                if own >= 0:
                    start[own] = 0
                else:
                    query = -1 - own
                    for g in range(n_groups):
                        if start[g] <= site:
                            for m in range(n_measures):
                                length = ends[m, site] - begins[m, start[g]]
                                if length > longest[m, query, g]:
                                    longest[m, query, g] = length
                if not downwards:
                    for g in range(n_groups):
                        start[g] = max(start[g], divergence[i])


def longest_matches(
    alleles: Callable[[int, int], NDArray[np.int8]],
    n_sites: int,
    group: NDArray[np.int64],
    n_groups: int,
    begins: NDArray[np.float64],
    ends: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Longest exact match of every query haplotype with any haplotype of each group.

    Parameters
    ----------
    alleles : callable
        `alleles(low, high)`: (high - low, n_rows) int8, 0 and 1, of sites low..high - 1.
    n_sites : int
    group : (n_rows,) int64
        Group of each row, 0 to `n_groups` - 1; -1 for a query. A group may be empty.
    n_groups : int
    begins, ends : (n_measures, n_sites) float64
        Where each site begins and ends in each measure, not decreasing: a match over sites
        i..j is `ends[m, j] - begins[m, i]` long.

    Returns
    -------
    (n_measures, n_queries, n_groups) float64
        0 where no allele at all is shared. Queries in the order of their rows. The maximum
        is taken in each measure by itself: the longest match in bp may be another one than
        that with most sites.
    """
    queries = np.flatnonzero(group < 0)
    coded = group.copy()
    coded[queries] = -1 - np.arange(queries.size)
    longest = np.zeros((begins.shape[0], queries.size, n_groups))
    order = np.arange(group.size, dtype=np.int32)
    divergence = np.zeros(group.size, np.int32)
    step = max(1, _BLOCK_ALLELES // group.size)
    for low in range(0, n_sites, step):
        high = min(low + step, n_sites)
        block = alleles(low, high)
        _advance(block, low, order, divergence, coded, n_groups, begins, ends, longest)
    return longest
