"""Membership inference by density: where the cohort lies denser than real people do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array, vstack
from scipy.sparse.linalg import lsqr
from scipy.special import logsumexp

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_privacy.cohorts import Cohorts, cohorts
from haplobench_privacy.evidence import Scores, centred, folds, real_thinned_sites
from haplobench_privacy.roc import area_evidence, curve, judged
from haplobench_privacy.specs.candidates import MEMBERSHIP_DENSITY, DensityParams

# Sites of principal components, in linkage equilibrium; more would cost time and say little more.
_MOST_SITES = 1024
_MOST_WINDOWS = 256
_BLOCK_ROWS = 512
_ITERATIONS = 30


def by_density(
    reference: Reference, cohort: Panel, params: DensityParams, ctx: RunContext
) -> MetricResult:
    """Attack by the ratio of densities, and by a classifier of synthetic and real haplotypes."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    common = _common_sites(data, params.min_maf)
    if not common.any():
        return MEMBERSHIP_DENSITY.not_applicable(
            f"no site has a MAF of {params.min_maf:g} among the real people; {data.size_note}"
        )
    points, others = embedded(data, common, params.components)
    ratios = density_ratios(points, others, data.train.ploidy)
    windows, ids = _window_haplotypes(data, common, params.window)
    rng = ctx.rng("membership-density", "folds")
    apart = np.concatenate(
        [folds(panel, params.folds, rng) for panel in (data.train, data.holdout)]
    )
    guesses = discriminator_scores(
        windows, points.shape[0], ids, np.repeat(apart, data.train.ploidy), params.penalty
    )

    def attacked(scores: Scores) -> tuple[Scores, Scores]:
        people = scores.reshape(-1, data.train.ploidy).sum(axis=1)
        members, rest = np.split(people, [data.train.n_samples])
        return centred(members, rest, data.train.population, data.holdout.population)

    scored = attacked(ratios)
    boot = ctx.rng("membership-density", "bootstrap")
    note = f"{points.shape[1]} components; {data.size_note}"
    return MetricResult(
        {
            **judged(*scored, params.bootstraps, boot, note),
            "auc_discriminator": area_evidence(*attacked(guesses)),
            "windows": Measurement(float(windows.shape[1])),
        },
        {"roc": curve(*scored)},
    )


def _common_sites(data: Cohorts, min_maf: float) -> NDArray[np.bool_]:
    """Compared sites at which the rarer allele of all real people is as frequent: bool."""
    counts = sum(one.allele_counts[0][data.sites] for one in (data.train, data.holdout))
    frequency = counts / (data.train.n_haplotypes + data.holdout.n_haplotypes)
    return np.asarray(np.minimum(frequency, 1 - frequency) >= min_maf)


def _real(data: Cohorts, sites: NDArray[np.int64]) -> NDArray[np.int8]:
    """Alleles of all real haplotypes, training people first."""
    return np.concatenate([data.at(panel, sites) for panel in (data.train, data.holdout)])


def embedded(
    data: Cohorts, common: NDArray[np.bool_], components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Real and synthetic haplotypes on the leading principal components of the real ones.

    Of common sites in linkage equilibrium, each scaled to variance 1; components are scaled so,
    too: (n_real, n) and (n_synthetic, n) float64, n at most `components`.
    """
    sites = real_thinned_sites(data, 0.1)
    sites = sites[common[sites]] if common[sites].any() else np.flatnonzero(common)
    sites = sites[np.linspace(0, sites.size - 1, min(sites.size, _MOST_SITES)).astype(np.int64)]
    real, synthetic = (
        alleles.astype(np.float32)
        for alleles in (_real(data, sites), data.at(data.synthetic, sites))
    )
    mean, spread = real.mean(axis=0), real.std(axis=0)
    real, synthetic = (real - mean) / spread, (synthetic - mean) / spread
    covariance = (real.T @ real).astype(np.float64) / real.shape[0]
    first = max(0, sites.size - components)
    variance, axes = eigh(covariance, subset_by_index=(first, sites.size - 1))
    kept = variance > 1e-6 * variance[-1]
    scaled = axes[:, kept] / np.sqrt(variance[kept])
    return real.astype(np.float64) @ scaled, synthetic.astype(np.float64) @ scaled


def density_ratios(
    real: NDArray[np.float64], synthetic: NDArray[np.float64], ploidy: int
) -> Scores:
    """Log density of the cohort over that of the other real people, at each real haplotype.

    Gaussian kernel densities of one bandwidth, Scott's m^(-1 / (d + 4)) for m synthetic points
    of d dimensions. A person's own haplotypes aren't in the reference, and all other real people
    are: so that it doesn't matter who of them was trained on. (n_real,) float64.
    """
    scale = 2 * synthetic.shape[0] ** (-2 / (synthetic.shape[1] + 4))
    ratios = np.empty(real.shape[0])
    person = np.arange(real.shape[0]) // ploidy
    for low in range(0, real.shape[0], _BLOCK_ROWS):
        rows = slice(low, low + _BLOCK_ROWS)
        cohort, reference = (-_squared(real[rows], points) / scale for points in (synthetic, real))
        reference[person[rows, None] == person] = -np.inf
        ratios[rows] = logsumexp(cohort, axis=1) - logsumexp(reference, axis=1)
    return np.asarray(ratios + np.log((real.shape[0] - ploidy) / synthetic.shape[0]))


def _squared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.maximum(squared, 0.0))


def _window_haplotypes(
    data: Cohorts, common: NDArray[np.bool_], width: int
) -> tuple[NDArray[np.int64], int]:
    """Which haplotype each one has in windows of `width` common sites, numbered over all windows.

    (n_real + n_synthetic, n_windows) int64, real ones first; and how many there are.
    """
    sites = np.flatnonzero(common)
    width = min(width, sites.size)
    n_windows = min(_MOST_WINDOWS, sites.size // width)
    starts = np.linspace(0, sites.size - width, n_windows).astype(np.int64)
    numbered, total = [], 0
    powers = 1 << np.arange(width, dtype=np.int64)
    for start in starts:
        within = sites[start : start + width]
        alleles = np.concatenate([_real(data, within), data.at(data.synthetic, within)])
        found, number = np.unique(alleles @ powers, return_inverse=True)
        numbered.append(number + total)
        total += found.size
    return np.stack(numbered, axis=1), total


def discriminator_scores(
    windows: NDArray[np.int64],
    n_real: int,
    ids: int,
    apart: NDArray[np.int64],
    penalty: float,
) -> Scores:
    """How synthetic each real haplotype looks to a classifier that wasn't fitted to it.

    Ridge regression of 1 (synthetic) and -1 (real) on which haplotype stands in each window,
    fitted to the cohort and to the real people of the other folds.

    Parameters
    ----------
    windows : (n_real + n_synthetic, n_windows) int64
        Haplotypes by number, 0 to `ids` - 1; real ones first.
    apart : (n_real,) int64
        Fold of each real haplotype.
    penalty : float
        Of squared coefficients, in numbers of windows.

    Returns
    -------
    (n_real,) float64
    """
    n, n_windows = windows.shape
    features = csr_array(
        (np.ones(windows.size), windows.ravel(), np.arange(0, windows.size + 1, n_windows)),
        shape=(n, ids),
    )
    real, synthetic = features[:n_real], features[n_real:]
    scores = np.empty(n_real)
    for fold in np.unique(apart):
        out = apart == fold
        target = np.concatenate([-np.ones(n_real - out.sum()), np.ones(n - n_real)])
        middle = target.mean()
        fitted = vstack([real[~out], synthetic])
        damp = float(np.sqrt(penalty * n_windows))
        weights = lsqr(fitted, target - middle, damp=damp, iter_lim=_ITERATIONS)[0]
        scores[out] = real[out] @ weights + middle
    return scores
