"""Membership inference by the distance to the nearest synthetic haplotype."""

from __future__ import annotations

import numpy as np

from haplobench import Measurement, MetricResult
from haplobench_privacy.base import CohortMetric
from haplobench_privacy.cohorts import Cohorts
from haplobench_privacy.evidence import nearest_distances, nearest_people
from haplobench_privacy.roc import auc, curve, judged
from haplobench_privacy.specs.membership import MembershipParams


def cohort_note(data: Cohorts) -> str:
    """How many synthetic haplotypes an attacker had, and what was left out."""
    size = f"{data.synthetic.n_haplotypes} synthetic haplotypes"
    return "; ".join(part for part in (size, data.note) if part)


class MembershipInference(CohortMetric[MembershipParams]):
    """Attack on every training person (members) and every held-out one (non-members)."""

    def measure(self, data: Cohorts) -> MetricResult:
        """AUC, true positive rate at the low false positive rate, advantage."""
        train, holdout = (nearest_distances(data, panel) for panel in (data.train, data.holdout))
        near = np.concatenate([np.log1p(d).mean(axis=1) for d in (train, holdout)])
        people = np.concatenate([nearest_people(data, p) for p in (data.train, data.holdout)])
        # Ranks of (near, people), equal pairs sharing one.
        _, rank = np.unique(np.stack([-near, -people]), axis=1, return_inverse=True)
        members, others = np.split(rank.astype(np.float64), [data.train.n_samples])
        nearer, error = auc(-train[:, 0], -holdout[:, 0])
        rng = self.ctx.rng("membership-inference", "bootstrap")
        measurements = judged(members, others, self.params.bootstraps, rng, cohort_note(data))
        measurements["auc_nearest_haplotype"] = Measurement(
            nearer, members.size + others.size, error
        )
        return MetricResult(measurements, {"roc": curve(members, others)})
