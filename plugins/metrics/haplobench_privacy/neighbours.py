"""Nearest haplotypes and closest kin: how near synthetic people lie to real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.data.distances import distance_blocks, distances_kept, nearest_within
from haplobench.data.kinship import DEGREES, closest_people
from haplobench_privacy import distances
from haplobench_privacy.cohorts import (
    Cohorts,
    cohorts,
    excess,
    paired_ratio,
    share,
    share_error,
)
from haplobench_privacy.evidence import closest_kin, haplotype_pairs, people_pairs
from haplobench_privacy.roc import auc, difference_evidence, share_evidence
from haplobench_privacy.specs_distances import KINSHIP, DistanceParams


def nearest_neighbours(
    reference: Reference, cohort: Panel, params: DistanceParams, ctx: RunContext
) -> MetricResult:
    """Hamming distance to the nearest training haplotype against what unseen people show."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    train, holdout, rows = (data.packed(one) for one in (data.train, data.holdout, data.synthetic))
    n, size = rows.shape[0], min(train.shape[0], holdout.shape[0])
    to_train = haplotype_pairs(data, data.train).of_others
    unseen = data.remember(
        "unseen", (data.train, data.holdout), lambda: distances.nearest(holdout, train)
    )
    # The smallest distance within which at least 1 % of the unseen lie.
    near = float(np.quantile(unseen, 0.01, method="inverted_cdf"))
    return MetricResult(
        {
            "distance_ratio": paired_ratio(
                distances.expected_nearest(rows, train, size),
                distances.expected_nearest(rows, holdout, size),
                "every synthetic haplotype is identical to a held-out one",
                data.note,
            ),
            "unseen_ratio": _unseen_ratio(to_train, unseen),
            "exact_copies": share(to_train == 0),
            "holdout_exact_copies": share(unseen == 0),
            "excess_copies": excess(to_train == 0, unseen == 0),
            "copied_haplotypes": _copied(data),
            "near_share": share(to_train <= near),
            "excess_near": excess(to_train <= near, unseen <= near),
            "train_distance": Measurement(float(np.median(to_train)), n),
            "holdout_train_distance": Measurement(float(np.median(unseen)), unseen.size),
        },
        {
            "synthetic": {"to_train": to_train.astype(np.int32)},
            "real": {"holdout_to_train": unseen.astype(np.int32)},
        },
    )


def _copied(data: Cohorts) -> Measurement:
    """People one of whose haplotypes is in the cohort: of training people, less of held-out."""
    copied: list[NDArray[np.bool_]] = []
    for panel in (data.train, data.holdout):
        same = haplotype_pairs(data, panel).nearest == 0
        copied.append(np.asarray(same.reshape(-1, panel.ploidy).any(axis=1)))
    return share_evidence(copied[0], copied[1], note=data.note)


def _unseen_ratio(synthetic: NDArray[np.int64], unseen: NDArray[np.int64]) -> Measurement:
    """Ratio of means over two sets of haplotypes, with the delta method's standard error."""
    n, mean = synthetic.size, float(unseen.mean())
    if mean == 0:
        return Measurement(None, n, note="every held-out haplotype is identical to a training one")
    ratio = float(synthetic.mean()) / mean
    error = np.sqrt(synthetic.var() / n + ratio**2 * unseen.var() / unseen.size) / mean
    return Measurement(ratio, n, float(error))


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
    size = min(real.n_haplotypes, data.synthetic.n_haplotypes)
    both = None
    if real.n_haplotypes == data.synthetic.n_haplotypes:
        own = _within(data, real), _within(data, data.synthetic)
        if data.sites.all() and distances_kept(real, data.synthetic):
            both = _counts(real, data.synthetic, *own)
        else:
            packed = data.packed(real), data.packed(data.synthetic)
            both = distances.counts_between(*packed, *own)

    def part(own: Panel, other: Panel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if own.n_haplotypes == size:
            # All of its own set is there; of the other, `size` rows are drawn.
            if both is None:
                rows, others = data.packed(own), data.packed(other)
                nearer, near = distances.counts_within(rows, others, _within(data, own))
            else:
                nearer, near = both[own is not real]
            absent = distances.absence(other.n_haplotypes, size)
            return (absent[nearer] + absent[near]) / 2, absent[near]
        pairs = haplotype_pairs(data, real)
        nearest = pairs.nearest if own is real else pairs.of_others
        nearer, near = distances.counts_within(data.packed(own), None, nearest)
        absent = distances.absence(own.n_haplotypes - 1, size - 1)
        return 1 - (absent[nearer] + absent[near]) / 2, 1 - absent[nearer]

    return Accuracy(*part(real, data.synthetic), *part(data.synthetic, real), size)


def _within(data: Cohorts, panel: Panel) -> NDArray[np.int64]:
    """Distance of each haplotype of a panel to the nearest other of it: (n,) int64, in sites."""

    def make() -> NDArray[np.int64]:
        if not (data.sites.all() and distances_kept(panel, panel)):
            return nearest_within(data.packed(panel))
        nearest = np.empty(panel.n_haplotypes, np.int64)
        for low, block in distance_blocks(panel, panel):
            rows = np.arange(block.shape[0])
            block[rows, low + rows] = panel.n_sites + 1
            nearest[low + rows] = block.min(axis=1)
        return nearest

    return data.remember("within", (panel,), make)


def _counts(
    a: Panel, b: Panel, of_a: NDArray[np.int64], of_b: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`distances.counts_between` of two panels whose distances are kept."""
    rows, columns = np.empty((2, of_a.size), np.int64), np.zeros((2, of_b.size), np.int64)
    for low, block in distance_blocks(a, b):
        mine = slice(low, low + block.shape[0])
        for i, within in enumerate((np.less, np.less_equal)):
            rows[i, mine] = within(block, of_a[mine, None]).sum(axis=1)
            columns[i] += within(block, of_b).sum(axis=0)
    return rows, columns


def adversarial_accuracies(
    reference: Reference, cohort: Panel, params: DistanceParams, ctx: RunContext
) -> MetricResult:
    """Adversarial accuracy against held-out people: both parts, never only their mean."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    accuracy = adversarial_accuracy(data, data.holdout)
    return MetricResult(
        {
            "aa_truth": _mean(accuracy.truth, accuracy.size, data.note),
            "aa_syn": _mean(accuracy.synthetic, accuracy.size, data.note),
            "aa_truth_strict": _mean(accuracy.truth_strict, accuracy.size, data.note),
            "aa_syn_strict": _mean(accuracy.synthetic_strict, accuracy.size, data.note),
        },
        {
            "accuracy": {
                "truth": np.array([accuracy.truth.mean()]),
                "synthetic": np.array([accuracy.synthetic.mean()]),
            }
        },
    )


def privacy_loss(
    reference: Reference, cohort: Panel, params: DistanceParams, ctx: RunContext
) -> MetricResult:
    """Adversarial accuracy against held-out people minus that against training people."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    real = data.holdout, data.train
    test, train = (adversarial_accuracy(data, panel) for panel in real)
    loss = (test.truth.mean() + test.synthetic.mean()) / 2
    loss -= (train.truth.mean() + train.synthetic.mean()) / 2
    # The synthetic haplotypes are the same on both sides, so they are paired.
    paired = (test.synthetic - train.synthetic).std() / np.sqrt(min(test.size, train.size))
    errors = share_error(test.truth, test.size), share_error(train.truth, train.size), paired
    error = float(np.linalg.norm([*errors, *(error_of_people(data, p) for p in real)])) / 2
    return MetricResult(
        {
            "privacy_loss": difference_evidence(float(loss), error, test.size, note=data.note),
            "train_aa_truth": _mean(train.truth, train.size),
            "train_aa_syn": _mean(train.synthetic, train.size),
        }
    )


def error_of_people(data: Cohorts, panel: Panel) -> float:
    """Standard error of the synthetic part by which real people there are, by the jackknife.

    A few real people may be the nearest of many of a cohort. Without one of them these have their
    next nearest, so that the leave-one-out means need no second pass. Both sets count whole.
    """
    pairs, own = haplotype_pairs(data, panel), _within(data, data.synthetic)
    nearer, further = (
        (own < distance) + 0.5 * (own == distance)
        for distance in (pairs.of_others, pairs.next_of_others)
    )
    changes = np.bincount(pairs.owner, further - nearer, panel.n_samples) / own.size
    return float(np.sqrt((panel.n_samples - 1) * changes.var()))


def _mean(values: NDArray[np.float64], size: int, note: str = "") -> Measurement:
    """A mean over haplotypes, `size` of which are taken as independent."""
    return Measurement(float(values.mean()), size, share_error(values, size), note=note)


def kinship(
    reference: Reference, cohort: Panel, params: DistanceParams, ctx: RunContext
) -> MetricResult:
    """The closest training relative of each synthetic person, by KING-robust."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    if data.train.ploidy != 2:
        return KINSHIP.not_applicable("people aren't diploid")
    synthetic = people_pairs(data, data.train).of_others
    unseen = data.remember(
        "closest kin",
        (data.train, data.holdout),
        lambda: closest_people(data.dosages(data.train), data.dosages(data.holdout)).of_others,
    )
    measurements: dict[str, Measurement] = {}
    upper = np.inf
    for degree, least in DEGREES.items():
        name = "duplicates" if degree == "duplicate" else f"{degree}_degree"
        near, unseen_near = ((k >= least) & (k < upper) for k in (synthetic, unseen))
        measurements[name] = share(near)
        measurements[f"holdout_{name}"] = share(unseen_near)
        measurements[f"excess_{name}"] = excess(near, unseen_near)
        upper = least
    related = DEGREES["second"]
    measurements["excess_related"] = excess(synthetic >= related, unseen >= related, data.note)
    kin = [closest_kin(data, panel) for panel in (data.train, data.holdout)]
    for name, degree in (("duplicated_people", "duplicate"), ("related_people", "second")):
        measurements[name] = share_evidence(*(k >= DEGREES[degree] for k in kin))
    area, error = auc(synthetic, unseen)
    measurements["closer_than_unseen"] = Measurement(area, synthetic.size + unseen.size, error)
    tables = {
        side: {"kinship": np.maximum(values, -1.0).astype(np.float32)}  # -1: no heterozygous site
        for side, values in (("synthetic", synthetic), ("real", unseen))
    }
    return MetricResult(measurements, tables)
