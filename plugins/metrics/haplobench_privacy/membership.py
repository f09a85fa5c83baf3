"""Membership inference: by distance, by allele frequencies, by density, and with shadow models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array, vstack
from scipy.sparse.linalg import lsqr

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.joined import contig_of_sites
from haplobench.data.panel import columns_of
from haplobench.memory import remember
from haplobench_privacy.cohorts import Cohorts, cohorts, share
from haplobench_privacy.evidence import (
    Scores,
    centred,
    closeness,
    closest_kin,
    folds,
    frequency_ratios,
    homer_statistics,
    likelihood_ratios,
    longest_tracts,
    nearest_distances,
    nearest_people,
    real_thinned_sites,
    smoothed,
)
from haplobench_privacy.roc import FALSE_POSITIVE_RATE, area_evidence, auc, curve, judged
from haplobench_privacy.specs_attacks import (
    MEMBERSHIP_DENSITY,
    DensityParams,
    LikelihoodParams,
    MembershipParams,
)

_TINY = 1e-12


def by_distance(
    reference: Reference, cohort: Panel, params: MembershipParams, ctx: RunContext
) -> MetricResult:
    """Attack on every training person (members) and every held-out one (non-members)."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    train, holdout = (nearest_distances(data, panel) for panel in (data.train, data.holdout))
    near = np.concatenate([closeness(data, panel) for panel in (data.train, data.holdout)])
    people = np.concatenate([nearest_people(data, p) for p in (data.train, data.holdout)])
    # Ranks of (near, people), equal pairs sharing one.
    _, rank = np.unique(np.stack([near, -people]), axis=1, return_inverse=True)
    members, others = np.split(rank.astype(np.float64), [data.train.n_samples])
    rng = ctx.rng("membership-inference", "bootstrap")
    measurements = judged(members, others, params.bootstraps, rng, data.size_note)
    area, error = auc(-train[:, 0], -holdout[:, 0])
    measurements["auc_nearest_haplotype"] = Measurement(area, members.size + others.size, error)
    sides = data.train, data.holdout
    measurements["auc_tracts"] = area_evidence(*(longest_tracts(data, one) for one in sides))
    measurements["auc_kinship"] = (
        area_evidence(*(closest_kin(data, one) for one in sides))
        if data.train.ploidy == 2
        else Measurement(None, note="people aren't diploid")
    )
    return MetricResult(measurements, {"roc": curve(members, others)})


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of one panel: of its people, and (n_haplotypes,) of each haplotype."""

    thinned: Scores
    every: Scores
    homer: Scores
    haplotype: Scores


def by_frequencies(
    reference: Reference, cohort: Panel, params: LikelihoodParams, ctx: RunContext
) -> MetricResult:
    """Attack by frequencies; the reference is made of held-out people who aren't attacked with it.

    Everybody, trained on or not, is given a fold; people of a fold are scored against the
    held-out people of the other folds. So reference and targets never overlap, everybody is
    attacked, and members and non-members meet the same references.
    """
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    train, holdout = data.train, data.holdout
    rng = ctx.rng("membership-likelihood", "folds")
    n_folds = min(params.folds, holdout.n_samples)
    apart = folds(holdout, n_folds, rng), folds(train, n_folds, rng)
    thinned = real_thinned_sites(data, params.max_r2)
    frequencies = [
        smoothed(counts, n) for counts, n in _counts_without(data, apart[0], holdout.ploidy)
    ]
    others = _scores(data, holdout, apart[0], frequencies, thinned)
    members = _scores(data, train, apart[1], frequencies, thinned)

    def within(a: Scores, b: Scores, ploidy: int = 1) -> tuple[Scores, Scores]:
        labels = (np.repeat(panel.population, ploidy) for panel in (train, holdout))
        return centred(a, b, *labels)

    people = train.n_samples + holdout.n_samples
    scored = within(members.thinned, others.thinned)
    known = [frequency_ratios(data, panel, params.max_r2) for panel in (train, holdout)]
    boot = ctx.rng("membership-likelihood", "bootstrap")
    note = f"{data.size_note}; {thinned.size} sites in linkage equilibrium"
    measurements = judged(*scored, params.bootstraps, boot, note)
    ploidy = train.ploidy
    variants = {
        "auc_all_sites": auc(*within(members.every, others.every)),
        "auc_homer": auc(*within(members.homer, others.homer)),
        "auc_haplotype": auc(*within(members.haplotype, others.haplotype, ploidy), ploidy),
        "auc_uncentred": auc(members.thinned, others.thinned),
    }
    for name, (area, error) in variants.items():
        measurements[name] = Measurement(area, people, error)
    measurements["auc_candidates"] = area_evidence(*within(known[0], known[1]))
    measurements["independent_sites"] = Measurement(float(thinned.size))
    return MetricResult(measurements, {"roc": curve(*scored)})


def _counts_without(
    data: Cohorts, fold: NDArray[np.int64], ploidy: int
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yield held-out people's alternate alleles without those of each fold, and of how many."""
    every, n = data.holdout.allele_counts[0][data.sites], data.holdout.n_haplotypes
    for left_out in range(int(fold.max()) + 1):
        rows = np.flatnonzero(np.repeat(fold == left_out, ploidy))
        alleles = columns_of(data.holdout.haplotypes[rows], data.sites)
        yield every - alleles.sum(axis=0, dtype=np.int64), n - rows.size


def _scores(
    data: Cohorts,
    panel: Panel,
    apart: NDArray[np.int64],
    frequencies: Sequence[NDArray[np.float64]],
    thinned: NDArray[np.int64],
) -> _Scores:
    """Scores of a panel's people; those of a fold against the frequencies without it."""
    pool = smoothed(data.synthetic.allele_counts[0][data.sites], data.synthetic.n_haplotypes)
    ploidy = panel.ploidy
    every, some = np.empty((2, panel.n_haplotypes))
    homer = np.empty(panel.n_samples)
    for fold in np.unique(apart):
        people, known = np.flatnonzero(apart == fold), frequencies[fold]
        rows = (people[:, None] * ploidy + np.arange(ploidy)).ravel()
        alleles = columns_of(panel.haplotypes[rows], data.sites)
        every[rows] = likelihood_ratios(alleles, pool, known)
        some[rows] = likelihood_ratios(alleles[:, thinned], pool[thinned], known[thinned])
        dosages = alleles.reshape(people.size, ploidy, -1).sum(axis=1, dtype=np.int8)
        homer[people] = homer_statistics(dosages, ploidy, pool, known)
    return _Scores(
        thinned=some.reshape(-1, ploidy).sum(axis=1),
        every=every.reshape(-1, ploidy).sum(axis=1),
        homer=homer,
        haplotype=some,
    )


@dataclass(frozen=True, eq=False)
class Calibration:
    """What shadows tell of each person and feature.

    Attributes
    ----------
    centre : (n_features, n_people) float64
        Half way between a person's features with and without them.
    gain : (n_features, n_people) float64
        By how much a feature rises where the person was fitted on.
    variance : (n_features,) float64
        Of a feature about its mean, over people and shadows.
    """

    centre: NDArray[np.float64]
    gain: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def fit(cls, features: NDArray[np.float64], fitted: NDArray[np.bool_]) -> Calibration:
        """Fit to shadow cohorts.

        A person's own gain is shrunk towards everybody's by how much people differ beyond
        chance (empirical Bayes): with a handful of shadows it would mostly be noise. The
        variance is shared by all, as Carlini et al. (2022) do with few shadows.

        Parameters
        ----------
        features : (n_features, n_people, n_shadows) float64
        fitted : (n_people, n_shadows) bool
            Each person in some and out of some.
        """
        n_in = fitted.sum(axis=1)
        n_out = fitted.shape[1] - n_in
        inside = np.where(fitted, features, 0).sum(axis=2) / n_in
        outside = np.where(fitted, 0, features).sum(axis=2) / n_out
        residual = features - np.where(fitted, inside[..., None], outside[..., None])
        freedom = np.maximum(n_in - 1, 0) + np.maximum(n_out - 1, 0)
        variance = (residual**2).sum(axis=(1, 2)) / max(1, int(freedom.sum()))
        gain = inside - outside
        overall = gain.mean(axis=1, keepdims=True)
        noise = variance[:, None] * (1 / n_in + 1 / n_out)
        between = np.maximum(gain.var(axis=1, keepdims=True) - noise.mean(axis=1, keepdims=True), 0)
        weight = between / np.maximum(between + noise, _TINY)
        return cls((inside + outside) / 2, overall + weight * (gain - overall), variance)

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log likelihood ratio of having been fitted on, summed over features: (n_people,) float64.

        log N(x; with, v) - log N(x; without, v) = (x - centre) gain / v.

        Parameters
        ----------
        features : (n_features, n_people) float64
            From the cohort attacked.
        """
        # A feature that never varies but by membership tells it without noise: no more than
        # that gain's own square is asked of it.
        floor = np.maximum(1e-6 * (self.gain**2).mean(axis=1), _TINY)
        spread = np.maximum(self.variance, floor)[:, None]
        return np.asarray(((features - self.centre) * self.gain / spread).sum(axis=0))


def held_out_scores(
    features: NDArray[np.float64], fitted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of people under each shadow, calibrated by the other shadows, and who was in.

    Pairs of complementary shadows are left out together, so that everybody stays in half of
    the others. Two pairs must be left to know a score's scale: fewer than three give nothing.

    Returns
    -------
    (n,) float64, (n,) bool
    """
    n_shadows = fitted.shape[1]
    scores, inside = [], []
    for first in range(0, n_shadows, 2):
        others = np.setdiff1d(np.arange(n_shadows), (first, first + 1))
        if others.size < 4:
            continue
        calibration = Calibration.fit(features[:, :, others], fitted[:, others])
        for shadow in (first, first + 1):
            scores.append(calibration.scores(features[:, :, shadow]))
            inside.append(fitted[:, shadow])
    if not scores:
        return np.empty(0), np.empty(0, bool)
    return np.concatenate(scores), np.concatenate(inside)


def threshold(unseen: NDArray[np.float64], rate: float) -> float:
    """The least score that at most a share `rate` of scores without membership exceeds."""
    return float(np.quantile(unseen, 1 - rate, method="higher"))


def with_shadows(
    reference: Reference, cohort: Panel, params: MembershipParams, ctx: RunContext
) -> MetricResult:
    """Attack whose scores and threshold come from the same generator fitted on other people."""

    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    shadows = ctx.shadows
    fitted = np.array([np.concatenate([one.train, one.holdout]) for one in shadows]).T
    features = np.stack(
        [
            _features(cohorts(reference, one.cohort(), params.max_haplotypes, ctx))
            for one in shadows
        ],
        axis=2,
    )
    scores = Calibration.fit(features, fitted).scores(_features(data))
    members, others = np.split(scores, [data.train.n_samples])
    rng = ctx.rng("membership-shadow", "bootstrap")
    note = f"{len(shadows)} shadows; {data.size_note}"
    measurements = judged(members, others, params.bootstraps, rng, note)
    seen, inside = held_out_scores(features, fitted)
    if seen.size:
        at = threshold(seen[~inside], FALSE_POSITIVE_RATE)
        measurements |= {
            "calibrated_tpr": share(members > at),
            "calibrated_fpr": share(others > at),
        }
    else:
        few = Measurement(None, note="fewer than 6 shadows")
        measurements |= {"calibrated_tpr": few, "calibrated_fpr": few}
    return MetricResult(measurements, {"roc": curve(members, others)})


def _features(data: Cohorts) -> NDArray[np.float64]:
    """Evidence of all people, training ones first: (n_features, n_people) float64."""
    people = data.train, data.holdout
    return np.array(
        [
            np.concatenate([evidence(data, panel) for panel in people])
            for evidence in (closeness, lambda *of: np.log1p(longest_tracts(*of)))
        ]
    )


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
    key = f"{components} components of {sha256(common.tobytes()).hexdigest()}"
    sites, mean, spread, axes, points = data.remember(
        key, (data.train, data.holdout), lambda: _components(data, common, components)
    )
    synthetic = (data.at(data.synthetic, sites).astype(np.float32) - mean) / spread
    return points, synthetic.astype(np.float64) @ axes


def _components(
    data: Cohorts, common: NDArray[np.bool_], components: int
) -> tuple[NDArray[Any], ...]:
    """Sites, the real haplotypes' means and spreads there, axes, and real haplotypes on these."""
    sites = real_thinned_sites(data, 0.1)
    sites = sites[common[sites]] if common[sites].any() else np.flatnonzero(common)
    sites = sites[np.linspace(0, sites.size - 1, min(sites.size, _MOST_SITES)).astype(np.int64)]
    real = _real(data, sites).astype(np.float32)
    mean, spread = real.mean(axis=0), real.std(axis=0)
    real = (real - mean) / spread
    covariance = (real.T @ real).astype(np.float64) / real.shape[0]
    first = max(0, sites.size - components)
    variance, axes = eigh(covariance, subset_by_index=(first, sites.size - 1))
    kept = variance > 1e-6 * variance[-1]
    scaled = axes[:, kept] / np.sqrt(variance[kept])
    return sites, mean, spread, scaled, real.astype(np.float64) @ scaled


def density_ratios(
    real: NDArray[np.float64], synthetic: NDArray[np.float64], ploidy: int
) -> Scores:
    """Log density of the cohort over that of the other real people, at each real haplotype.

    Gaussian kernel densities of one bandwidth, Scott's m^(-1 / (d + 4)) for m synthetic points
    of d dimensions. A person's own haplotypes aren't in the reference, and all other real people
    are: so that it doesn't matter who of them was trained on. (n_real,) float64.
    """
    scale = 2 * synthetic.shape[0] ** (-2 / (synthetic.shape[1] + 4))
    key = ("real density", sha256(real.tobytes()).hexdigest(), real.shape, scale, ploidy)
    others = remember(key, lambda: _log_kernels(real, real, scale, ploidy))
    cohort = _log_kernels(real, synthetic, scale)
    return np.asarray(cohort - others + np.log((real.shape[0] - ploidy) / synthetic.shape[0]))


def _log_kernels(
    at: NDArray[np.float64], points: NDArray[np.float64], scale: float, own: int = 0
) -> NDArray[np.float64]:
    """Logarithm of each row's sum of exp(-distance² / scale), its person's `own` points apart."""
    sums = np.empty(at.shape[0])
    lengths = (points**2).sum(axis=1)
    for low in range(0, at.shape[0], _BLOCK_ROWS):
        rows = at[low : low + _BLOCK_ROWS]
        # -distance² / scale, but for what is the same for all points.
        exponents = rows @ (points.T * 2)
        exponents -= lengths
        exponents /= scale
        if own:
            numbers = np.arange(low, low + rows.shape[0])
            for i in range(own):
                exponents[numbers - low, numbers - numbers % own + i] = -np.inf
        top = exponents.max(axis=1)
        exponents -= top[:, None]
        np.exp(exponents, out=exponents)
        sums[low : low + rows.shape[0]] = np.log(exponents.sum(axis=1)) + top
    return np.asarray(sums - (at**2).sum(axis=1) / scale)


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
    contig = contig_of_sites(data.train)[data.sites][sites]
    if (whole := contig[starts] == contig[starts + width - 1]).any():
        starts = starts[whole]
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
