"""Divergence between two tables of counts keyed by integer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench.kernels import compiled


@compiled
def align(
    first_keys: NDArray[np.int64],
    first_counts: NDArray[np.int64],
    second_keys: NDArray[np.int64],
    second_counts: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Join two tables on their keys, absent ones counted 0.

    Keys are int64, strictly increasing. Returns (keys, first counts, second counts), each
    (n_union,) int64.
    """
    n, m = first_keys.size, second_keys.size
    keys = np.empty(n + m, np.int64)
    first = np.zeros(n + m, np.int64)
    second = np.zeros(n + m, np.int64)
    i = j = size = 0
    while i < n or j < m:
        if j >= m or (i < n and first_keys[i] < second_keys[j]):
            keys[size] = first_keys[i]
            first[size] = first_counts[i]
            i += 1
        elif i >= n or second_keys[j] < first_keys[i]:
            keys[size] = second_keys[j]
            second[size] = second_counts[j]
            j += 1
        else:
            keys[size] = first_keys[i]
            first[size] = first_counts[i]
            second[size] = second_counts[j]
            i += 1
            j += 1
        size += 1
    return keys[:size].copy(), first[:size].copy(), second[:size].copy()


@compiled
def jensen_shannon(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Jensen-Shannon divergence in bits (Lin 1991) of two aligned tables of counts.

    The divergence in [0, 1], not its square root. Both sums must exceed 0.
    """
    first_total = float(first.sum())
    second_total = float(second.sum())
    divergence = 0.0
    for i in range(first.size):
        p = first[i] / first_total
        q = second[i] / second_total
        if p > 0:
            divergence += p * np.log2(2 * p / (p + q))
        if q > 0:
            divergence += q * np.log2(2 * q / (p + q))
    return min(max(divergence / 2, 0.0), 1.0)
