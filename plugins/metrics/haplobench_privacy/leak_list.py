"""The list of training people whom a synthetic cohort gives away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel
from haplobench_privacy.base import CohortMetric
from haplobench_privacy.cohorts import Cohorts
from haplobench_privacy.evidence import (
    closest_kin,
    frequency_ratios,
    longest_tracts,
    nearest_distances,
)
from haplobench_privacy.leaks import Leaks, find_leaks
from haplobench_privacy.likelihood import centred
from haplobench_privacy.membership import cohort_note
from haplobench_privacy.specs.people import LeakListParams

EVIDENCE = ("nearest distance", "copied tract", "likelihood ratio", "kinship")
_NO_KIN = -1.0


class LeakList(CohortMetric[LeakListParams]):
    """Every training person's strongest evidence, and how many of them stand out."""

    def measure(self, data: Cohorts) -> MetricResult:
        """People flagged, and the list as a table `people`."""
        train, holdout = self._evidence(data, data.train), self._evidence(data, data.holdout)
        train[2], holdout[2] = centred(
            train[2], holdout[2], data.train.population, data.holdout.population
        )
        leaks = find_leaks(train, holdout)
        flagged = leaks.q <= self.params.false_discoveries
        n, least = leaks.p.size, 1 / (holdout.shape[1] + 1)
        share = float(flagged.mean())
        fewest = int(np.ceil(n * least / self.params.false_discoveries - 1e-9))
        too_many = fewest > n
        return MetricResult(
            {
                "flagged": Measurement(float(flagged.sum()), n, note=cohort_note(data)),
                "flagged_share": Measurement(share, n, float(np.sqrt(share * (1 - share) / n))),
                "fewest_flagged": Measurement(
                    None if too_many else float(max(1, fewest)),
                    holdout.shape[1],
                    note="too few held-out people to flag anybody" if too_many else "",
                ),
                "least_q": Measurement(float(leaks.q.min()), n),
            },
            {
                "people": _table(data.train, train, leaks),
                "unseen": {"strength": leaks.unseen.astype(np.float32)},
            },
        )

    def _evidence(self, data: Cohorts, panel: Panel) -> NDArray[np.float64]:
        """(n_evidence, n_samples) float64, larger is stronger."""
        found = [
            -np.log1p(nearest_distances(data, panel)).mean(axis=1),
            longest_tracts(data, panel),
            frequency_ratios(data, panel),
        ]
        if panel.ploidy == 2:
            found.append(np.maximum(closest_kin(data, panel), _NO_KIN))
        return np.array(found)


def _table(
    panel: Panel, evidence: NDArray[np.float64], leaks: Leaks
) -> dict[str, NDArray[np.generic]]:
    """The list, strongest first; evidence as it was compared."""
    order = np.argsort(leaks.rank)
    names = np.array(EVIDENCE[: evidence.shape[0]])
    columns: dict[str, NDArray[np.generic]] = {
        "rank": leaks.rank[order],
        "sample": panel.samples[order],
        "population": panel.population[order],
        "strongest": names[leaks.strongest[order]],
        "strength": leaks.strength[order],
        "p": leaks.p[order],
        "q": leaks.q[order],
    }
    return columns | {
        name.replace(" ", "_"): values[order] for name, values in zip(names, evidence, strict=True)
    }
