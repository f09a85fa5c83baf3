"""Distance from the floor by a generator's own numbers and the floor's alone: arrays only.

A draw's distance is the mean over metrics of log max(1, d / u): d is how far a number is from
its ideal, u how far the floor's draws are on average (or the metric's smallest effect, where that
is greater). Better than real people counts as real people. No other generator takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
SEED_SHARE = 0.5
"""Variance between seeds over that between draws of a seed, assumed where seeds are too few to
tell: vae-paper's over ten seeds of two draws; of Markov chains and mosaics it is less."""
PRIOR_SEEDS = 4
"""Seeds' differences that a variance borrowed from the floor weighs as much as."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Yardstick:
    """What distances are measured by.

    Attributes
    ----------
    floor : (n_numbers, n_draws) float64
        Numbers of real people sampled as if synthetic; two draws or more.
    ideal, least, weight : (n_numbers,) float64
        Best value, smallest effect, and share of the whole distance; weights sum to 1.
    """

    floor: Floats
    ideal: Floats
    least: Floats
    weight: Floats

    @cached_property
    def units(self) -> Floats:
        """(1 + n_draws, n_numbers) float64: of all the floor's draws, then without each in turn."""
        away = np.abs(self.floor - self.ideal[:, None])
        n = away.shape[1]
        total = away.sum(axis=1)
        means = np.vstack([total / n, (total - away.T) / (n - 1)])
        return np.asarray(np.maximum(means, self.least), np.float64)

    def logs(self, values: Floats, units: Floats) -> Floats:
        """Log distances of values (…, n_numbers) by units (…, n_numbers): (…) float64."""
        ratio = np.abs(values - self.ideal) / units
        return np.asarray(np.log(np.maximum(ratio, 1)) @ self.weight, np.float64)

    @property
    def own(self) -> Estimate:
        """The floor's own distance: each draw by the others."""
        return estimate(self.logs(self.floor.T, self.units[1:]))

    def place(self, values: Floats, seeds: tuple[int, ...]) -> Place:
        """Where values (n_numbers, n_seeds, n_draws) lie; NaN where a draw lacks a number.

        Each seed has every number in one draw at least.
        """
        ratio = np.abs(values - self.ideal[:, None, None]) / self.units[..., None, None]
        logs = np.einsum("kns,n->ks", np.nanmean(np.log(np.maximum(ratio, 1)), -1), self.weight)
        noise = self.floor - self.floor.mean(axis=1, keepdims=True)
        typical = np.nanmean(values, axis=(1, 2))
        around = self.logs(typical + noise.T, self.units[0])
        draws = (~np.isnan(values)).sum(axis=-1).min(axis=0)
        borrowed = around.var(ddof=1) * (SEED_SHARE + 1 / draws)
        # Few draws of the floor make the logarithm of a unit too small: Quenouille's correction.
        shifts = (noise.shape[1] - 1) * (logs[0] - logs[1:])
        return Place(
            dict(zip(seeds, (logs[0] + shifts.mean(axis=0)).tolist(), strict=True)),
            dict(zip(seeds, borrowed.tolist(), strict=True)),
            shifts.mean(axis=1),
        )


@dataclass(frozen=True)
class Estimate:
    """A mean of log distances, or of differences of them, and half its 95 % interval."""

    value: float
    half: float


@dataclass(frozen=True)
class Place:
    """Log distances of one generator.

    Attributes
    ----------
    logs : dict
        Seed to the mean over its draws.
    borrowed : dict
        Seed to the variance that the floor's noise would give that mean at this place.
    influence : (n_floor_draws,) float64
        What each of the floor's draws adds to the mean over seeds, times their number.
    """

    logs: dict[int, float]
    borrowed: dict[int, float]
    influence: Floats

    @property
    def estimate(self) -> Estimate:
        """The generator's distance."""
        return estimate(list(self.logs.values()), list(self.borrowed.values()), self.influence)

    def minus(self, other: Place) -> Estimate:
        """How much further this one is, paired by seed over the seeds of both, if there are any."""
        influence = self.influence - other.influence
        common = [seed for seed in self.logs if seed in other.logs]
        if common:
            gaps = [self.logs[seed] - other.logs[seed] for seed in common]
            return estimate(
                gaps, [self.borrowed[seed] + other.borrowed[seed] for seed in common], influence
            )
        mine, theirs = self.estimate, other.estimate
        return Estimate(mine.value - theirs.value, float(np.hypot(mine.half, theirs.half)))


def estimate(
    logs: Floats | list[float], borrowed: list[float] | None = None, influence: Floats | None = None
) -> Estimate:
    """Mean of seeds' log distances with Student's 95 % interval.

    The variance between seeds is the seeds' own and what is `borrowed` from the floor's draws,
    weighted (moderated as in Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, 3); the floor's own
    error is added, by the `influence` of its draws. Degrees of freedom are Satterthwaite's (1946,
    Biometrics Bulletin 2, 110-114); what rests on the same floor draws counts once.
    """
    from scipy.special import stdtrit

    n = len(logs)
    own = float(np.var(logs, ddof=1)) / n if n > 1 else 0.0
    terms = [(own, n - 1)]
    if borrowed is not None and influence is not None:
        draws = len(influence)
        weight = PRIOR_SEEDS / (PRIOR_SEEDS + n - 1)
        lent = weight * float(np.mean(borrowed)) / n + float(influence.var(ddof=1)) / draws
        terms = [((1 - weight) * own, n - 1), (lent, draws - 1)]
    whole = sum(part for part, _ in terms)
    doubt = sum(part**2 / freedom for part, freedom in terms if part)
    student = float(stdtrit(whole**2 / doubt, (1 + CONFIDENCE) / 2)) if doubt else 0.0
    return Estimate(float(np.mean(logs)), student * whole**0.5)
