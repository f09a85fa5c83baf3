"""Comparing two sides: which numbers are paired, how each is tested, and what it is called."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from haplobench.compare.model import TOLD, Cohort, Comparison, Key, Number, Row, SideData, Status
from haplobench.compare.statistics import (
    RANK_LEVEL,
    ROUNDING,
    Lender,
    Noise,
    Outcome,
    compare_numbers,
    detectable,
    lender,
    number_noise,
)
from haplobench.errors import BenchError
from haplobench.report.evidence import holm
from haplobench.results.description import SubmetricInfo
from haplobench.results.records import FAILED, FLOOR
from haplobench.results.table import role_order
from haplobench.suite.schema import CompareSettings
from haplobench.suite.source import key_text, structural_problems

PERFORMANCE = "performance"
UNTOLD: Status = "can't tell"
UNNAMED = 0.05
"""Share of a value that stands for the least effect of a metric that names none."""
# How a record begins that says what a machine lacks.
NOT_AVAILABLE = "not available: "


def compare(
    base: SideData,
    head: SideData,
    settings: CompareSettings | None = None,
    *,
    allow_missing: bool = False,
) -> Comparison:
    """Compare two sides.

    `settings`: head's suite's, base's, or the defaults, where None. `allow_missing`: what head
    lacks doesn't fail the comparison.

    Raises BenchError if a side's own settings don't validate.
    """
    if settings is None:
        chosen = head if head.settings is not None else base
        problems = structural_problems(chosen.settings or {}, CompareSettings)
        if problems:
            key, message = problems[0]
            raise BenchError(
                f"{chosen.side.source or chosen.side.name}: compare.{key_text(key)}: {message}",
                hint="--suite names the suite whose section counts",
            )
        settings = CompareSettings.model_validate(chosen.settings or {})
    rows: list[Row] = []
    for place in _places(base, head):
        rows += _cohort_rows(base, head, place, settings)
    if allow_missing:
        rows = [replace(row, gated=row.gated and row.status != "missing") for row in rows]
    rows, correction = _control_false_alarms(rows, settings)
    rows = [_without_power(row, settings) for row in rows]
    return Comparison(
        base=base.side,
        head=head.side,
        rows=tuple(rows),
        confidence=settings.confidence,
        alpha=settings.alpha,
        correction=correction,
        warnings=(*_warnings(base, head), *_untold(rows, settings)),
        allow_missing=allow_missing,
    )


def _places(base: SideData, head: SideData) -> list[tuple[str, str]]:
    """Datasets and generators of both sides; floor and controls first."""
    places = list(dict.fromkeys([*head.cohorts, *base.cohorts]))
    datasets = list(dict.fromkeys(dataset for dataset, _ in places))

    def order(place: tuple[str, str]) -> tuple[int, int]:
        cohort = head.cohorts.get(place) or base.cohorts[place]
        return (datasets.index(place[0]), role_order(cohort.role))

    return sorted(places, key=order)


def _warnings(base: SideData, head: SideData) -> Iterable[str]:
    first, second = base.side, head.side
    if first.suite and second.suite and first.suite != second.suite:
        yield f"base is a run of suite {first.suite}, head of {second.suite}"
    for name, side in (("base", first), ("head", second)):
        if not side.complete:
            yield f"{name} is an unfinished run: it was interrupted, or is still running"
        if side.git_dirty:
            yield f"{name} ran with uncommitted changes"
    if first.hardware and second.hardware and first.hardware != second.hardware:
        yield "other hardware: times, rates and memory aren't compared"
    missing, more = set(first.seeds) - set(second.seeds), set(second.seeds) - set(first.seeds)
    if missing or more:
        yield f"seeds differ: base {_listed(first.seeds)}, head {_listed(second.seeds)}"


def _untold(rows: Iterable[Row], settings: CompareSettings) -> Iterable[str]:
    gated = [row.status for row in rows if row.gated and row.status in (*TOLD, UNTOLD)]
    if UNTOLD in gated:
        yield (
            f"can't tell {gated.count(UNTOLD):,} of {len(gated):,} gated numbers: these runs would "
            f"not have shown a change of {settings.reach:g} times the least effect; more seeds do"
        )


def _listed(seeds: Iterable[int]) -> str:
    listed = [str(seed) for seed in seeds]
    return ", ".join(listed[:10]) + (" …" if len(listed) > 10 else "")


# --- one generator on one dataset -----------------------------------------------------------


def _cohort_rows(
    base: SideData, head: SideData, place: tuple[str, str], settings: CompareSettings
) -> list[Row]:
    """Rows of one generator: itself, if it failed or is on one side only; or its numbers."""
    dataset, generator = place
    old, new = base.cohorts.get(place), head.cohorts.get(place)
    role = (new or old or Cohort()).role
    gated = _gates_role(role, settings)
    whole = Row(dataset, generator, "unchanged", role=role, title=generator, gated=gated)
    if new is None:
        return [replace(whole, status="missing", reason="not in head")]
    if old is None:
        return [replace(whole, status="new", reason="not in base")]
    broken = _failure(base, head, (*place, ""), old, new)
    rows = [replace(whole, **broken)] if broken else []
    old_keys = {key: number for key, number in base.numbers.items() if _at(key, place)}
    new_keys = {key: number for key, number in head.numbers.items() if _at(key, place)}
    has_old = any(number.values for number in old_keys.values())
    has_new = any(number.values for number in new_keys.values())
    if not (has_old and has_new):
        if not rows and has_new and (*place, "") in base.failures:
            rows = [replace(whole, status="new", reason="failed in base")]
        elif not rows and has_old:
            rows = [replace(whole, status="missing", reason="nothing of it was measured in head")]
        return rows
    obstacle = _obstacle(base, head, place, old, new)
    metrics = list(dict.fromkeys(key.metric for key in [*new_keys, *old_keys]))
    failing = {where[2] for where in [*head.failures, *base.failures] if where[:2] == place}
    sides = {
        key: (old_keys.get(key, Number()), new_keys.get(key, Number()))
        for key in [*new_keys, *old_keys]
        if key.submetric
    }
    known = {
        key: _overridden(_definition(base, head, key, numbers), key, settings)
        for key, numbers in sides.items()
        if any(number.values for number in numbers)
    }
    noises = {
        key: number_noise(first.values, second.values, known[key][0], _floor(base, head, key))
        for key, (first, second) in sides.items()
        if first.values and second.values and second.family != PERFORMANCE
    }
    lends = lender(list(noises.values()))
    for metric in [*metrics, *sorted(failing - set(metrics) - {""})]:
        family = _family(metric, new_keys, old_keys)
        broken = _failure(base, head, (*place, metric), old, new)
        if broken:
            rows.append(
                replace(
                    whole,
                    **{"gated": gated and family in settings.gate, **broken},
                    metric=metric,
                    family=family,
                    title=metric,
                )
            )
        for key in (key for key in known if key.metric == metric):
            numbers = sides[key]
            if broken and not numbers[1].values:
                continue  # the failed metric is one row, not one for each of its numbers
            noise = (noises.get(key), lends)
            row = _number_row(base, head, key, numbers, known[key], noise, obstacle, settings, role)
            if row is not None:
                rows.append(row)
    return rows


def _at(key: Key, place: tuple[str, str]) -> bool:
    return (key.dataset, key.generator) == place


def _family(metric: str, *sides: Mapping[Key, Number]) -> str:
    found = (n.family for side in sides for k, n in side.items() if k.metric == metric)
    return next(found, "")


def _gates_role(role: str, settings: CompareSettings) -> bool:
    return role == "generator" or (role == "control" and settings.controls)


def _failure(
    base: SideData, head: SideData, where: tuple[str, str, str], old: Cohort, new: Cohort
) -> dict[str, Any]:
    """What a row says of a cell or metric that fails in head; empty where none does newly."""
    failed, before = head.failures.get(where, {}), base.failures.get(where, {})
    if not failed:
        return {}
    reason = next(iter(failed.values()))
    if len(new.cells) > 1:
        reason = f"{len(failed)} of {len(new.cells)} seeds: {reason}"
    # Seeds that base never ran can only be told from base's having failed nowhere.
    newly = [seed for seed in failed if seed not in before]
    if not newly:
        return {"status": "incomparable", "reason": f"failed in base too; {reason}"}
    if before and not set(newly) & set(old.cells):
        return {"status": "incomparable", "reason": f"failed in base too; {reason}"}
    if not any(text.startswith(tuple(FAILED)) for text in failed.values()):
        # Left out, as the suite allows: this machine lacks what it needs.
        return {"status": "missing", "reason": reason, "gated": False}
    return {"status": "failed", "reason": reason}


def _obstacle(
    base: SideData, head: SideData, place: tuple[str, str], old: Cohort, new: Cohort
) -> str:
    """Why no number of a generator can be compared, or what a reader should know, after `~`."""
    first, second = base.datasets.get(place[0], ""), head.datasets.get(place[0], "")
    if first != second:
        return f"other data: digest {first[:8] or 'none'} in base, {second[:8] or 'none'} in head"
    if old.generator != new.generator:
        return f"~{old.generator} in base, {new.generator} in head"
    if old.params != new.params:
        return "~other parameters"
    shared = [seed for seed in old.cells if seed in new.cells]
    if any(old.cells[seed] != new.cells[seed] for seed in shared):
        return "asked otherwise: number of haplotypes, filters or split"
    return ""


# --- one number -----------------------------------------------------------------------------


def _unrepeatable(base: SideData, head: SideData, key: Key) -> str:
    """Why fits of a number's generator differ from run to run, on one side at least; or empty."""
    cohorts = (side.cohorts.get((key.dataset, key.generator)) for side in (base, head))
    return next((one.unrepeatable for one in cohorts if one and one.unrepeatable), "")


def _definition(
    base: SideData, head: SideData, key: Key, numbers: tuple[Number, Number]
) -> SubmetricInfo:
    """What a number means: by head, since its code is the newer; or base; or its records."""
    name = (key.metric, key.submetric)
    known = head.definitions.get(name) or base.definitions.get(name)
    known = known or (head if numbers[1].values else base).submetric(key)
    assert known is not None
    return known


def _number_row(
    base: SideData,
    head: SideData,
    key: Key,
    numbers: tuple[Number, Number],
    known: tuple[SubmetricInfo, bool],
    noise: tuple[Noise | None, Lender],
    obstacle: str,
    settings: CompareSettings,
    role: str,
) -> Row | None:
    old, new = numbers
    definition, ignored = known
    if definition.direction == "info" and not (old.values and new.values):
        return None  # baselines leave them out
    family = new.family or old.family or definition.family
    timed = family == PERFORMANCE
    gated = (
        _gates_role(role, settings)
        and family in settings.gate
        and definition.direction != "info"
        and not ignored
        and (settings.labelled or not key.labels)
    )
    values = ", ".join(value for _, value in key.labels)
    title = definition.title or key.submetric
    row = Row(
        dataset=key.dataset,
        generator=key.generator,
        status="unchanged",
        role=role,
        metric=key.metric,
        submetric=key.submetric,
        family=family,
        labels=dict(key.labels),
        title=f"{title} ({values})" if values else title,
        unit=definition.unit or new.unit or old.unit,
        direction=definition.direction,
        ideal=definition.ideal,
        min_effect=definition.min_effect,
        relative_threshold=timed,
        gated=gated,
        headline=definition.headline,
    )
    outcome = compare_numbers(
        old.values,
        new.values,
        definition,
        settings,
        timed=timed,
        noise=noise[0],
        lends=noise[1],
        unrepeatable=_unrepeatable(base, head, key),
    )
    row = replace(row, **outcome.shown())
    if not new.values:
        lacking = new.note.startswith(NOT_AVAILABLE)
        why = new.note or "no value in head"
        return replace(row, status="missing", reason=why, gated=gated and not lacking)
    if not old.values:
        return replace(row, status="new", reason=old.note or "no value in base")
    trouble = "" if obstacle.startswith("~") else obstacle
    if old.version != new.version:
        trouble = trouble or f"metric version {old.version} in base, {new.version} in head"
    elif timed:
        place = (key.dataset, key.generator)
        trouble = trouble or _other_machine(base.cohorts[place], head.cohorts[place])
    if trouble:
        return replace(_untested(row), status="incomparable", reason=trouble)
    if outcome.untestable:
        return replace(_untested(row), status=UNTOLD, reason=outcome.untestable)
    note = obstacle.removeprefix("~")
    reason = "; ".join(text for text in (note, outcome.reason) if text)
    return replace(row, status=_provisional(outcome), reason=reason)


def _untested(row: Row) -> Row:
    return replace(
        row, low=None, high=None, p_value=None, test="", standard_error=None, freedom=0.0
    )


def _provisional(outcome: Outcome) -> Status:
    """What a row is called if its test holds against all the others."""
    if not outcome.beyond:
        return "unchanged"
    return "regressed" if outcome.worse else "improved"


def _overridden(
    definition: SubmetricInfo, key: Key, settings: CompareSettings
) -> tuple[SubmetricInfo, bool]:
    family = definition.family
    if family == PERFORMANCE:
        definition = replace(definition, min_effect=settings.slower)
    ignored = False
    for rule in settings.rules:
        if not rule.fits(key.generator, key.metric, key.submetric):
            continue
        if rule.min_effect is not None:
            definition = replace(definition, min_effect=rule.min_effect)
        if rule.direction is not None:
            # An ideal that is nobody's distance any more is the other direction's.
            kept = definition.direction == "closer" or rule.direction == definition.direction
            definition = replace(
                definition, direction=rule.direction, ideal=definition.ideal if kept else None
            )
        if rule.ignore is not None:
            ignored = rule.ignore
    if definition.direction == "closer" and definition.ideal is None:
        definition = replace(definition, direction="info")
    return definition, ignored


def _other_machine(old: Cohort, new: Cohort) -> str:
    if len(old.hardware | new.hardware) > 1 or "" in old.hardware:
        first, second = (" and ".join(sorted(side.hardware)) for side in (old, new))
        return f"other hardware: {first or 'unknown'} in base, {second or 'unknown'} in head"
    return ""


def _floor(base: SideData, head: SideData, key: Key) -> list[list[float]]:
    """Values of the number over draws of real people: each side's, where it has any."""
    found = []
    for side in (head, base):
        floor = side.numbers.get(replace(key, generator=FLOOR))
        if floor is not None and key.generator != FLOOR:
            draws = [value for seeds in floor.values.values() for value in seeds.values()]
            if len(draws) >= 2 and all(map(math.isfinite, draws)):
                found.append(draws)
    return found


# --- all numbers together -------------------------------------------------------------------


def _control_false_alarms(rows: list[Row], settings: CompareSettings) -> tuple[list[Row], str]:
    """Rows with `q_value`, and changes that don't stand against the number of tests undone.

    Gated and other rows, and times and other numbers, are corrected apart: a suite's many
    numbers that nobody gates shouldn't hide a regression, nor should noisy times. Holm's
    correction keeps the numbers beside a real regression quiet, where Benjamini and Hochberg's
    would let one in fifty of those it lists be chance (see benchmarks/aa_study). Ranks of few
    repeats have no p-values that small, but a slow-down shows in several times and rates at once,
    which is what Benjamini and Hochberg's makes use of.
    """
    from scipy.stats import false_discovery_control

    groups: dict[tuple[bool, bool], list[int]] = {}
    for at, row in enumerate(rows):
        if row.p_value is not None and row.direction != "info":
            groups.setdefault((row.gated, row.relative_threshold), []).append(at)
    for (_, timed), places in groups.items():
        adjust = false_discovery_control if timed else holm
        adjusted = adjust([rows[at].p_value or 0.0 for at in places])
        level = RANK_LEVEL if timed else settings.alpha / len(places)
        for at, q_value in zip(places, adjusted, strict=True):
            row = replace(rows[at], q_value=float(q_value))
            if row.standard_error is not None:
                found = detectable(row.standard_error, row.freedom, level)
                found = math.expm1(min(found, 700)) if timed else found
                row = replace(row, detectable=max(found, row.min_effect))
            if row.status in ("improved", "regressed") and q_value > settings.alpha:
                doubt = f"may be chance among {len(places)} numbers"
                reason = "; ".join(text for text in (row.reason, doubt) if text)
                row = replace(row, status="unchanged", reason=reason)
            rows[at] = row
    numbers, times = len(groups.get((True, False), ())), len(groups.get((True, True), ()))
    parts = [f"Holm over {numbers} gated numbers"] if numbers else []
    parts += [f"Benjamini-Hochberg over {times} gated times, rates and peaks"] if times else []
    return rows, "; ".join(parts)


def _without_power(row: Row, settings: CompareSettings) -> Row:
    """A row that is called unchanged without the power to be so called, as one that can't be told.

    That power is to find a change of `reach` least effects, or of `reach` twentieths of the value
    where the metric names none, and to exclude one.
    """
    if row.status != "unchanged" or row.detectable is None or row.test == "identical":
        return row
    if row.relative_threshold:
        reach, seen = settings.reach * row.min_effect, 0.0
    else:
        size = max(abs(row.base or 0.0), abs(row.head or 0.0))
        reach = settings.reach * max(row.min_effect or UNNAMED * size, ROUNDING * size)
        seen = max(abs(row.low or 0.0), abs(row.high or 0.0))
    if max(row.detectable, seen) <= reach:
        return row
    few = f"{row.base_n} and {row.head_n} seeds" if not row.relative_threshold else "noisy times"
    why = f"{few} would not have shown a change of {settings.reach:g} least effects"
    return replace(row, status=UNTOLD, reason="; ".join(t for t in (row.reason, why) if t))
