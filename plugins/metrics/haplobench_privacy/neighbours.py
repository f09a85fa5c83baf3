"""Nearest haplotypes and closest kin: how near synthetic people lie to real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.kinship import DEGREES, closest
from haplobench_privacy import distances
from haplobench_privacy.cohorts import CohortMetric, Cohorts, cohorts
from haplobench_privacy.roc import auc
from haplobench_privacy.specs.attacks import KINSHIP
from haplobench_privacy.specs.distances import DistanceParams

_NOT_DIPLOID = "people aren't diploid"


class Kinship(CohortMetric[DistanceParams]):
    """The closest training relative of each synthetic person, by KING-robust."""

    def measure(self, data: Cohorts) -> MetricResult:
        """Shares of people with a duplicate or relative in train, and their excess."""
        if data.train.ploidy != 2:
            return MetricResult(
                {each.name: Measurement(None, note=_NOT_DIPLOID) for each in KINSHIP.submetrics}
            )
        train = data.dosages(data.train)
        synthetic = closest(data.dosages(data.synthetic), train)
        unseen = data.remember(
            "closest kin",
            (data.train, data.holdout),
            lambda: closest(data.dosages(data.holdout), train),
        )
        measurements: dict[str, Measurement] = {}
        upper = np.inf
        for degree, least in DEGREES.items():
            name = "duplicates" if degree == "duplicate" else f"{degree}_degree"
            shares = [(k >= least) & (k < upper) for k in (synthetic, unseen)]
            measurements[name] = _share_of(shares[0])
            measurements[f"holdout_{name}"] = _share_of(shares[1])
            measurements[f"excess_{name}"] = _excess_of(*shares)
            upper = least
        related = [k >= DEGREES["second"] for k in (synthetic, unseen)]
        excess = _excess_of(*related)
        measurements["excess_related"] = Measurement(
            excess.value, excess.n, excess.standard_error, note=data.note
        )
        area, error = auc(synthetic, unseen)
        measurements["closer_than_unseen"] = Measurement(area, synthetic.size + unseen.size, error)
        tables = {"synthetic": {"kinship": _drawable(synthetic)}}
        tables["real"] = {"kinship": _drawable(unseen)}
        return MetricResult(measurements, tables)


def _drawable(kinship: NDArray[np.float64]) -> NDArray[np.float32]:
    """As stored: who has no kinship (no heterozygous site) as -1."""
    return np.maximum(kinship, -1.0).astype(np.float32)


def _share_of(found: NDArray[np.bool_]) -> Measurement:
    share = float(found.mean())
    return Measurement(share, found.size, float(np.sqrt(share * (1 - share) / found.size)))


def _excess_of(found: NDArray[np.bool_], unseen: NDArray[np.bool_]) -> Measurement:
    """Difference of two shares. Each error is that of a share with half a case of each kind
    added, so that a share of none isn't taken for certain."""
    value, variance = float(found.mean() - unseen.mean()), 0.0
    for one in (found, unseen):
        share = (one.sum() + 0.5) / (one.size + 1)
        variance += share * (1 - share) / one.size
    return Measurement(value, found.size, float(np.sqrt(variance)))


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


class NearestNeighbours:
    """Hamming distance to the nearest training haplotype against what unseen people show."""

    def __init__(self, reference: Reference, params: DistanceParams, ctx: RunContext) -> None:
        self._reference, self._params, self._ctx = reference, params, ctx
        self._result: MetricResult | None = None

    def update(self, data: Panel) -> None:
        """Take the whole synthetic cohort."""
        compared = cohorts(self._reference, data, self._params.max_haplotypes, self._ctx)
        train, holdout = compared.packed(compared.train), compared.packed(compared.holdout)
        rows = compared.packed(compared.synthetic)
        n, size = rows.shape[0], min(train.shape[0], holdout.shape[0])

        to_train = distances.nearest(rows, train)
        unseen = compared.remember(
            "unseen",
            (compared.train, compared.holdout),
            lambda: distances.nearest(holdout, train),
        )
        sized_train = distances.expected_nearest(rows, train, size)
        sized_holdout = distances.expected_nearest(rows, holdout, size)

        copies, unseen_copies = float((to_train == 0).mean()), float((unseen == 0).mean())
        # The smallest distance within which at least 1 % of the unseen lie.
        near = float(np.quantile(unseen, 0.01, method="inverted_cdf"))
        near_share, unseen_share = float((to_train <= near).mean()), float((unseen <= near).mean())
        self._result = MetricResult(
            {
                "distance_ratio": _ratio(sized_train, sized_holdout, compared.note),
                "unseen_ratio": _unseen_ratio(to_train, unseen),
                "exact_copies": _share(copies, n),
                "holdout_exact_copies": _share(unseen_copies, unseen.size),
                "excess_copies": _excess(copies, n, unseen_copies, unseen.size),
                "near_share": _share(near_share, n),
                "excess_near": _excess(near_share, n, unseen_share, unseen.size),
                "train_distance": Measurement(float(np.median(to_train)), n),
                "holdout_train_distance": Measurement(float(np.median(unseen)), unseen.size),
            },
            {
                "synthetic": {"to_train": to_train.astype(np.int32)},
                "real": {"holdout_to_train": unseen.astype(np.int32)},
            },
        )

    def result(self) -> MetricResult:
        """Ratio of distances, exact copies, near haplotypes; nearest distances for the figure."""
        assert self._result is not None, "result before update"
        return self._result


def _ratio(train: NDArray[np.float64], holdout: NDArray[np.float64], note: str) -> Measurement:
    """Ratio of means over the same haplotypes, with the delta method's standard error."""
    n, mean = train.size, float(holdout.mean())
    if mean == 0:
        return Measurement(None, n, note="every synthetic haplotype is identical to a held-out one")
    ratio = float(train.mean()) / mean
    error = float((train - ratio * holdout).std() / (mean * np.sqrt(n)))
    return Measurement(ratio, n, error, note=note)


def _unseen_ratio(synthetic: NDArray[np.int64], unseen: NDArray[np.int64]) -> Measurement:
    """Ratio of means over two sets of haplotypes, with the delta method's standard error."""
    n, mean = synthetic.size, float(unseen.mean())
    if mean == 0:
        return Measurement(None, n, note="every held-out haplotype is identical to a training one")
    ratio = float(synthetic.mean()) / mean
    error = np.sqrt(synthetic.var() / n + ratio**2 * unseen.var() / unseen.size) / mean
    return Measurement(ratio, n, float(error))


def _share(share: float, n: int) -> Measurement:
    return Measurement(share, n, float(np.sqrt(share * (1 - share) / n)))


def _excess(share: float, n: int, other: float, m: int) -> Measurement:
    error = np.sqrt(share * (1 - share) / n + other * (1 - other) / m)
    return Measurement(share - other, n, float(error))
