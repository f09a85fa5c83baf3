"""Polygenic scores: weights learned on a cohort, tested on held-out real people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench.memory import remember
from haplobench_utility.association import (
    Floats,
    Traits,
    all_of,
    dosage_blocks,
    obstacle,
    relative,
    simulate_traits,
    thinned,
)
from haplobench_utility.cohorts import (
    as_many,
    common_labels,
    measured,
    no_real_panels,
    noted,
)
from haplobench_utility.specs_studies import POLYGENIC_SCORES, ScoreParams

_LEAST_LEARNED, _LEAST_TESTED = 20, 10


@dataclass(frozen=True, eq=False)
class Weights:
    """Scores' weights per alternate allele: (n_sites, n_traits) float64."""

    values: Floats

    def scores(self, panel: Panel) -> Floats:
        """Of a panel's people, up to a constant: (n_people, n_traits) float64."""
        scores = np.zeros((panel.n_samples, self.values.shape[1]))
        for part, x in dosage_blocks(panel):
            scores += x @ self.values[part]
        return scores


def best_linear_prediction(panel: Panel, traits: Floats, h2: float) -> Weights:
    """Ridge regression of traits on all sites of a complete panel at once.

    The best linear unbiased prediction where every site that varies explains as much, all of them
    `h2` (Henderson 1975, Biometrics 31, 423-447; VanRaden 2008, Journal of Dairy Science 91,
    4414-4423). `traits`: (n_people, n_traits) float64.
    """
    n, p = panel.n_samples, panel.frequencies
    sites = np.flatnonzero((p > 0) & (p < 1))
    weights = np.zeros((panel.n_sites, traits.shape[1]))
    if not sites.size:
        return Weights(weights)
    p = p[sites]
    scale = 1 / np.sqrt(p * (1 - p))

    def standardised() -> Iterator[tuple[slice, Floats]]:
        for part, x in dosage_blocks(panel, sites):
            yield part, (x - panel.ploidy * p[part]) * scale[part]

    y = traits - traits.mean(axis=0)
    # The mean of the relationship matrix' diagonal is 1, once divided by its own.
    if n <= sites.size:
        gram = np.zeros((n, n))
        for _, z in standardised():
            gram += z @ z.T
        gram[np.diag_indices(n)] += np.trace(gram) / n * (1 - h2) / h2
        solution = solve(gram, y, assume_a="pos", overwrite_a=True)
        for part, z in standardised():
            weights[sites[part]] = z.T @ solution
    else:
        z = np.concatenate([block for _, block in standardised()], axis=1)
        gram = z.T @ z
        gram[np.diag_indices(sites.size)] += np.trace(gram) / n * (1 - h2) / h2
        weights[sites] = solve(gram, z.T @ y, assume_a="pos", overwrite_a=True)
    weights[sites] *= scale[:, None]
    return Weights(weights)


@dataclass(frozen=True, eq=False)
class Accuracy:
    """What scores of one panel explain of held-out people's genetic values.

    Attributes
    ----------
    within : float
        Mean r² given the superpopulation.
    each : (n_labels,) float64
        Mean r² in each.
    transfer : (n_labels, n_labels) float64
        Of weights learned in one (row) and tested in another (column); NaN where the panel has too
        few people to learn from.
    """

    within: float
    each: Floats
    transfer: Floats


def polygenic_scores(
    reference: Reference, cohort: Panel, params: ScoreParams, ctx: RunContext
) -> MetricResult:
    """How much of held-out people's genetic values scores explain whose weights a cohort gives."""
    n = cohort.n_samples
    if why := obstacle(reference, cohort, params.n_causal, 4):
        return POLYGENIC_SCORES.not_applicable(why, n)
    reference, cohort, fewer = thinned(reference, cohort, params.max_sites)
    train, holdout = reference.train, reference.holdout
    key = ("polygenic scores", train.digest, holdout.digest, params)
    traits = remember(key, lambda: simulate_traits(train, params, params.n_traits, params.n_causal))

    def real() -> Accuracy:
        panels = [as_many(train, holdout, n, f"scores {i}") for i in range(params.n_panels)]
        each = [
            _accuracy(panel, holdout, traits, np.random.default_rng([params.trait_seed, i]))
            for i, panel in enumerate(panels)
        ]
        return Accuracy(
            float(np.mean([one.within for one in each])),
            np.mean([one.each for one in each], axis=0),
            np.mean([one.transfer for one in each], axis=0),
        )

    found = _accuracy(cohort, holdout, traits, ctx.rng("scores", cohort.digest))
    if not np.isfinite(found.within):
        why = "no trait varies among the held-out people of any superpopulation"
        return POLYGENIC_SCORES.not_applicable(why, n)
    unreal = no_real_panels(reference)
    others = None if unreal else remember((*key, n), real)
    return _result(found, others, n, noted(params.note, fewer, all_of(train, n)), unreal, holdout)


def _accuracy(panel: Panel, holdout: Panel, traits: Traits, rng: np.random.Generator) -> Accuracy:
    """What weights that a panel gives explain; `rng` draws the environments."""
    values, truth = traits.values(panel, rng), traits.genetic_values(holdout)
    names = _names(holdout)
    groups = [np.flatnonzero(holdout.superpopulation == name) for name in names]
    transfer = np.full((names.size, names.size), np.nan)
    for row, name in enumerate(names):
        learned = np.flatnonzero(panel.superpopulation == name)
        if names.size > 1 and learned.size >= _LEAST_LEARNED:
            people = panel.select_samples(learned)
            scores = best_linear_prediction(people, values[learned], traits.h2).scores(holdout)
            transfer[row] = [_explained(truth, scores, [rows]) for rows in groups]
    _, stratum = np.unique(holdout.superpopulation, return_inverse=True)
    strata = [np.flatnonzero(stratum == i) for i in range(stratum.max() + 1)]
    scores = best_linear_prediction(panel, values, traits.h2).scores(holdout)
    each = np.array([_explained(truth, scores, [rows]) for rows in groups])
    return Accuracy(_explained(truth, scores, strata), each, transfer)


def _names(holdout: Panel) -> NDArray[np.str_]:
    """Superpopulations that scores are tested in."""
    return common_labels("superpopulation", _LEAST_TESTED, holdout)


def _portability(transfer: Floats, known: NDArray[np.int64]) -> float:
    """Mean r² in other superpopulations over that in the one that weights were learned in.

    Of the rows `known`; NaN where scores explain nothing in the one that they were learned in.
    """
    own = np.eye(len(transfer), dtype=np.bool_)[known]
    here, elsewhere = transfer[known][own].mean(), transfer[known][~own].mean()
    return float(elsewhere / here) if here > 0 else float("nan")


def _result(
    found: Accuracy, real: Accuracy | None, n: int, note: str, unreal: str, holdout: Panel
) -> MetricResult:
    """All numbers; without real panels, for the reason `unreal`, those over theirs have none."""
    names = _names(holdout)
    level = {name: (holdout.superpopulation == name).sum() for name in names}
    unlabelled = Measurement(
        None, n, note=f"no superpopulation has {_LEAST_TESTED} held-out people"
    )
    by_name: list[Measurement] = []
    ratios: list[Measurement] = []
    for i, name in enumerate(map(str, names)):
        labels = {"superpopulation": name}
        by_name.append(Measurement(float(found.each[i]), int(level[name]), labels=labels))
        ratio = relative(found.each[i], real.each[i] if real else None, n, unreal)
        ratios.append(replace(ratio, labels=labels))
    both = found.transfer + (real.transfer if real else 0.0)
    known = np.flatnonzero(np.isfinite(both).all(axis=1))
    if known.size and names.size > 1:
        mine = _portability(found.transfer, known)
        portability = measured(mine, n, "scores explain nothing where they were learned", note)
        theirs = _portability(real.transfer, known) if real else None
        ported = relative(mine, theirs, n, unreal or note)
    else:
        why = (
            f"fewer than two superpopulations of {_LEAST_LEARNED} people to learn from and "
            f"{_LEAST_TESTED} held out"
        )
        portability = ported = Measurement(None, n, note=why)
    measurements = {
        "r2": Measurement(found.within, n, note=note),
        "r2_ratio": relative(found.within, real.within if real else None, n, unreal or note),
        "r2_by_superpopulation": by_name or unlabelled,
        "r2_ratio_by_superpopulation": ratios or unlabelled,
        "portability": portability,
        "portability_ratio": ported,
    }
    if real is None:
        return MetricResult(measurements)
    series = {
        "accuracy": {
            "superpopulation": np.array(["everybody", *names], np.str_),
            "real": np.array([real.within, *real.each]),
            "synthetic": np.array([found.within, *found.each]),
        }
    }
    return MetricResult(measurements, series)


def _explained(truth: Floats, scores: Floats, strata: list[NDArray[np.int64]]) -> float:
    """Mean over traits of r² of scores and truth less their strata's means, with the sign of r."""
    first, second = truth.copy(), scores.copy()
    rows = np.concatenate(strata)
    for stratum in strata:
        first[stratum] -= first[stratum].mean(axis=0)
        second[stratum] -= second[stratum].mean(axis=0)
    first, second = first[rows], second[rows]
    spread = np.linalg.norm(first, axis=0)
    varying = spread > 1e-9
    length = spread * np.linalg.norm(second, axis=0)
    r = (first * second).sum(axis=0) / np.where(length > 0, length, 1.0)
    return float((r * np.abs(r))[varying].mean()) if varying.any() else float("nan")
