"""Membership inference by the distance to the nearest synthetic haplotype."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_privacy import distances
from haplobench_privacy.cohorts import Cohorts, cohorts
from haplobench_privacy.specs.membership import MembershipParams

_FALSE_POSITIVE_RATE = 0.01


class MembershipInference:
    """Attack on every training person (members) and every held-out one (non-members)."""

    def __init__(self, reference: Reference, params: MembershipParams, ctx: RunContext) -> None:
        self._reference, self._params, self._ctx = reference, params, ctx
        self._result: MetricResult | None = None

    def update(self, data: Panel) -> None:
        """Take the whole synthetic cohort."""
        compared = cohorts(self._reference, data, self._params.max_haplotypes, self._ctx)
        train, holdout = (
            _by_person(compared, panel) for panel in (compared.train, compared.holdout)
        )
        members, others = (-np.log1p(d).mean(axis=1) for d in (train, holdout))
        n = members.size + others.size
        area, error = auc(members, others)
        nearer, nearer_error = auc(-train[:, 0], -holdout[:, 0])
        false, true = roc(members, others)
        found = float(np.interp(_FALSE_POSITIVE_RATE, false, true))
        rng = self._ctx.rng("membership-inference", "bootstrap")
        drawn = []
        for _ in range(self._params.bootstraps):
            curve = roc(
                members[rng.integers(members.size, size=members.size)],
                others[rng.integers(others.size, size=others.size)],
            )
            drawn.append(np.interp(_FALSE_POSITIVE_RATE, *curve))
        size = f"{compared.synthetic.n_haplotypes} synthetic haplotypes"
        note = "; ".join(part for part in (size, compared.note) if part)
        self._result = MetricResult(
            {
                "auc": Measurement(area, n, error, note=note),
                "tpr_at_low_fpr": Measurement(found, n, float(np.std(drawn, ddof=1))),
                "auc_nearest_haplotype": Measurement(nearer, n, nearer_error),
                "advantage": Measurement(float((true - false).max()), n),
            }
        )

    def result(self) -> MetricResult:
        """AUC, true positive rate at the low false positive rate, advantage."""
        assert self._result is not None, "result before update"
        return self._result


def _by_person(data: Cohorts, panel: Panel) -> NDArray[np.float64]:
    """Distances of a person's haplotypes to the nearest synthetic one, the least first.

    (n_samples, ploidy) float64; in order, so that equal people get equal scores to the bit.
    """
    found = distances.nearest(data.packed(panel), data.packed(data.synthetic))
    return np.sort(found.reshape(panel.n_samples, panel.ploidy), axis=1).astype(np.float64)


def auc(members: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[float, float]:
    """Area under the ROC curve and its standard error.

    The Mann-Whitney probability that a member outscores a non-member, ties 1/2; variance
    after DeLong et al. (1988) from the placement of each score among the other group's.
    The error is 0 for a group of one.
    """
    low, high = np.sort(others), np.sort(members)
    of_members = (np.searchsorted(low, members) + np.searchsorted(low, members, "right")) / 2
    of_others = (np.searchsorted(high, others) + np.searchsorted(high, others, "right")) / 2
    placed, left = of_members / others.size, 1 - of_others / members.size
    variance = sum(values.var(ddof=1) / values.size for values in (placed, left) if values.size > 1)
    return float(placed.mean()), float(np.sqrt(variance))


def roc(
    members: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates from (0, 0) to (1, 1), a point per distinct score."""
    scores = np.concatenate([members, others])
    order = np.argsort(-scores, kind="stable")
    is_member = order < members.size
    last = np.concatenate([np.diff(scores[order]) != 0, [True]])
    true = np.cumsum(is_member)[last] / members.size
    false = np.cumsum(~is_member)[last] / others.size
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])
