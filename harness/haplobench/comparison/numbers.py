"""Comparing one number: what its values say, whichever metric they are of."""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haplobench.comparison.measured import Definition
from haplobench.comparison.model import Test
from haplobench.comparison.settings import CompareSettings
from haplobench.comparison.statistics import Estimate, against_noise, paired, ranks, two_sample

Values = Mapping[int, Mapping[int, float]]
"""By seed, then by draw."""

MIN_REPEATS = 7
"""Repeats a side from which a rank test can tell times apart."""
RANK_LEVEL = 0.002
"""Greatest p-value of a rank test at which times are called changed."""
ROUNDING = 1e-5
"""Relative differences up to this are rounding: a baseline stores six digits."""


@dataclass(frozen=True)
class Judged:
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
    definition: Definition,
    settings: CompareSettings,
    *,
    timed: bool,
    noise: Sequence[Sequence[float]] = (),
    unrepeatable: str = "",
) -> Judged:
    """Compare the values of one number.

    Parameters
    ----------
    base, head : mapping
        Values by seed and draw.
    definition : Definition
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
    shown = Judged(
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
    return Judged(
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
    few = f"{_seeds(len(old))} in base, {_seeds(len(new))} in head"
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


def _seeds(n: int) -> str:
    return f"{n} seed" if n == 1 else f"{n} seeds"


def _losses(values: Mapping[int, float], ideal: float | None) -> dict[int, float]:
    return {at: value if ideal is None else abs(value - ideal) for at, value in values.items()}


# --- times, rates, memory -------------------------------------------------------------------


def _ranked(
    base: Values, head: Values, definition: Definition, settings: CompareSettings
) -> Judged:
    first, second = _repeats(base), _repeats(head)
    shown = {
        "base": plain.median(first) if first else None,
        "head": plain.median(second) if second else None,
        "base_n": len(first),
        "head_n": len(second),
    }
    old, new = shown["base"], shown["head"]
    if old is None or new is None:
        return Judged(**shown)  # type: ignore[arg-type]
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
    return Judged(
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
