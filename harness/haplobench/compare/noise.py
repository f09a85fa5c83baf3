"""The noise of numbers that few seeds can't show: borrowed from draws and from the floor.

Two seeds say next to nothing of how far a third would lie from them. What is lent is, first, the
spread over draws of one fitted generator, held against the floor's (real people, drawn as
often); then that of the seeds, held against the draws'. How far one may be taken for the other is
learnt from all numbers of the generator at once: each variance is drawn towards what the others
make of its reference, the more so the better they agree (Smyth, Statistical Applications in
Genetics and Molecular Biology 3, 3, 2004).
"""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Values = Mapping[int, Mapping[int, float]]
"""By seed, then by draw."""

FIT = 3.0
"""Standard deviations: a fit's noise where no second seed shows it, over that of its draws."""
REAL = 10.0
"""The same over the floor's, where there is one draw of one seed."""
FAR = 0.05
"""Standard deviation of one seed that is no less, as a share of the distance from the floor: what
is far from real people varies as they don't."""
TOGETHER = 20
"""Numbers of a generator from which they say something of each other."""
MOST = 8.0
"""Degrees of freedom that numbers lend each other at most: they are of the same haplotypes."""
STRANGERS = 4.0
"""Degrees of freedom that seeds with fewer are lent where the numbers are too few to say."""
NOTHING = 1e-12
"""Variance over the square of the value up to which there is none but rounding."""


@dataclass(frozen=True)
class Spread:
    """A variance and its degrees of freedom; 0 of them: not known."""

    variance: float = 0.0
    freedom: float = 0.0

    def scaled(self, by: float) -> Spread:
        """The variance times `by`."""
        return Spread(self.variance * by, self.freedom)


@dataclass(frozen=True)
class Noise:
    """A number's noise: each the variance of the mean of one seed's draws.

    `seeds` between seeds of a side, `draws` between the draws of a seed, `floor` of real people;
    `far`: how far from these the values lie.
    """

    seeds: Spread = Spread()
    draws: Spread = Spread()
    floor: Spread = Spread()
    far: float = 0.0


def noise_of(
    base: Values,
    head: Values,
    floors: Sequence[Sequence[float]] = (),
    differences: Sequence[float] = (),
) -> Noise:
    """What a number's values on both sides, and the floor's draws on either, say of its noise.

    `differences`: of pairs of seeds, where they are to stand for the seeds of either side.
    """
    sides = [[list(draws.values()) for draws in side.values()] for side in (base, head)]
    several = [draws for side in sides for draws in side]
    each = min((len(draws) for draws in several), default=1)
    size = max((abs(value) for draws in several for value in draws), default=0.0)
    means = [[plain.fmean(draws) for draws in side] for side in sides]
    seeds = _pooled([differences], size).scaled(0.5) if differences else _pooled(means, size)
    real = [(_pooled([draws], size).scaled(1 / each), plain.fmean(draws)) for draws in floors]
    floor, middle = max(real, key=lambda one: one[0].variance, default=(Spread(), None))
    far = 0.0 if middle is None else abs(plain.fmean(map(plain.fmean, several)) - middle)
    return Noise(seeds, _pooled(several, size).scaled(1 / each), floor, far)


def _pooled(groups: Iterable[Sequence[float]], size: float) -> Spread:
    """The variance within groups."""
    squares, freedom = 0.0, 0
    for group in groups:
        if len(group) > 1:
            mean = plain.fmean(group)
            # Not ** 2, which raises an error where a damaged baseline's values are huge.
            squares += math.fsum((value - mean) * (value - mean) for value in group)
            freedom += len(group) - 1
    variance = squares / freedom if freedom else 0.0
    if not math.isfinite(variance):
        return Spread()
    return Spread(variance if variance > NOTHING * size * size else 0.0, float(freedom))


@dataclass(frozen=True)
class Likeness:
    """How variances go with their references: `scale` times, as `freedom` more draws would say."""

    scale: float
    freedom: float

    def shrink(self, own: Spread, reference: Spread) -> Spread:
        """A number's own variance, drawn towards its reference."""
        if not reference.variance:
            return own
        freedom = self.freedom + own.freedom
        total = self.freedom * self.scale * reference.variance + own.freedom * own.variance
        return Spread(total / freedom, freedom) if freedom else Spread()


def likeness(pairs: Sequence[tuple[Spread, Spread]]) -> Likeness | None:
    """What numbers' (own, reference) have in common; None where they are too few to say.

    Moments of the logarithms of their ratios, as Smyth (2004), section 6.2.
    """
    from scipy.special import digamma, polygamma

    known = [
        (own.variance / reference.variance, own.freedom / 2)
        for own, reference in pairs
        if own.variance > 0 and reference.variance > 0
    ]
    if len(known) < TOGETHER:
        return None
    ratios, halves = (np.array(column) for column in zip(*known, strict=True))
    logs = np.log(ratios) - digamma(halves) + np.log(halves)
    excess = float(np.var(logs, ddof=1) - np.mean(polygamma(1, halves)))
    half = min(MOST / 2, _inverse_trigamma(excess)) if excess > 0 else MOST / 2
    middle = float(np.mean(logs))
    return Likeness(math.exp(middle + float(digamma(half)) - math.log(half)), 2 * half)


def _inverse_trigamma(value: float) -> float:
    """Newton's iteration of Smyth's (2004) appendix."""
    from scipy.special import polygamma

    at = 0.5 + 1 / value
    for _ in range(50):
        now = float(polygamma(1, at))
        step = now * (1 - now / value) / float(polygamma(2, at))
        at += step
        if -step / at < 1e-8:
            break
    return at


@dataclass(frozen=True)
class Lender:
    """What the numbers of one generator lend each other.

    `draws`: how variances over draws go with the floor's; `seeds`: those over seeds with those
    over draws; `drawn_once`: with the floor's, where a seed has one draw.
    """

    draws: Likeness | None = None
    seeds: Likeness | None = None
    drawn_once: Likeness | None = None

    def lend(self, noise: Noise) -> Spread:
        """The variance of one seed's mean, as far as anything shows it."""
        if noise.seeds.freedom:
            alike = self.seeds if noise.draws.freedom else self.drawn_once
            if alike is None and noise.seeds.freedom < STRANGERS:
                alike = Likeness((FIT if noise.draws.freedom else REAL) ** 2, STRANGERS)
            return alike.shrink(noise.seeds, self.drawn(noise)) if alike else noise.seeds
        least = FAR * noise.far * FAR * noise.far
        if not noise.draws.freedom:
            return Spread(max(REAL**2 * noise.floor.variance, least), noise.floor.freedom)
        variance = max(noise.draws.variance, noise.floor.variance)
        return Spread(max(FIT**2 * variance, least), noise.draws.freedom + noise.floor.freedom)

    def drawn(self, noise: Noise) -> Spread:
        """The variance that draws of one fitted generator show, or the floor's in their place."""
        if not noise.draws.freedom:
            return noise.floor
        return self.draws.shrink(noise.draws, noise.floor) if self.draws else noise.draws


def lender(numbers: Sequence[Noise]) -> Lender:
    """What the numbers of one generator lend each other."""
    only = Lender(likeness([(one.draws, one.floor) for one in numbers if one.draws.freedom]))
    once, often = (
        likeness(
            [
                (one.seeds, only.drawn(one))
                for one in numbers
                if one.seeds.freedom and bool(one.draws.freedom) == drawn
            ]
        )
        for drawn in (False, True)
    )
    return Lender(only.draws, often, once)
