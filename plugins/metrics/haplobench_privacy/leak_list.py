"""The list of training people whom a synthetic cohort gives away, false discoveries bounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_privacy.cohorts import Cohorts, cohorts, share
from haplobench_privacy.copies import KINDS, Copies, find_copies
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
# Of single copies, so many must be sure to be named for that nobody is flagged to mean anything.
_POWER = 0.8
_BLOCK_VALUES = 1 << 22


def leak_list(
    reference: Reference, cohort: Panel, params: LeakListParams, ctx: RunContext
) -> MetricResult:
    """Every training person with the evidence against them (table `people`), who is flagged."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    train, holdout = _evidence(data, data.train), _evidence(data, data.holdout)
    train[2], holdout[2] = centred(
        train[2], holdout[2], data.train.population, data.holdout.population
    )
    leaks = find_leaks(train, holdout)
    copies = find_copies(data, ctx.rng("leak-list", "real people"))
    kinds = np.column_stack([copies.p, leaks.p])
    n, level = leaks.p.size, params.false_discoveries
    p = np.minimum(1.0, kinds.shape[1] * kinds.min(axis=1))
    q = false_discovery_control(p)
    flagged = q <= level
    named = float((n * kinds.shape[1] * copies.p_if_copied <= level).mean())
    fewest = int(np.ceil(n * kinds.shape[1] / (holdout.shape[1] + 1) / level - 1e-9))
    powerless = not flagged.any() and named < _POWER
    fewer = f"fewer than {min(fewest, n):,} " if fewest <= n else ""
    return MetricResult(
        {
            "flagged": Measurement(
                None if powerless else float(flagged.sum()),
                n,
                note=f"with {holdout.shape[1]:,} held-out people {fewer}can't be told"
                if powerless
                else data.size_note,
                p=float(q.min()),
                detectable=1.0 if named >= _POWER else float(fewest),
            ),
            "flagged_share": share(flagged),
            "people_copied": Measurement(float(copies.copied[:, 0].sum()), n),
            "copies_named": Measurement(named, n),
            "fewest_flagged": Measurement(
                float(max(1, fewest)) if fewest <= n else None,
                holdout.shape[1],
                note="" if fewest <= n else "too few held-out people for anybody to stand out",
            ),
            "least_q": Measurement(float(q.min()), n),
        },
        {
            "people": _table(data.train, train, leaks, copies, p, q, flagged),
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
    panel: Panel,
    evidence: NDArray[np.float64],
    leaks: Leaks,
    copies: Copies,
    p: NDArray[np.float64],
    q: NDArray[np.float64],
    flagged: NDArray[np.bool_],
) -> dict[str, NDArray[np.generic]]:
    """The list, most exposed first; evidence as it was compared."""
    order = np.lexsort((-leaks.strength, p))
    names = np.array(EVIDENCE[: evidence.shape[0]])
    kinds = np.column_stack([copies.p, leaks.p])
    # Evidence that would have done by itself, in place of the strongest, is named. Multiplied as
    # p was: divided, a rounding could leave the strongest itself out.
    enough = kinds.shape[1] * kinds <= p[flagged].max() if flagged.any() else kinds < 0
    enough[:, 0] |= copies.copied[:, 0]
    enough[:, 2] |= copies.copied[:, 1]
    texts = []
    for person, which in enumerate(enough):
        stands = f"stands out by {names[leaks.strongest[person]]}"
        told = [*np.array(KINDS)[which[:-1]], *([stands] if which[-1] else [])]
        texts.append("; ".join(told))
    columns: dict[str, NDArray[np.generic]] = {
        "rank": np.arange(1, order.size + 1),
        "sample": panel.samples[order],
        "population": panel.population[order],
        "flagged": flagged[order],
        "evidence": np.array(texts)[order],
        "p": p[order],
        "q": q[order],
        "strongest": names[leaks.strongest[order]],
        "strength": leaks.strength[order],
        "person_distance": copies.near[order, 0],
        "haplotype_distance": copies.near[order, 1],
    }
    for kind, values in zip((*KINDS, "standing out"), kinds.T, strict=True):
        columns[f"p_{kind.replace(' ', '_')}"] = values[order]
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
    p : (n_train,) float64
        Conformal p-value.
    unseen : (n_holdout,) float64
        `strength` of held-out people, each among the held-out ones.
    """

    strength: NDArray[np.float64]
    strongest: NDArray[np.int64]
    p: NDArray[np.float64]
    unseen: NDArray[np.float64]


def find_leaks(train: NDArray[np.float64], holdout: NDArray[np.float64]) -> Leaks:
    """Compare each training person's evidence with that of held-out people.

    A training person joins the held-out ones; each evidence of all of them is put into robust
    standard deviations (median, median absolute deviation) and the largest counts. The
    p-value is the person's rank among them: exact where the person is no other than held-out
    people are (full conformal, Vovk et al. 2005), whatever evidence there is and however many
    kinds. P-values of a common sample suit Benjamini and Hochberg's rule (Bates et al. 2023).

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
    return Leaks(strength, strongest, p, unseen)


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
