"""Audit of a generator's privacy from the one run that there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel
from haplobench_privacy.auditing import lower_bound
from haplobench_privacy.base import CohortMetric
from haplobench_privacy.cohorts import Cohorts
from haplobench_privacy.evidence import frequency_ratios, nearest_distances
from haplobench_privacy.membership import cohort_note
from haplobench_privacy.specs.auditing import AuditParams

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
