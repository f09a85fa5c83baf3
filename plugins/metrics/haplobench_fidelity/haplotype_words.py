"""Words of adjacent alleles: which local haplotypes occur, how often, and how far that differs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Params, Reference, RunContext
from haplobench.kernels import compiled
from haplobench.memory import remember
from haplobench_fidelity.cohorts import equal_rows, require_complete, rows_key

LENGTHS = (10, 20)
_BLOCK_BYTES, _ROWS = 1 << 25, 32
# Neighbours, pairs, … that change places when 32 bits are turned (Warren, Hacker's Delight, 7-1).
_TURN = np.array([0x55555555, 0x33333333, 0x0F0F0F0F, 0x00FF00FF, 0x0000FFFF], np.uint64)
_NAMES = ("jsd", "pooled_jsd", "coverage", "novel", "distinct_ratio")


def haplotype_words(
    reference: Reference, cohort: Panel, params: Params, ctx: RunContext
) -> MetricResult:
    """Divergence, coverage, novelty and distinct words of 10 and of 20 adjacent sites.

    Raises PanelError on missing alleles.
    """
    train, holdout = reference.train, reference.holdout
    require_complete("haplotype-words", train=train, holdout=holdout, synthetic=cohort)
    real_rows, rows = equal_rows(
        holdout.n_haplotypes, cohort.n_haplotypes, ctx.rng("haplotype-words")
    )
    n = min(holdout.n_haplotypes, cohort.n_haplotypes)
    everybody = (holdout,) if train.digest == holdout.digest else (train, holdout)
    measurements: dict[str, Measurement] = {}
    series = {}
    for length in LENGTHS:
        names = [f"{name}_{length}" for name in _NAMES]
        if holdout.n_sites < length or not n:
            lack = Measurement(None, n, note=f"fewer than {length} sites or no haplotypes")
            measurements.update(dict.fromkeys(names, lack))
            continue
        real = remember(
            ("words", holdout.digest, length, rows_key(real_rows)),
            partial(sorted_words, holdout, length, real_rows),
            keep=not holdout.fleeting,
        )
        known = real
        if len(everybody) > 1 or not isinstance(real_rows, slice):
            known = remember(
                ("known words", train.digest, holdout.digest, length),
                partial(_known, everybody, length),
                keep=not holdout.fleeting,
            )
        synthetic = sorted_words(cohort, length, rows)
        table = compare_words(real, synthetic, known)
        values = (
            float(table[:, 0].mean()),
            pooled_divergence(real, synthetic),
            float(table[:, 1].mean()),
            float(table[:, 2].mean()),
            float(table[:, 4].sum() / table[:, 3].sum()),
        )
        measurements.update(
            {name: Measurement(v, n) for name, v in zip(names, values, strict=True)}
        )
        starts = first_site(holdout.n_sites, length) + length * np.arange(real.shape[0])
        series[f"windows-{length}"] = {
            "start_bp": holdout.positions[starts],
            "jsd": table[:, 0],
            "real_distinct": table[:, 3],
            "synthetic_distinct": table[:, 4],
        }
    return MetricResult(measurements, series)


def _known(panels: Sequence[Panel], length: int) -> NDArray[np.uint32]:
    """Words that any of the panels has, by window, sorted."""
    words = [sorted_words(panel, length) for panel in panels]
    return np.sort(np.concatenate(words, axis=1), axis=1)


def first_site(n_sites: int, length: int) -> int:
    """Where the first window of `length` sites begins: half a window in, if that leaves one.

    Generators of windows mostly take a round number of sites from the first one on. Windows of
    words from there would share their borders, and never see that LD ends at them.
    """
    return max(0, min(length // 2, n_sites - length))


def sorted_words(panel: Panel, length: int, rows: Any = slice(None)) -> NDArray[np.uint32]:
    """Words of each window of `length` adjacent sites, sorted within the window.

    Windows don't overlap and begin at `first_site`; sites before it and those left over at the
    end are not used. The first site is the highest bit. `length` is at most 24. Returns
    (n_windows, n_rows) uint32.
    """
    start = first_site(panel.n_sites, length)
    n_windows = (panel.n_sites - start) // length
    chosen = np.arange(panel.n_haplotypes)[rows]
    words = np.empty((n_windows, chosen.size), np.uint32)
    step = max(1, 8 * _BLOCK_BYTES // max(1, panel.n_sites))
    for first in range(0, chosen.size, step):
        some = chosen[first : first + step]
        # Bits, and a word to read past the end.
        bits = np.pad(panel.packed_haplotypes(some), ((0, 0), (0, 1)))
        _fill_words(bits, start, length, words[:, first : first + some.size])
    words.sort(axis=1)
    return words


@compiled
def _fill_words(
    bits: NDArray[np.uint64], start: int, length: int, words: NDArray[np.uint32]
) -> None:
    for low in range(0, bits.shape[0], _ROWS):
        for window in range(words.shape[0]):
            site = start + window * length
            at, shift = site >> 6, uint64(site & 63)
            for row in range(low, min(low + _ROWS, bits.shape[0])):
                word = bits[row, at] >> shift
                # In two steps, as no shift is by 64.
                word |= (bits[row, at + 1] << uint64(1)) << (uint64(63) - shift)
                # Turned, so that the first site is the highest bit.
                for i in range(5):
                    step, mask = uint64(1 << i), _TURN[i]
                    word = ((word >> step) & mask) | ((word & mask) << step)
                words[window, row] = np.uint32(word >> uint64(32 - length))


def pooled_divergence(real: NDArray[np.uint32], synthetic: NDArray[np.uint32]) -> float:
    """Jensen-Shannon divergence (bits) of the words of all windows counted together."""
    size = 1 + max(int(words.max(initial=0)) for words in (real, synthetic))
    first, second = np.zeros((2, size), np.int64)
    for counts, words in ((first, real), (second, synthetic)):
        _tally(words, counts)
    seen = (first > 0) | (second > 0)
    return float(jensen_shannon(first[seen], second[seen]))


@compiled
def _tally(words: NDArray[np.uint32], counts: NDArray[np.int64]) -> None:
    for window in range(words.shape[0]):
        for word in words[window]:
            counts[word] += 1


@compiled
def compare_words(
    real: NDArray[np.uint32], synthetic: NDArray[np.uint32], known: NDArray[np.uint32]
) -> NDArray[np.float64]:
    """Compare sorted words window by window; see `sorted_words` for the arrays.

    Returns (n_windows, 5) float64: Jensen-Shannon divergence (bits), share of real
    haplotypes whose word is among the synthetic, share of synthetic haplotypes whose word is
    not in `known`, distinct real words, distinct synthetic words.
    """
    n_windows, n_real = real.shape
    n_synthetic = synthetic.shape[1]
    n_known = known.shape[1]
    table = np.zeros((n_windows, 5))
    for window in range(n_windows):
        i = j = at = 0
        divergence = 0.0
        covered = novel = 0
        distinct_real = distinct_synthetic = 0
        while i < n_real or j < n_synthetic:
            if j >= n_synthetic or (i < n_real and real[window, i] <= synthetic[window, j]):
                word = real[window, i]
            else:
                word = synthetic[window, j]
            first_i, first_j = i, j
            while i < n_real and real[window, i] == word:
                i += 1
            while j < n_synthetic and synthetic[window, j] == word:
                j += 1
            p = (i - first_i) / n_real
            q = (j - first_j) / n_synthetic
            if p > 0:
                distinct_real += 1
                divergence += p * np.log2(2 * p / (p + q))
            if q > 0:
                distinct_synthetic += 1
                divergence += q * np.log2(2 * q / (p + q))
                covered += i - first_i
                while at < n_known and known[window, at] < word:
                    at += 1
                if at == n_known or known[window, at] != word:
                    novel += j - first_j
        table[window, 0] = max(divergence / 2, 0.0)
        table[window, 1] = covered / n_real
        table[window, 2] = novel / n_synthetic
        table[window, 3] = distinct_real
        table[window, 4] = distinct_synthetic
    return table


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
