"""The list of training people whom a synthetic cohort gives away, false discoveries bounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_privacy.cohorts import Cohorts, cohorts, share
from haplobench_privacy.evidence import (
    centred,
    closeness,
    closest_kin,
    frequency_ratios,
    longest_tracts,
)
from haplobench_privacy.specs.attacks import LeakListParams

EVIDENCE = ("nearest distance", "copied tract", "likelihood ratio", "kinship")
_NO_KIN = -1.0
_BLOCK_VALUES = 1 << 22


def leak_list(
    reference: Reference, cohort: Panel, params: LeakListParams, ctx: RunContext
) -> MetricResult:
    """Every training person's strongest evidence (table `people`), and how many stand out."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    train, holdout = _evidence(data, data.train), _evidence(data, data.holdout)
    train[2], holdout[2] = centred(
        train[2], holdout[2], data.train.population, data.holdout.population
    )
    leaks = find_leaks(train, holdout)
    flagged = leaks.q <= params.false_discoveries
    n, least = leaks.p.size, 1 / (holdout.shape[1] + 1)
    fewest = int(np.ceil(n * least / params.false_discoveries - 1e-9))
    too_many = fewest > n
    return MetricResult(
        {
            "flagged": Measurement(float(flagged.sum()), n, note=data.size_note),
            "flagged_share": share(flagged),
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


def _evidence(data: Cohorts, panel: Panel) -> NDArray[np.float64]:
    """(n_evidence, n_samples) float64, larger is stronger."""
    scores = [score(data, panel) for score in (closeness, longest_tracts, frequency_ratios)]
    if panel.ploidy == 2:
        scores.append(np.maximum(closest_kin(data, panel), _NO_KIN))
    return np.array(scores)


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


@dataclass(frozen=True, eq=False)
class Leaks:
    """What the evidence says of each training person.

    Attributes
    ----------
    strength : (n_train,) float64
        The strongest evidence, in robust standard deviations from the held-out people's median.
    strongest : (n_train,) int64
        Which evidence that is.
    p, q : (n_train,) float64
        Conformal p-value, and adjusted for all training people.
    unseen : (n_holdout,) float64
        `strength` of held-out people, each among the held-out ones.
    """

    strength: NDArray[np.float64]
    strongest: NDArray[np.int64]
    p: NDArray[np.float64]
    q: NDArray[np.float64]
    unseen: NDArray[np.float64]

    @property
    def rank(self) -> NDArray[np.int64]:
        """1 for the strongest: (n_train,) int64."""
        rank = np.empty(self.strength.size, np.int64)
        rank[np.lexsort((-self.strength, self.p))] = np.arange(1, rank.size + 1)
        return rank


def find_leaks(train: NDArray[np.float64], holdout: NDArray[np.float64]) -> Leaks:
    """Compare each training person's evidence with that of held-out people.

    A training person joins the held-out ones; each evidence of all of them is put into robust
    standard deviations (median, median absolute deviation) and the largest counts. The
    p-value is the person's rank among them: exact where the person is no other than held-out
    people are (full conformal, Vovk et al. 2005), whatever evidence there is and however many
    kinds. Adjusted after Benjamini and Hochberg (1995), as Bates et al. (2023) do.

    Parameters
    ----------
    train, holdout : (n_evidence, n_train), (n_evidence, n_holdout) float64
        Larger is stronger; finite.
    """
    n_train, n_holdout = train.shape[1], holdout.shape[1]
    strength, p = np.empty((2, n_train))
    strongest = np.empty(n_train, np.int64)
    step = max(1, _BLOCK_VALUES // (n_holdout + 1))
    for low in range(0, n_train, step):
        rows = slice(low, min(low + step, n_train))
        best = np.full((rows.stop - low, n_holdout + 1), -np.inf)
        which = np.zeros(rows.stop - low, np.int64)
        for i in range(train.shape[0]):
            together = np.empty_like(best)
            together[:, 0] = train[i, rows]
            together[:, 1:] = holdout[i]
            scaled = _robust(together)
            which[scaled[:, 0] > best[:, 0]] = i
            np.maximum(best, scaled, out=best)
        strength[rows], strongest[rows] = best[:, 0], which
        p[rows] = (best >= best[:, :1]).mean(axis=1)
    unseen = np.max([_robust(values[None])[0] for values in holdout], axis=0)
    return Leaks(strength, strongest, p, false_discovery_control(p), unseen)


def _robust(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row minus its median, over its median absolute deviation (times 1.4826).

    Where more than half of a row is equal: over its mean absolute deviation (times 1.2533), or
    0 throughout where all is.
    """
    centre = rows - np.median(rows, axis=1, keepdims=True)
    size = np.abs(centre)
    scale = 1.4826 * np.median(size, axis=1, keepdims=True)
    scale = np.where(scale > 0, scale, 1.2533 * size.mean(axis=1, keepdims=True))
    return np.asarray(centre / np.where(scale > 0, scale, 1.0))
