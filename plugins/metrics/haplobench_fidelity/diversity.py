"""Diversity of a cohort: pi, Tajima's D, differences between pairs of haplotypes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from haplobench import Panel
from haplobench_fidelity.cohorts import site_blocks

_MIN_SEGREGATING = 3


def site_diversity(counts: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Mean pairwise difference at each site, 2k(n - k) / (n(n - 1)): same shape, float64.

    `counts` are copies k of the alternate allele among `n` haplotypes. The sum over sites is
    nucleotide diversity times the region's length (Nei and Li 1979).
    """
    if n < 2:
        return np.full(counts.shape, np.nan)
    return 2.0 * counts * (n - counts) / (n * (n - 1))


def tajimas_d(segregating: ArrayLike, diversity: ArrayLike, n: int) -> NDArray[np.float64]:
    """Tajima's D (1989) from numbers of segregating sites and summed mean pairwise differences.

    Elementwise, float64; NaN below 3 segregating sites, as in scikit-allel.
    """
    s = np.asarray(segregating, np.float64)
    i = np.arange(1, max(n, 2), dtype=np.float64)
    a1, a2 = (1 / i).sum(), (1 / i**2).sum()
    b1 = (n + 1) / (3 * (n - 1))
    b2 = 2 * (n * n + n + 3) / (9 * n * (n - 1))
    c1 = b1 - 1 / a1
    c2 = b2 - (n + 2) / (a1 * n) + a2 / a1**2
    e1, e2 = c1 / a1, c2 / (a1**2 + a2)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = (np.asarray(diversity, np.float64) - s / a1) / np.sqrt(e1 * s + e2 * s * (s - 1))
    return np.where(s >= _MIN_SEGREGATING, d, np.nan)


def group_counts(
    panel: Panel, labels: NDArray[np.str_], groups: NDArray[np.str_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Alternate alleles by group and site, and haplotypes by group.

    `labels` is (n_haplotypes,) str. Returns (n_groups, n_sites) and (n_groups,) int64.
    """
    member = (labels[None, :] == groups[:, None]).astype(np.float32)
    counts = np.empty((groups.size, panel.n_sites), np.int64)
    for sites in site_blocks(4 * panel.n_haplotypes, panel.n_sites):
        # Counts below 2**24 are exact in float32.
        counts[:, sites] = member @ panel.haplotypes[:, sites].astype(np.float32)
    return counts, member.sum(axis=1).astype(np.int64)


def pairwise_differences(panel: Panel, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many pairs of `rows` differ at d sites, for d = 0, 1, …: (max d + 1,) int64.

    Exact: one matrix product, sums below 2**24 in float32.
    """
    shared = np.zeros((rows.size, rows.size), np.float32)
    for sites in site_blocks(4 * panel.n_haplotypes, panel.n_sites):
        alleles = panel.haplotypes[:, sites][rows].astype(np.float32)
        shared += alleles @ alleles.T
    own = np.diag(shared)
    upper = np.triu_indices(rows.size, 1)
    differences = own[upper[0]] + own[upper[1]] - 2 * shared[upper]
    return np.bincount(differences.astype(np.int64), minlength=1)
