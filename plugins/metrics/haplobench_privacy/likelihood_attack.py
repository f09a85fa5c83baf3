"""Membership inference by allele frequencies: likelihood ratio and Homer's statistic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel
from haplobench_privacy.base import CohortMetric
from haplobench_privacy.cohorts import Cohorts
from haplobench_privacy.evidence import frequency_ratios
from haplobench_privacy.likelihood import (
    centred,
    folds,
    homer_statistics,
    likelihood_ratios,
    real_thinned_sites,
    smoothed,
)
from haplobench_privacy.membership import cohort_note
from haplobench_privacy.roc import auc, curve, judged
from haplobench_privacy.specs.membership import LikelihoodParams

Scores = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of one panel: of its people, and (n_haplotypes,) of each haplotype."""

    thinned: Scores
    every: Scores
    homer: Scores
    haplotype: Scores


class LikelihoodAttack(CohortMetric[LikelihoodParams]):
    """Attack by frequencies; the reference is made of held-out people who aren't attacked with it.

    Everybody, trained on or not, is given a fold; people of a fold are scored against the
    held-out people of the other folds. So reference and targets never overlap, everybody is
    attacked, and members and non-members meet the same references.
    """

    def measure(self, data: Cohorts) -> MetricResult:
        """AUC and true positive rates by likelihood ratio, and AUC by its variants."""
        train, holdout = data.train, data.holdout
        rng = self.ctx.rng("membership-likelihood", "folds")
        n_folds = min(self.params.folds, holdout.n_samples)
        apart = folds(holdout, n_folds, rng), folds(train, n_folds, rng)
        thinned = real_thinned_sites(data, self.params.max_r2)
        others = self._scores(data, holdout, apart[0], apart[0], thinned)
        members = self._scores(data, train, apart[1], apart[0], thinned)

        def within(a: Scores, b: Scores, ploidy: int = 1) -> tuple[Scores, Scores]:
            labels = (np.repeat(panel.population, ploidy) for panel in (train, holdout))
            return centred(a, b, *labels)

        people = train.n_samples + holdout.n_samples
        scored = within(members.thinned, others.thinned)
        known = [frequency_ratios(data, panel, self.params.max_r2) for panel in (train, holdout)]
        boot = self.ctx.rng("membership-likelihood", "bootstrap")
        note = f"{cohort_note(data)}; {thinned.size} sites in linkage equilibrium"
        measurements = judged(*scored, self.params.bootstraps, boot, note)
        ploidy = train.ploidy
        variants = {
            "auc_candidates": auc(*within(known[0], known[1])),
            "auc_all_sites": auc(*within(members.every, others.every)),
            "auc_homer": auc(*within(members.homer, others.homer)),
            "auc_haplotype": auc(*within(members.haplotype, others.haplotype, ploidy), ploidy),
            "auc_uncentred": auc(members.thinned, others.thinned),
        }
        for name, (area, error) in variants.items():
            measurements[name] = Measurement(area, people, error)
        measurements["independent_sites"] = Measurement(float(thinned.size))
        return MetricResult(measurements, {"roc": curve(*scored)})

    def _scores(
        self,
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
