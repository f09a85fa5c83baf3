"""Comparing one number: what its values say, whichever metric they are of, and how noisy it is.

Two seeds say next to nothing of how far a third would lie from them. Noise that few seeds can't
show is borrowed: first, from the spread over draws of one fitted generator, held against the
floor's (real people, drawn as often); then from that of the seeds, held against the draws'. How far
one may be taken for the other is learnt from all numbers of the generator at once: each variance is
drawn towards what the others make of its reference, the more so the better they agree (Smyth,
Statistical Applications in Genetics and Molecular Biology 3, 3, 2004).
"""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.compare.model import Test, Tested
from haplobench.results.description import SubmetricInfo
from haplobench.suite.schema import CompareSettings
from haplobench.units import counted

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


Floats = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A difference, its interval and its two-sided p-value (None: no estimate of its noise).

    `error` is its standard error, of `freedom` degrees of freedom; of times that of the logarithm
    of their ratio.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    error: float | None = None
    freedom: float = 0.0


def detectable(error: float, freedom: float, level: float) -> float:
    """The difference that four in five tests at this level (two-sided) would find.

    Of the noncentral t distribution.
    """
    from scipy.special import nctdtrinc, stdtrit

    if error == 0:
        return 0.0
    return float(error * nctdtrinc(freedom, 1 - FOUND, stdtrit(freedom, 1 - level / 2)))


def student(difference: float, error: float, freedom: float, confidence: float) -> Estimate:
    """Student's t test of a difference of means with a standard error.

    With the 5 to 20 seeds that a suite can afford, intervals of a percentile bootstrap are too
    narrow (Hesterberg, The American Statistician 69, 371-386, 2015), so the t interval is used.
    Without any noise p is 0, or 1 for no difference.
    """
    from scipy.special import stdtr, stdtrit

    # Sums of rounded numbers: what is equal but for its last digits has no noise.
    if error <= 1e-12 * abs(difference) or error == 0:
        return Estimate(difference, difference, difference, 0.0 if difference else 1.0, 0.0)
    half = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Estimate(difference, difference - half, difference + half, p_value, error, freedom)


def ranks(base: Floats, head: Floats, confidence: float = 0.95) -> Estimate:
    """Mann-Whitney test; the difference is that of the medians.

    The interval is the one that inverts the test (order statistics of all head-less-base
    differences, normal approximation), widened where need be to hold the difference itself.
    """
    from scipy.special import ndtri
    from scipy.stats import mannwhitneyu

    first, second = np.asarray(base, np.float64), np.asarray(head, np.float64)
    difference = float(np.median(second) - np.median(first))
    if first.size < 2 or second.size < 2:
        return Estimate(difference)
    if np.ptp(np.concatenate([first, second])) == 0:
        return Estimate(0.0, 0.0, 0.0, 1.0, 0.0)
    p_value = float(mannwhitneyu(first, second, alternative="two-sided").pvalue)
    pairs = np.sort((second[:, None] - first[None, :]).ravel())
    spread = math.sqrt(pairs.size * (first.size + second.size + 1) / 12)
    cut = pairs.size / 2 - float(ndtri(0.5 + confidence / 2)) * spread
    at = min(max(0, math.floor(cut)), (pairs.size - 1) // 2)
    low, high = float(pairs[at]), float(pairs[pairs.size - 1 - at])
    return Estimate(
        difference, min(low, difference), max(high, difference), p_value, *_of_ratio(first, second)
    )


def _of_ratio(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Standard error of the logarithm of a ratio of times, and its degrees of freedom."""
    if min(first.min(), second.min()) <= 0:
        return math.inf, 1.0
    logs, freedom = (np.log(first), np.log(second)), first.size + second.size - 2.0
    squares = sum(float(side.var() * side.size) for side in logs)
    return math.sqrt(squares / freedom * (1 / first.size + 1 / second.size)), freedom


MIN_PAIRS = 5
"""Pairs of seeds from which the differences of pairs stand for the noise of either side."""
FOUND = 0.8
"""Share of comparisons that find a difference which is called detectable."""
LEAST_NOISE = (1.0, 1 / 3)
"""Standard deviation of one seed, of several below five pairs, in least effects, where less has
been seen."""
MIN_REPEATS = 7
"""Repeats a side from which a rank test can tell times apart."""
RANK_LEVEL = 0.002
"""Greatest p-value of a rank test at which times are called changed."""
ROUNDING = 1e-5
"""Relative differences up to this are rounding: a baseline stores six digits."""


@dataclass(frozen=True, kw_only=True)
class Outcome(Tested):
    """What was found of one number.

    `beyond`: the difference is larger than the least effect and than its noise, before the
    correction for many tests. `worse`: head is. `untestable`: why the sides can't be compared.
    """

    beyond: bool = False
    worse: bool = False
    reason: str = ""
    untestable: str = ""

    def shown(self) -> dict[str, Any]:
        """The fields that a row shares."""
        return {one.name: getattr(self, one.name) for one in fields(Tested)}


def number_noise(
    base: Values, head: Values, definition: SubmetricInfo, floors: Sequence[Sequence[float]]
) -> Noise:
    """What a number's values, and those of the floor on either side, say of its noise."""
    return noise_of(base, head, floors, _differences(*_losses_by_seed(base, head, definition)))


def compare_numbers(
    base: Values,
    head: Values,
    definition: SubmetricInfo,
    settings: CompareSettings,
    *,
    timed: bool,
    noise: Noise | None = None,
    lends: Lender | None = None,
    unrepeatable: str = "",
) -> Outcome:
    """Compare the values of one number.

    Parameters
    ----------
    base, head : mapping
        Values by seed and draw.
    definition : SubmetricInfo
        `min_effect` is a ratio less one where `timed`. Where the direction is `lower`, values
        below the ideal (chance, for an attack) are as good as the ideal.
    settings : CompareSettings
    timed : bool
        Times, rates, memory: medians and ranks in place of means of seeds.
    noise : Noise
        What `number_noise` says; None: of the values alone.
    lends : Lender
        What the numbers of the generator lend each other; None: nothing.
    unrepeatable : str
        Why a second fit with the same seed gives another generator (`Params.unrepeatable`): then
        draws of one fit, or of real people, don't have the noise that two fits differ by.
    """
    if timed:
        return _ranked(base, head, definition, settings)
    first, second = _by_seed(base), _by_seed(head)
    shown = Outcome(
        base=plain.fmean(first.values()) if first else None,
        head=plain.fmean(second.values()) if second else None,
        base_n=len(first),
        head_n=len(second),
    )
    if shown.base is None or shown.head is None:
        return shown
    old, new = _losses_by_seed(base, head, definition)
    size = max(abs(shown.base), abs(shown.head))
    difference = plain.fmean(new.values()) - plain.fmean(old.values())
    few = f"{counted(len(old), 'seed')} in base, {counted(len(new), 'seed')} in head"
    reason = untestable = ""
    test: Test = ""
    n_pairs = 0
    if _same(first, second):
        tested, test, n_pairs = Estimate(0.0, 0.0, 0.0, 1.0, 0.0), "identical", len(first)
    else:
        noise = noise or number_noise(base, head, definition, ())
        spread = lends.lend(noise) if lends else noise.seeds
        if pairs := _differences(old, new):
            difference, n_pairs = plain.fmean(pairs), len(pairs)
            shares, test = 2 / n_pairs, "paired"
        else:
            shares = 1 / len(old) + 1 / len(new)
            enough = min(len(old), len(new)) >= MIN_PAIRS
            test = "two-sample" if enough else "borrowed"
            reason = "other seeds on either side: not paired" if enough else _lent(few, noise)
            if not enough:
                least = (LEAST_NOISE[noise.seeds.freedom > 0] * definition.min_effect) ** 2
                spread = replace(spread, variance=max(spread.variance, least))
        if not noise.seeds.freedom and unrepeatable:
            untestable = f"{few}, and two fits of one seed differ by design: {unrepeatable}"
            untestable += "; two seeds on either side can be tested"
        elif not spread.freedom or (not spread.variance and not noise.seeds.freedom):
            untestable = f"{few}: no estimate of the noise, so it can't be tested"
        if untestable:
            tested, test, n_pairs = Estimate(difference), "", 0
        else:
            error = math.sqrt(spread.variance * shares)
            tested = student(difference, error, spread.freedom, settings.confidence)
    over = plain.fmean(old[seed] for seed in old if test != "paired" or seed in new)
    worse = difference < 0 if definition.direction == "higher" else difference > 0
    effect = abs(difference) > max(definition.min_effect, ROUNDING * size)
    excludes = tested.low is not None and tested.high is not None and (
        tested.low > 0 or tested.high < 0
    )  # fmt: skip
    return replace(
        shown,
        difference=tested.difference,
        relative=tested.difference / abs(over) if over else None,
        low=tested.low,
        high=tested.high,
        p_value=tested.p_value,
        standard_error=tested.error,
        freedom=tested.freedom,
        n_pairs=n_pairs,
        test=test,
        beyond=effect and excludes and definition.direction != "info",
        worse=worse,
        reason=reason if effect else "",
        untestable=untestable if definition.direction != "info" else "",
    )


def _same(first: Mapping[int, float], second: Mapping[int, float]) -> bool:
    """Whether both have the same seeds and, but for a baseline's rounding, the same values."""
    return first.keys() == second.keys() and all(
        math.isclose(value, second[seed], rel_tol=ROUNDING) for seed, value in first.items()
    )


def _by_seed(values: Values) -> dict[int, float]:
    """The mean over each seed's draws."""
    return {seed: plain.fmean(draws.values()) for seed, draws in values.items() if draws}


def _losses_by_seed(
    base: Values, head: Values, definition: SubmetricInfo
) -> tuple[dict[int, float], dict[int, float]]:
    """Each side's means by seed, as what differences are taken of."""
    old, new = (
        {seed: _loss(value, definition) for seed, value in _by_seed(side).items()}
        for side in (base, head)
    )
    return old, new


def _loss(value: float, definition: SubmetricInfo) -> float:
    """What a value is compared by: its distance from the ideal, or itself, up to the ideal."""
    ideal = definition.ideal
    if ideal is None:
        return value
    if definition.direction == "closer":
        return abs(value - ideal)
    return max(value, ideal) if definition.direction == "lower" else value


def _differences(old: Mapping[int, float], new: Mapping[int, float]) -> list[float]:
    """Head less base by pairs of seeds, where those are many enough to speak for themselves."""
    seeds = sorted(old.keys() & new.keys())
    return [new[seed] - old[seed] for seed in seeds] if len(seeds) >= MIN_PAIRS else []


def _lent(few: str, noise: Noise) -> str:
    """What weakens a test below five pairs."""
    if noise.seeds.freedom:
        return f"{few}: noise borrowed from draws and the floor"
    if noise.draws.freedom:
        return f"{few}: noise of fitting taken as {FIT:g} times that of draws"
    return f"{few}: noise taken as {REAL:g} times that of the floor"


# --- times, rates, memory -------------------------------------------------------------------


def _ranked(
    base: Values, head: Values, definition: SubmetricInfo, settings: CompareSettings
) -> Outcome:
    first, second = _repeats(base), _repeats(head)
    shown = {
        "base": plain.median(first) if first else None,
        "head": plain.median(second) if second else None,
        "base_n": len(first),
        "head_n": len(second),
    }
    old, new = shown["base"], shown["head"]
    if old is None or new is None:
        return Outcome(**shown)  # type: ignore[arg-type]
    enough = min(len(first), len(second)) >= MIN_REPEATS
    tested = ranks(first, second, settings.confidence) if enough else Estimate(new - old)
    ratio = max(old, new) / min(old, new) if min(old, new) > 0 else float("inf")
    differ = old != new and ratio > 1 + ROUNDING
    effect = differ and ratio > 1 + definition.min_effect
    sure = tested.p_value is not None and tested.p_value < RANK_LEVEL
    untestable = ""
    if not enough and differ and definition.direction != "info":
        untestable = (
            f"times are ranked from {MIN_REPEATS} repeats a side on: {len(first)} in base, "
            f"{len(second)} in head"
        )
    worse = new < old if definition.direction == "higher" else new > old
    if definition.direction == "closer" and definition.ideal is not None:
        worse = abs(new - definition.ideal) > abs(old - definition.ideal)
    return Outcome(
        **shown,  # type: ignore[arg-type]
        difference=new - old,
        relative=(new - old) / abs(old) if old else None,
        low=tested.low,
        high=tested.high,
        p_value=tested.p_value,
        standard_error=tested.error,
        freedom=tested.freedom,
        test="ranks" if enough else "",
        beyond=effect and enough and sure and definition.direction != "info",
        worse=worse,
        untestable=untestable,
    )


def _repeats(values: Values) -> list[float]:
    """One value per independent repeat.

    A cell is fitted once however often it is sampled: draws of a seed that all carry the same
    value are one repeat.
    """
    found: list[float] = []
    for draws in values.values():
        several = list(draws.values())
        found += several[:1] if len(set(several)) == 1 else several
    return found
