"""Compiled parts of sampling on CPUs: all but the matrix products and exponentials.

Haplotypes are the last axis wherever the transformer is concerned, so that a loop over them is
one of vector instructions. All arrays are float32 and contiguous where nothing else is said.

All compiled functions live in this one module, because numba's disk cache notices a change
of the file that a function is in, but not of a function it calls elsewhere.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from haplobench.kernels import compiled

Reals = NDArray[np.float32]
Codes = NDArray[np.int64]


# Sums may be taken in any order, always the same on one machine.
_jit = partial(compiled, fastmath=True)


@_jit
def tell(
    token: Reals, embedding: Reals, first: int, code: Codes, window: Reals, condition: Reals
) -> None:
    """Add to `token` (dimension, n) what else the next position is told.

    The row `first` + `code` (n,) of `embedding`, the `window`'s own (dimension,) and the
    `condition` (dimension, n).
    """
    dimension, n = token.shape
    for c in range(dimension):
        own = window[c]
        for i in range(n):
            token[c, i] += embedding[first + code[i], c] + own + condition[c, i]


@_jit
def normalise(hidden: Reals, bias: Reals, gain: Reals, shift: Reals, out: Reals) -> None:
    """Add `bias` (dimension,) to `hidden` (dimension, n), and its layer norm into `out`."""
    dimension, n = hidden.shape
    mean, scale = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for c in range(dimension):
        own = bias[c]
        for i in range(n):
            hidden[c, i] += own
            mean[i] += hidden[c, i]
    share = np.float32(1 / dimension)
    for i in range(n):
        mean[i] *= share
    for c in range(dimension):
        for i in range(n):
            scale[i] += (hidden[c, i] - mean[i]) ** 2
    for i in range(n):
        scale[i] = np.float32(1) / np.sqrt(scale[i] * share + np.float32(1e-5))
    for c in range(dimension):
        up, by = shift[c], gain[c]
        for i in range(n):
            out[c, i] = (hidden[c, i] - mean[i]) * scale[i] * by + up


@_jit
def score(query: Reals, bias: Reals, cache: Reals, latest: int, far: Reals, out: Reals) -> None:
    """Scores (count, heads, n) of the latest `count` positions, by their distance from 0 on.

    `query` is (heads, width, n) and lacks its `bias` (heads, width); `cache`
    (reach, 2, heads, width, n) is a ring of keys and values with the latest at `latest`; `far`
    (heads, reach) are the biases of distances.
    """
    count = out.shape[0]
    heads, width, n = query.shape
    for h in range(heads):
        for c in range(width):
            own = bias[h, c]
            for i in range(n):
                query[h, c, i] += own
        for distance in range(count):
            key, row = cache[(latest - distance) % cache.shape[0], 0, h], out[distance, h]
            row[:] = far[h, distance]
            for c in range(width):
                for i in range(n):
                    row[i] += key[c, i] * query[h, c, i]


@_jit
def attend(weights: Reals, cache: Reals, latest: int, out: Reals) -> None:
    """Mean (heads, width, n) of the values in `cache` by `weights` (count, heads, n).

    The cache and the order are those of `score`.
    """
    count = weights.shape[0]
    heads, width, n = out.shape
    for h in range(heads):
        out[h] = 0
        for distance in range(count):
            value, weight = cache[(latest - distance) % cache.shape[0], 1, h], weights[distance, h]
            for c in range(width):
                for i in range(n):
                    out[h, c, i] += weight[i] * value[c, i]


@_jit
def rectify(units: Reals, bias: Reals) -> None:
    """Add `bias` (m,) to `units` (m, n) and replace what is negative by 0."""
    for c in range(units.shape[0]):
        own = bias[c]
        for i in range(units.shape[1]):
            units[c, i] = max(units[c, i] + own, np.float32(0))


@_jit
def below_highest(scores: Reals, bias: Reals) -> None:
    """Add `bias` (codes,) to `scores` (codes, n) and take each haplotype's highest off."""
    codes, n = scores.shape
    # Not -inf: `fastmath` knows no infinities.
    highest = scores[0] + bias[0]
    for k in range(codes):
        own = bias[k]
        for i in range(n):
            scores[k, i] += own
            highest[i] = max(highest[i], scores[k, i])
    for k in range(codes):
        for i in range(n):
            scores[k, i] -= highest[i]


@_jit
def draw_codes(weights: Reals, level: Reals, code: Codes) -> None:
    """Codes (n,) drawn ∝ `weights` (codes, n), which are summed up, at uniform `level` (n,)."""
    codes, n = weights.shape
    for k in range(1, codes):
        for i in range(n):
            weights[k, i] += weights[k - 1, i]
    threshold = level * weights[codes - 1]
    found = np.zeros(n, np.int32)
    # The last one is never passed by: a level may round up to 1.
    for k in range(codes - 1):
        for i in range(n):
            found[i] += np.int32(weights[k, i] <= threshold[i])
    for i in range(n):
        code[i] = found[i]


@_jit
def rectify_with_code(units: Reals, bias: Reals, table: Reals, first: int, code: Codes) -> None:
    """Add `bias` (m,) and row `first` + `code` of `table` to `units` (n, m); negative: 0."""
    for i in range(units.shape[0]):
        row = table[first + code[i]]
        for c in range(units.shape[1]):
            units[i, c] = max(units[i, c] + bias[c] + row[c], np.float32(0))


@_jit
def add_tables(logits: Reals, tables: Reals, code: Codes, factor: float) -> None:
    """Add rows `code` of `tables` (codes, sites) to `logits` (n, sites); multiply by `factor`."""
    by = np.float32(factor)
    for i in range(logits.shape[0]):
        row = tables[code[i]]
        for s in range(logits.shape[1]):
            logits[i, s] = (logits[i, s] + row[s]) * by


@_jit
def draw_alleles(
    probability: Reals, level: Reals, tables: Reals, code: Codes, out: NDArray[np.int8]
) -> None:
    """Alleles at uniform `level` (n, sites) into `out`, n rows of as many sites or fewer.

    `probability` (n, sites) becomes the difference of the alleles from what the `tables`
    (codes, sites) of probabilities say.
    """
    width = out.shape[1]
    for i in range(probability.shape[0]):
        row = tables[code[i]]
        for s in range(width):
            # Strictly below: probability 0 never gives the allele.
            out[i, s] = level[i, s] < probability[i, s]
        for s in range(probability.shape[1]):
            drawn = np.float32(level[i, s] < probability[i, s])
            probability[i, s] = drawn - row[s]
