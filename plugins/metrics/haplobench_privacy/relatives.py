"""Kinship of synthetic people with training people, against held-out people's own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult
from haplobench.kinship import DEGREES, closest
from haplobench_privacy.base import CohortMetric
from haplobench_privacy.cohorts import Cohorts
from haplobench_privacy.roc import auc
from haplobench_privacy.specs.common import DistanceParams
from haplobench_privacy.specs.inference import KINSHIP

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
            measurements[name] = _share(shares[0])
            measurements[f"holdout_{name}"] = _share(shares[1])
            measurements[f"excess_{name}"] = _excess(*shares)
            upper = least
        related = [k >= DEGREES["second"] for k in (synthetic, unseen)]
        excess = _excess(*related)
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


def _share(found: NDArray[np.bool_]) -> Measurement:
    share = float(found.mean())
    return Measurement(share, found.size, float(np.sqrt(share * (1 - share) / found.size)))


def _excess(found: NDArray[np.bool_], unseen: NDArray[np.bool_]) -> Measurement:
    """Difference of two shares. Each error is that of a share with half a case of each kind
    added, so that a share of none isn't taken for certain."""
    value, variance = float(found.mean() - unseen.mean()), 0.0
    for one in (found, unseen):
        share = (one.sum() + 0.5) / (one.size + 1)
        variance += share * (1 - share) / one.size
    return Measurement(value, found.size, float(np.sqrt(variance)))
