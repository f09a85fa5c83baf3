"""Membership inference with shadow models (Carlini et al. 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel
from haplobench_privacy.base import CohortMetric
from haplobench_privacy.cohorts import Cohorts, cohorts
from haplobench_privacy.evidence import frequency_ratios, nearest_distances
from haplobench_privacy.membership import cohort_note
from haplobench_privacy.roc import FALSE_POSITIVE_RATE, curve, judged
from haplobench_privacy.shadows import Calibration, held_out_scores, threshold
from haplobench_privacy.specs.membership import MembershipParams


class ShadowAttack(CohortMetric[MembershipParams]):
    """Attack whose scores and threshold come from the same generator fitted on other people."""

    def measure(self, data: Cohorts) -> MetricResult:
        """AUC and true positive rates, and what the threshold set on shadows gives."""
        shadows = self.ctx.shadows
        fitted = np.array([np.concatenate([one.train, one.holdout]) for one in shadows]).T
        features = np.stack(
            [
                self._features(
                    cohorts(self.reference, one.cohort(), self.params.max_haplotypes, self.ctx)
                )
                for one in shadows
            ],
            axis=2,
        )
        calibration = Calibration.fit(features, fitted)
        scores = calibration.scores(self._features(data))
        members, others = np.split(scores, [data.train.n_samples])
        rng = self.ctx.rng("membership-shadow", "bootstrap")
        note = f"{len(shadows)} shadows; {cohort_note(data)}"
        measurements = judged(members, others, self.params.bootstraps, rng, note)
        seen, inside = held_out_scores(features, fitted)
        if seen.size:
            at = threshold(seen[~inside], FALSE_POSITIVE_RATE)
            measurements["calibrated_tpr"] = _share(members > at)
            measurements["calibrated_fpr"] = _share(others > at)
        else:
            few = Measurement(None, note="fewer than 6 shadows")
            measurements |= {"calibrated_tpr": few, "calibrated_fpr": few}
        return MetricResult(measurements, {"roc": curve(members, others)})

    def _features(self, data: Cohorts) -> NDArray[np.float64]:
        """Evidence of all people, training ones first: (n_features, n_people) float64."""
        people: tuple[Panel, ...] = (data.train, data.holdout)
        distances = [-np.log1p(nearest_distances(data, panel)).mean(axis=1) for panel in people]
        ratios = [frequency_ratios(data, panel) for panel in people]
        return np.array([np.concatenate(distances), np.concatenate(ratios)])


def _share(found: NDArray[np.bool_]) -> Measurement:
    share = float(found.mean())
    return Measurement(share, found.size, float(np.sqrt(share * (1 - share) / found.size)))
