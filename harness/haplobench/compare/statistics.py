"""Comparing one number: what its values say, whichever metric they are of."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.compare.model import Test
from haplobench.results.description import SubmetricInfo
from haplobench.suite.schema import CompareSettings
from haplobench.units import counted

Floats = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A difference, its interval and its two-sided p-value (None: no estimate of its noise)."""

    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


def paired(differences: Floats, confidence: float = 0.95) -> Estimate:
    """Student's paired t test of (n,) differences of seeds, head less base.

    With the 5 to 20 seeds that a suite can afford, intervals of a percentile bootstrap are too
    narrow (Hesterberg, The American Statistician 69, 371-386, 2015), so the t interval is used.
    Where all differences are equal there is no noise: p is 0, or 1 if they are 0.
    """
    values = np.asarray(differences, np.float64)
    mean = float(values.mean())
    if values.size < 2:
        return Estimate(mean)
    deviation = float(values.std(ddof=1))
    return _student(mean, deviation / math.sqrt(values.size), values.size - 1.0, confidence)


def two_sample(base: Floats, head: Floats, confidence: float = 0.95) -> Estimate:
    """Welch's t test of the difference of means, head less base; for sides without pairs.

    Welch, B. L. Biometrika 34, 28-35 (1947).
    """
    first, second = np.asarray(base, np.float64), np.asarray(head, np.float64)
    difference = float(second.mean() - first.mean())
    if first.size < 2 or second.size < 2:
        return Estimate(difference)
    parts = np.array([first.var(ddof=1) / first.size, second.var(ddof=1) / second.size])
    variance = float(parts.sum())
    if variance == 0:
        return _student(difference, 0.0, 1.0, confidence)
    freedom = variance**2 / float((parts**2 / np.array([first.size - 1, second.size - 1])).sum())
    return _student(difference, math.sqrt(variance), freedom, confidence)


def against_noise(
    difference: float, deviation: float, freedom: float, confidence: float = 0.95
) -> Estimate:
    """One value a side, each with the standard deviation that other draws have shown.

    `freedom`: degrees of freedom of that standard deviation.
    """
    return _student(difference, deviation * math.sqrt(2), freedom, confidence)


def _student(difference: float, error: float, freedom: float, confidence: float) -> Estimate:
    from scipy.special import stdtr, stdtrit

    # Sums of rounded numbers: what is equal but for its last digits has no noise.
    if error <= 1e-12 * abs(difference) or error == 0:
        return Estimate(difference, difference, difference, 0.0 if difference else 1.0)
    half = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Estimate(difference, difference - half, difference + half, p_value)


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
        return Estimate(0.0, 0.0, 0.0, 1.0)
    p_value = float(mannwhitneyu(first, second, alternative="two-sided").pvalue)
    pairs = np.sort((second[:, None] - first[None, :]).ravel())
    spread = math.sqrt(pairs.size * (first.size + second.size + 1) / 12)
    cut = pairs.size / 2 - float(ndtri(0.5 + confidence / 2)) * spread
    at = min(max(0, math.floor(cut)), (pairs.size - 1) // 2)
    low, high = float(pairs[at]), float(pairs[pairs.size - 1 - at])
    return Estimate(difference, min(low, difference), max(high, difference), p_value)


def holm(p_values: Floats) -> NDArray[np.float64]:
    """P-values (n,) adjusted so that the probability of any false alarm up to q is at most q.

    Holm, S. Scandinavian Journal of Statistics 6, 65-70 (1979).
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


Values = Mapping[int, Mapping[int, float]]
"""By seed, then by draw."""

MIN_REPEATS = 7
"""Repeats a side from which a rank test can tell times apart."""
RANK_LEVEL = 0.002
"""Greatest p-value of a rank test at which times are called changed."""
ROUNDING = 1e-5
"""Relative differences up to this are rounding: a baseline stores six digits."""


@dataclass(frozen=True)
class Outcome:
    """What was found of one number.

    `beyond`: the difference is larger than the least effect and than its noise, before the
    correction for many tests. `worse`: head is. `untestable`: why the sides can't be compared.
    """

    base: float | None = None
    head: float | None = None
    base_n: int = 0
    head_n: int = 0
    difference: float | None = None
    relative: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n_pairs: int = 0
    test: Test = ""
    beyond: bool = False
    worse: bool = False
    reason: str = ""
    untestable: str = ""

    def shown(self) -> dict[str, Any]:
        """The fields that a row shares."""
        names = (
            "base", "head", "base_n", "head_n", "difference", "relative", "low", "high",
            "p_value", "n_pairs", "test",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


def compare_numbers(
    base: Values,
    head: Values,
    definition: SubmetricInfo,
    settings: CompareSettings,
    *,
    timed: bool,
    noise: Sequence[Sequence[float]] = (),
    unrepeatable: str = "",
) -> Outcome:
    """Compare the values of one number.

    Parameters
    ----------
    base, head : mapping
        Values by seed and draw.
    definition : SubmetricInfo
        `min_effect` is a ratio less one where `timed`.
    settings : CompareSettings
    timed : bool
        Times, rates, memory: medians and ranks in place of means of seeds.
    noise : sequence of sequences
        Values over draws of real people, for sides with nothing else to take noise from.
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
    closer = definition.direction == "closer"
    ideal = definition.ideal if closer and definition.ideal is not None else None
    old = {seed: value if ideal is None else abs(value - ideal) for seed, value in first.items()}
    new = {seed: value if ideal is None else abs(value - ideal) for seed, value in second.items()}
    seeds = sorted(old.keys() & new.keys())
    size = max(abs(shown.base), abs(shown.head))
    if first == second:
        tested = Estimate(0.0, 0.0, 0.0, 1.0)
        test: Test = "identical"
        reason = untestable = ""
    else:
        tested, test, reason, untestable = _tested(
            (base, head), (old, new), seeds, ideal, settings, noise, unrepeatable
        )
    over = (
        plain.fmean(old[seed] for seed in seeds) if test == "paired" else plain.fmean(old.values())
    )
    worse = tested.difference < 0 if definition.direction == "higher" else tested.difference > 0
    effect = abs(tested.difference) > max(definition.min_effect, ROUNDING * size)
    excludes = tested.low is not None and tested.high is not None and (
        tested.low > 0 or tested.high < 0
    )  # fmt: skip
    return Outcome(
        base=shown.base,
        head=shown.head,
        base_n=len(first),
        head_n=len(second),
        difference=tested.difference,
        relative=tested.difference / abs(over) if over else None,
        low=tested.low,
        high=tested.high,
        p_value=tested.p_value,
        n_pairs=len(seeds) if test in ("paired", "identical") else 0,
        test=test,
        beyond=effect and excludes and definition.direction != "info",
        worse=worse,
        reason=reason if effect else "",
        # A difference too small to matter needs no test.
        untestable=untestable if effect and definition.direction != "info" else "",
    )


def _by_seed(values: Values) -> dict[int, float]:
    """The mean over each seed's draws."""
    return {seed: plain.fmean(draws.values()) for seed, draws in values.items() if draws}


def _tested(
    raw: tuple[Values, Values],
    losses: tuple[Mapping[int, float], Mapping[int, float]],
    seeds: Sequence[int],
    ideal: float | None,
    settings: CompareSettings,
    noise: Sequence[Sequence[float]],
    unrepeatable: str,
) -> tuple[Estimate, Test, str, str]:
    """The estimate, its test, what weakens it, and why there is none."""
    (base, head), (old, new), level = raw, losses, settings.confidence
    if len(seeds) >= 2:
        return paired([new[s] - old[s] for s in seeds], level), "paired", "", ""
    if len(old) >= 2 and len(new) >= 2:
        estimate = two_sample(list(old.values()), list(new.values()), level)
        return estimate, "two-sample", "other seeds on either side: not paired", ""
    difference = plain.fmean(new.values()) - plain.fmean(old.values())
    few = f"{counted(len(old), 'seed')} in base, {counted(len(new), 'seed')} in head"
    if unrepeatable:
        why = f"{few}, and two fits of one seed differ by design: {unrepeatable}"
        return Estimate(difference), "", "", f"{why}; two seeds on either side can be tested"
    if len(old) == len(new) == 1:
        draws = [_losses(next(iter(side.values())), ideal) for side in (base, head)]
        shared = sorted(draws[0].keys() & draws[1].keys()) if seeds else []
        if len(shared) >= 3:
            estimate = paired([draws[1][draw] - draws[0][draw] for draw in shared], level)
            return estimate, "draws", "one seed: the noise of fitting is not in the test", ""
    spread = [_losses(dict(enumerate(values)), ideal) for values in noise]
    if spread:
        wide = max(spread, key=lambda side: plain.stdev(side.values()))
        deviation = plain.stdev(wide.values())
        if deviation > 0:
            estimate = against_noise(difference, deviation, len(wide) - 1.0, level)
            return estimate, "floor", f"{few}: noise taken from the floor's draws", ""
    return Estimate(difference), "", "", f"{few}: no estimate of the noise, so it can't be tested"


def _losses(values: Mapping[int, float], ideal: float | None) -> dict[int, float]:
    return {at: value if ideal is None else abs(value - ideal) for at, value in values.items()}


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
    effect = old != new and ratio > 1 + definition.min_effect
    sure = tested.p_value is not None and tested.p_value < RANK_LEVEL
    untestable = ""
    if not enough and effect and definition.direction != "info":
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
