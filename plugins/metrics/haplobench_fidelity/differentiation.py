"""Hudson's Fst between groups of haplotypes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench_fidelity.diversity import site_diversity


def fst_matrix(counts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Hudson's Fst between all pairs of groups, as a ratio of sums over sites (Bhatia 2013).

    `counts` (n_groups, n_sites) are alternate alleles among `sizes` (n_groups,) haplotypes.
    Returns (n_groups, n_groups) float64; NaN where a pair has no site that varies. The
    diagonal has no meaning.
    """
    within = np.array(
        [site_diversity(row, int(n)).sum() for row, n in zip(counts, sizes, strict=True)]
    )
    p = counts / sizes[:, None]
    total = p.sum(axis=1)
    between = total[:, None] + total[None, :] - 2 * p @ p.T
    with np.errstate(divide="ignore", invalid="ignore"):
        fst: NDArray[np.float64] = 1 - (within[:, None] + within[None, :]) / (2 * between)
    fst[between <= 0] = np.nan
    return fst
