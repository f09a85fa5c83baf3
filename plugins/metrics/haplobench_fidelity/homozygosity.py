"""Homozygosity: of haplotypes in windows, and of people in runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel
from haplobench.kernels import compiled

_BLOCK_BYTES = 1 << 25


def haplotype_homozygosity(haplotypes: NDArray[np.int8]) -> tuple[float, float, float, float]:
    """H1, H12, H123 and H2/H1 of some haplotypes (Garud et al. 2015).

    `haplotypes` is (n_haplotypes, n_sites) int8 of 0 and 1; without sites all are one
    haplotype.
    """
    n = haplotypes.shape[0]
    if haplotypes.shape[1]:
        bits = np.packbits(haplotypes.view(np.uint8), axis=1)
        rows = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1]))).ravel()
        counts = np.unique(rows, return_counts=True)[1]
    else:
        counts = np.array([n])
    p = np.zeros(max(3, counts.size))
    p[: counts.size] = np.sort(counts)[::-1] / n
    h1 = float((p**2).sum())
    h12 = float(p[:2].sum() ** 2 + (p[2:] ** 2).sum())
    h123 = float(p[:3].sum() ** 2 + (p[3:] ** 2).sum())
    return h1, h12, h123, float((h1 - p[0] ** 2) / h1)


def windowed_homozygosity(
    panel: Panel, rows: NDArray[np.int64] | slice, bounds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """H1, H12, H123 and H2/H1 by window: (n_windows, 4) float64.

    `bounds` is (n_windows, 2): first column and the one after the last of each window.
    """
    table = np.empty((len(bounds), 4))
    for window, (low, high) in enumerate(bounds):
        table[window] = haplotype_homozygosity(panel.haplotypes[:, low:high][rows])
    return table


def homozygous_runs(
    panel: Panel, start: int, end: int, min_run: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Heterozygous sites and stretches without one, by person of a diploid panel.

    Parameters
    ----------
    panel : Panel
        Complete, ploidy 2.
    start, end : int
        The region, bp, both included; runs are cut there.
    min_run : int
        Shortest run that counts towards the total, bp.

    Returns
    -------
    heterozygous : (n_samples,) int64
        Heterozygous sites in the region.
    longest, total : (n_samples,) int64
        Longest run, and total length of runs of at least `min_run`, in bp.
    """
    table = np.empty((3, panel.n_samples), np.int64)
    low, high = np.searchsorted(panel.positions, [start, end + 1])
    positions = panel.positions[low:high].copy()
    step = max(1, _BLOCK_BYTES // max(1, 2 * (high - low)))
    for first in range(0, panel.n_samples, step):
        # A copy, so that the kernel compiles once and not again for read-only memory maps.
        block = np.array(panel.haplotypes[2 * first : 2 * (first + step), low:high], order="C")
        table[:, first : first + step] = _runs(block, positions, start, end, min_run)
    return table[0], table[1], table[2]


@compiled
def _runs(
    haplotypes: NDArray[np.int8], positions: NDArray[np.int64], start: int, end: int, min_run: int
) -> NDArray[np.int64]:
    n_people = haplotypes.shape[0] // 2
    table = np.zeros((3, n_people), np.int64)
    for person in range(n_people):
        previous = start - 1
        heterozygous = longest = total = 0
        for site in range(positions.size):
            if haplotypes[2 * person, site] != haplotypes[2 * person + 1, site]:
                run = positions[site] - previous - 1
                longest = max(longest, run)
                if run >= min_run:
                    total += run
                previous = positions[site]
                heterozygous += 1
        run = end - previous
        longest = max(longest, run)
        if run >= min_run:
            total += run
        table[0, person] = heterozygous
        table[1, person] = longest
        table[2, person] = total
    return table
