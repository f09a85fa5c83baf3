"""Membership inference: by distance, by allele frequencies, and with shadow models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_privacy.cohorts import Cohorts, cohorts, share
from haplobench_privacy.evidence import (
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
from haplobench_privacy.specs.attacks import LikelihoodParams, MembershipParams

Scores = NDArray[np.float64]
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
    others = _scores(data, holdout, apart[0], apart[0], thinned)
    members = _scores(data, train, apart[1], apart[0], thinned)

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


def _scores(
    data: Cohorts,
    panel: Panel,
    apart: NDArray[np.int64],
    held: NDArray[np.int64],
    thinned: NDArray[np.int64],
) -> _Scores:
    """Scores of a panel's people, each against the held-out people of the other folds."""
    sites = np.arange(int(data.sites.sum()))
    pool = smoothed(data.at(data.synthetic, sites))
    reference = data.at(data.holdout, sites)
    alleles = data.at(panel, sites)
    ploidy = panel.ploidy
    dosages = alleles.reshape(panel.n_samples, ploidy, sites.size).sum(axis=1, dtype=np.int8)
    every, some = np.empty((2, panel.n_haplotypes))
    homer = np.empty(panel.n_samples)
    for fold in np.unique(apart):
        frequencies = smoothed(reference[np.repeat(held != fold, ploidy)])
        people = np.flatnonzero(apart == fold)
        rows = (people[:, None] * ploidy + np.arange(ploidy)).ravel()
        every[rows] = likelihood_ratios(alleles[rows], pool, frequencies)
        some[rows] = likelihood_ratios(
            alleles[np.ix_(rows, thinned)], pool[thinned], frequencies[thinned]
        )
        homer[people] = homer_statistics(dosages[people], ploidy, pool, frequencies)
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
