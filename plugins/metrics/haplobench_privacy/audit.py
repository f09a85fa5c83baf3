"""The privacy that a generator claims, and its audit from the one run that there is.

The lower bound on ε is that of Steinke, Nasr & Jagielski (2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom

from haplobench import Measurement, MetricResult, Panel, Params, Reference, RunContext
from haplobench.plugin.privacy import delta_words
from haplobench_privacy.cohorts import CohortMetric, Cohorts
from haplobench_privacy.evidence import frequency_ratios, nearest_distances
from haplobench_privacy.membership import cohort_note
from haplobench_privacy.specs.audit import AuditParams


class Statement:
    """What the generator states of itself, as measurements; nothing is checked here."""

    def __init__(self, reference: Reference, params: Params, ctx: RunContext) -> None:
        self._claim = ctx.privacy_statement

    def update(self, data: Panel) -> None:
        """The cohort tells nothing of the claim."""

    def result(self) -> MetricResult:
        """ε, δ, people protected, clients."""
        claim = self._claim
        if claim is None:
            none = Measurement(None, note="the generator claims none")
            return MetricResult(
                dict.fromkeys(("epsilon", "delta", "least_client_epsilon", "clients"), none)
            )
        parts = (
            f"holds {delta_words(claim.delta)}",
            claim.caution,
            f"unit {claim.unit}",
            f"adjacency {claim.adjacency}",
            claim.accountant,
            claim.sampling,
            claim.mechanism,
            claim.noise_words,
            *(f"{choice}: {how}" for choice, how in claim.choices.items()),
        )
        note = "; ".join(part for part in parts if part)
        clients = [epsilon for epsilon in claim.per_client.values() if math.isfinite(epsilon)]
        return MetricResult(
            {
                "epsilon": Measurement(
                    claim.epsilon if math.isfinite(claim.epsilon) else None,
                    claim.n_records,
                    note=claim.no_bound or note,
                ),
                "delta": Measurement(
                    None if claim.no_bound else claim.delta,
                    claim.n_records,
                    note=claim.no_bound or claim.caution,
                ),
                "least_client_epsilon": Measurement(
                    min(clients) if clients else None,
                    len(clients),
                    note="" if clients else claim.no_bound or "one client",
                ),
                "clients": Measurement(float(max(1, len(claim.per_client)))),
            }
        )


_LARGEST = 60.0


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


def lower_bound(
    right: int, guesses: int, coins: int, delta: float, level: float, *, replaced: bool
) -> float:
    """The largest ε that the guesses refute at `level`, or 0: a lower bound with 1 - `level`.

    `replaced`: each coin exchanges one record for another, and ε and δ are wanted for adding
    or removing one. Two such steps make an exchange, so (ε, δ) gives (2ε, (1 + e^ε) δ).
    """

    def excess(epsilon: float) -> float:
        if replaced:
            steps = 2 * epsilon, min(1.0, (1 + np.exp(epsilon)) * delta)
            return p_value(right, guesses, coins, *steps) - level
        return p_value(right, guesses, coins, epsilon, delta) - level

    if excess(0.0) >= 0:
        return 0.0
    # The probability grows with ε: the refuted ones lie below the root.
    return float(brentq(excess, 0.0, _LARGEST, xtol=1e-9))


Scores = NDArray[np.float64]


@dataclass(frozen=True)
class _Bound:
    """What one test of the audit gives."""

    epsilon: float
    right: int
    guesses: int


class Audit(CohortMetric[AuditParams]):
    """Guesses which of two people was trained on, and bounds ε by how many guesses are right.

    The split draws held-out people at random within each population. So, given who makes a
    pair of one training and one held-out person of a population, which of the two was trained
    on is a fair coin, independent of the other pairs' (every other coin being a split as
    probable as this one). Scores depend on the synthetic cohort and on all real people
    together, never on the coins.
    """

    def measure(self, data: Cohorts) -> MetricResult:
        """The lower bound, what it rests on, and the claim beside it."""
        claim = self.ctx.privacy_statement
        delta = self.params.delta if claim is None or claim.no_bound else claim.delta
        members, others = pairs(
            data.train.population, data.holdout.population, self.ctx.rng("audit", "pairs")
        )
        margins = [
            self._scores(data, data.train)[i][members] - self._scores(data, data.holdout)[i][others]
            for i in range(2)
        ]
        margins.append(sum(_scaled(margin) for margin in margins))  # type: ignore[arg-type]
        coins = members.size
        shares = self.params.guesses
        level = (1 - self.params.confidence) / (len(margins) * len(shares))
        replaced = claim is None or claim.adjacency == "add-remove"
        bounds = [
            self._test(margin, share, delta, level, replaced)
            for margin in margins
            for share in shares
        ]
        best = max(bounds, key=lambda bound: bound.epsilon)
        # The first test guesses all pairs by distance.
        shown = best if best.epsilon > 0 else bounds[0]
        ceiling = lower_bound(coins, coins, coins, delta, level, replaced=replaced)
        claimed = None if claim is None or claim.no_bound else claim.epsilon
        nothing = "the generator claims none" if claim is None else claim.no_bound
        return MetricResult(
            {
                "epsilon_lower": Measurement(best.epsilon, coins, note=cohort_note(data)),
                "epsilon_ceiling": Measurement(ceiling, coins),
                "right_guesses": Measurement(
                    shown.right / shown.guesses if shown.guesses else None,
                    shown.guesses,
                    note="" if shown.guesses else "every pair scores the same",
                ),
                "pairs": Measurement(float(coins)),
                "claimed_epsilon": Measurement(claimed, note=nothing),
                "claim_refuted": Measurement(
                    None if claimed is None else float(best.epsilon > claimed),
                    note=nothing,
                ),
            }
        )

    def _scores(self, data: Cohorts, panel: Panel) -> tuple[Scores, Scores]:
        return -np.log1p(nearest_distances(data, panel)).mean(axis=1), frequency_ratios(data, panel)

    def _test(
        self, margin: Scores, share: float, delta: float, level: float, replaced: bool
    ) -> _Bound:
        """Guess the share of pairs with the widest margins; equal scores are abstained from."""
        n = min(int(np.ceil(share * margin.size)), int(np.count_nonzero(margin)))
        guessed = np.argsort(-np.abs(margin), kind="stable")[:n]
        right = int((margin[guessed] > 0).sum())
        epsilon = lower_bound(right, n, margin.size, delta, level, replaced=replaced)
        return _Bound(epsilon, right, n)


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
