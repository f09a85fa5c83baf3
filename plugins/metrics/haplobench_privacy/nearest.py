"""Nearest neighbours: how near synthetic haplotypes lie to training and to held-out ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_privacy import distances
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.specs.common import DistanceParams


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
