"""An audit of the privacy that a generator claims, from the one run that there is.

The lower bound on ε is that of Steinke, Nasr & Jagielski (2023).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom

from haplobench import Measurement, MetricResult, Panel, Reference, RunContext
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.evidence import closeness, frequency_ratios
from haplobench_privacy.specs_attacks import AuditParams

Scores = NDArray[np.float64]
_LARGEST = 60.0


class _Bound(NamedTuple):
    """What one test of the audit gives."""

    epsilon: float
    right: int
    guesses: int


def audit(
    reference: Reference, cohort: Panel, params: AuditParams, ctx: RunContext
) -> MetricResult:
    """Guess which of two people was trained on, and bound ε by how many guesses are right.

    The split draws held-out people at random within each population. So, given who makes a
    pair of one training and one held-out person of a population, which of the two was trained
    on is a fair coin, independent of the other pairs' (every other coin being a split as
    probable as this one). Scores depend on the synthetic cohort and on all real people
    together, never on the coins.
    """
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    claim = ctx.privacy_statement
    delta = params.delta if claim is None or claim.no_bound else claim.delta
    members, others = pairs(
        data.train.population, data.holdout.population, ctx.rng("audit", "pairs")
    )
    margins = [
        score(data, data.train)[members] - score(data, data.holdout)[others]
        for score in (closeness, frequency_ratios)
    ]
    margins.append(_scaled(margins[0]) + _scaled(margins[1]))
    coins = members.size
    level = (1 - params.confidence) / (len(margins) * len(params.guesses))
    replaced = claim is None or claim.adjacency == "add-remove"
    bounds = [
        _test(margin, share, delta, level, replaced)
        for margin in margins
        for share in params.guesses
    ]

    def least_p(epsilon: float) -> float:
        """Of all tests of an ε, Bonferroni's correction for their number made."""
        steps = _exchanged(epsilon, delta) if replaced else (epsilon, delta)
        p = [p_value(one.right, one.guesses, coins, *steps) for one in bounds]
        return min(1.0, len(p) * min(p))

    best = max(bounds, key=lambda bound: bound.epsilon)
    # The first test guesses all pairs by distance.
    shown = best if best.epsilon > 0 else bounds[0]
    ceiling = lower_bound(coins, coins, coins, delta, level, replaced=replaced)
    claimed = None if claim is None or claim.no_bound else claim.epsilon
    nothing = "the generator claims none" if claim is None else claim.no_bound
    refuted = None if claimed is None else float(best.epsilon > claimed)
    return MetricResult(
        {
            "epsilon_lower": Measurement(best.epsilon, coins, note=data.size_note),
            "epsilon_ceiling": Measurement(ceiling, coins),
            "right_guesses": Measurement(
                shown.right / shown.guesses if shown.guesses else None,
                shown.guesses,
                note="" if shown.guesses else "every pair scores the same",
            ),
            "pairs": Measurement(float(coins)),
            "claimed_epsilon": Measurement(claimed, note=nothing),
            "claim_refuted": Measurement(
                refuted,
                note=nothing,
                p=None if claimed is None else least_p(claimed),
            ),
        }
    )


def _test(margin: Scores, share: float, delta: float, level: float, replaced: bool) -> _Bound:
    """Guess the share of pairs with the widest margins; equal scores are abstained from."""
    n = min(int(np.ceil(share * margin.size)), int(np.count_nonzero(margin)))
    guessed = np.argsort(-np.abs(margin), kind="stable")[:n]
    right = int((margin[guessed] > 0).sum())
    return _Bound(lower_bound(right, n, margin.size, delta, level, replaced=replaced), right, n)


def pairs(
    train: NDArray[np.str_], holdout: NDArray[np.str_], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random disjoint pairs of a training and a held-out person of one population, by index.

    (n,), (n,) int64: of each population as many pairs as the smaller side has people.
    """
    members, others = [], []
    for name in np.unique(holdout):
        a, b = (rng.permutation(np.flatnonzero(labels == name)) for labels in (train, holdout))
        n = min(a.size, b.size)
        members.append(a[:n])
        others.append(b[:n])
    return np.concatenate(members), np.concatenate(others)


def _scaled(margin: Scores) -> Scores:
    """Over its root mean square, which doesn't know the signs."""
    scale = float(np.sqrt(np.mean(margin**2)))
    return margin / scale if scale > 0 else margin


def p_value(right: int, guesses: int, coins: int, epsilon: float, delta: float) -> float:
    """How probable `right` or more right guesses are at most under (ε, δ)-differential privacy.

    Theorem 5.2 of Steinke et al. (2023): with W binomial of `guesses` trials at success
    e^ε / (1 + e^ε), P[W >= right] + 2 m δ max_i P[right - i <= W < right] / i.

    Parameters
    ----------
    right, guesses : int
        Guesses made, and how many were right; other coins were abstained from.
    coins : int
        m, independent and fair; the neighbouring relation turns one of them over.
    epsilon, delta : float
    """
    if guesses == 0:
        return 1.0
    success = 1 / (1 + np.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, success))
    if delta == 0 or right == 0:
        return min(1.0, tail)
    below = np.cumsum(binom.pmf(np.arange(right - 1, -1, -1), guesses, success))
    worst = float((below / np.arange(1, right + 1)).max())
    return min(1.0, tail + 2 * coins * delta * worst)


def _exchanged(epsilon: float, delta: float) -> tuple[float, float]:
    """What (ε, δ) for adding or removing a record is for exchanging one for another."""
    return 2 * epsilon, min(1.0, float(1 + np.exp(epsilon)) * delta)


def lower_bound(
    right: int, guesses: int, coins: int, delta: float, level: float, *, replaced: bool
) -> float:
    """The largest ε that the guesses refute at `level`, or 0: a lower bound with 1 - `level`.

    `replaced`: each coin exchanges one record for another, and ε and δ are wanted for adding
    or removing one. Two such steps make an exchange, so (ε, δ) gives (2ε, (1 + e^ε) δ).
    """

    def excess(epsilon: float) -> float:
        steps = _exchanged(epsilon, delta) if replaced else (epsilon, delta)
        return p_value(right, guesses, coins, *steps) - level

    if excess(0.0) >= 0:
        return 0.0
    # The probability grows with ε: the refuted ones lie below the root.
    return float(brentq(excess, 0.0, _LARGEST, xtol=1e-9))
