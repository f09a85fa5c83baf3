"""Nearest-neighbour adversarial accuracy and privacy loss (Yale et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_privacy import distances
from haplobench_privacy.cohorts import Cohorts, cohorts
from haplobench_privacy.specs.common import DistanceParams


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Both parts of the adversarial accuracy, haplotype by haplotype.

    Attributes
    ----------
    truth, synthetic : (n_real,), (n_synthetic,) float64
        How often each haplotype's nearest of its own set is nearer than the nearest of the
        other set; a tie counts 1/2.
    truth_strict, synthetic_strict : float64 arrays
        The same, a tie counting 0.
    size : int
        Haplotypes on each side.
    """

    truth: NDArray[np.float64]
    truth_strict: NDArray[np.float64]
    synthetic: NDArray[np.float64]
    synthetic_strict: NDArray[np.float64]
    size: int


def adversarial_accuracy(data: Cohorts, real: Panel) -> Accuracy:
    """Adversarial accuracy of the synthetic cohort against `real`, at equal numbers.

    Nearest neighbours within a set leave out the haplotype itself alone. Where one set is
    larger, every value is its exact expectation over random subsets of the smaller's size:
    the number of rows within a distance among those drawn is hypergeometric.
    """
    a, b = data.packed(real), data.packed(data.synthetic)
    size = min(a.shape[0], b.shape[0])

    def within(panel: Panel) -> NDArray[np.int64]:
        rows = data.packed(panel)
        return data.remember("within", (panel,), lambda: distances.nearest_within(rows))

    def part(own: Panel, other: Panel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows, others = data.packed(own), data.packed(other)
        if rows.shape[0] == size:
            # All of its own set is there; of the other, `size` rows are drawn.
            nearer, near = distances.counts_within(rows, others, within(own))
            absent = distances.absence(others.shape[0], size)
            return (absent[nearer] + absent[near]) / 2, absent[near]
        nearer, near = distances.counts_within(rows, None, distances.nearest(rows, others))
        absent = distances.absence(rows.shape[0] - 1, size - 1)
        return 1 - (absent[nearer] + absent[near]) / 2, 1 - absent[nearer]

    return Accuracy(*part(real, data.synthetic), *part(data.synthetic, real), size)


def _error(values: NDArray[np.float64], size: int) -> float:
    """Standard error of a mean over `size` haplotypes, taken as independent."""
    return float(values.std() / np.sqrt(size))


class AdversarialAccuracy:
    """Adversarial accuracy against held-out people: both parts, never only their mean."""

    def __init__(self, reference: Reference, params: DistanceParams, ctx: RunContext) -> None:
        self._reference, self._params, self._ctx = reference, params, ctx
        self._result: MetricResult | None = None

    def update(self, data: Panel) -> None:
        """Take the whole synthetic cohort."""
        compared = cohorts(self._reference, data, self._params.max_haplotypes, self._ctx)
        found = adversarial_accuracy(compared, compared.holdout)
        self._result = MetricResult(
            {
                name: Measurement(
                    float(values.mean()), found.size, _error(values, found.size), note=compared.note
                )
                for name, values in (
                    ("aa_truth", found.truth),
                    ("aa_syn", found.synthetic),
                    ("aa_truth_strict", found.truth_strict),
                    ("aa_syn_strict", found.synthetic_strict),
                )
            },
            {
                "accuracy": {
                    "truth": np.array([found.truth.mean()]),
                    "synthetic": np.array([found.synthetic.mean()]),
                }
            },
        )

    def result(self) -> MetricResult:
        """AA truth and AA synthetic, each also with ties counted 0."""
        assert self._result is not None, "result before update"
        return self._result


class PrivacyLoss:
    """Adversarial accuracy against held-out people minus that against training people."""

    def __init__(self, reference: Reference, params: DistanceParams, ctx: RunContext) -> None:
        self._reference, self._params, self._ctx = reference, params, ctx
        self._result: MetricResult | None = None

    def update(self, data: Panel) -> None:
        """Take the whole synthetic cohort."""
        compared = cohorts(self._reference, data, self._params.max_haplotypes, self._ctx)
        test = adversarial_accuracy(compared, compared.holdout)
        train = adversarial_accuracy(compared, compared.train)
        loss = (test.truth.mean() + test.synthetic.mean()) / 2
        loss -= (train.truth.mean() + train.synthetic.mean()) / 2
        # The synthetic haplotypes are the same on both sides, so they are paired.
        error = np.sqrt(
            _error(test.truth, test.size) ** 2
            + _error(train.truth, train.size) ** 2
            + _error(test.synthetic - train.synthetic, min(test.size, train.size)) ** 2
        )
        self._result = MetricResult(
            {
                "privacy_loss": Measurement(
                    float(loss), test.size, float(error / 2), note=compared.note
                ),
                "train_aa_truth": Measurement(
                    float(train.truth.mean()), train.size, _error(train.truth, train.size)
                ),
                "train_aa_syn": Measurement(
                    float(train.synthetic.mean()), train.size, _error(train.synthetic, train.size)
                ),
            }
        )

    def result(self) -> MetricResult:
        """Privacy loss, and the accuracy against training people behind it."""
        assert self._result is not None, "result before update"
        return self._result
