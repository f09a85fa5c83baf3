"""Verdicts: what a run's numbers say of each generator, by the rules that its suite states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from haplobench.report.evidence import Attack
from haplobench.report.leaderboard.board import Leaderboard
from haplobench.report.leaks import Exposed, exposed_people
from haplobench.report.model import Column, DatasetSummary, Summary
from haplobench.results.description import CohortInfo
from haplobench.suite.schema import VerdictSettings

Likeness = Literal["yes", "in part", "no", "not assessed"]
Leaking = Literal["yes", "not seen", "can't tell"]
Lacking = tuple[tuple[str, tuple[str, ...]], ...]
"""Reasons why there is no number, and the titles of the numbers that there are none of."""


@dataclass(frozen=True)
class Inside:
    """How many of a family's headline numbers lie inside the floor, or are better.

    Attributes
    ----------
    answer : str
        `yes`: the rules' share `faithful` of them do and none is far outside; `in part`: the
        share `in_part` does; `not assessed`: none has a value and a floor.
    inside, judged : int
    outside, far : tuple of str
        Titles of the others, those far outside apart.
    """

    answer: Likeness
    inside: int = 0
    judged: int = 0
    outside: tuple[str, ...] = ()
    far: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """An attack that was run: its number's title and value, and what it found."""

    number: str
    title: str
    value: float
    headline: bool
    attack: Attack


@dataclass(frozen=True)
class Leaks:
    """Whether training people are given away beyond what held-out people are.

    Attributes
    ----------
    answer : str
        `yes`: an attack finds a leak; `not seen`: none does, and one at least would have found
        a leak that matters; `can't tell`: no attack could be run, or none that would have.
    attempts : tuple of Attempt
        Those that find a leak first, the surest first; headline numbers before others.
    people : tuple of Exposed or None
        Training people who are named, the surest first; None where nobody was looked for by name.
    reason : str
        Why it can't be told; empty otherwise.
    """

    answer: Leaking
    attempts: tuple[Attempt, ...] = ()
    people: tuple[Exposed, ...] | None = None
    reason: str = ""

    @property
    def named(self) -> int | None:
        """How many training people are named; None where nobody was looked for by name."""
        return None if self.people is None else len(self.people)

    def found(self, *findings: str) -> list[Attempt]:
        """Attempts with these findings."""
        return [one for one in self.attempts if one.attack.finding in findings]

    @property
    def sure(self) -> bool:
        """Whether every headline attack would have found a leak that matters."""
        return self.answer == "not seen" and not any(one.headline for one in self.found("unclear"))


@dataclass(frozen=True)
class Verdict:
    """What is said of one row of a dataset's tables."""

    dataset: str
    generator: str
    role: str
    faithful: Inside
    useful: Inside
    leaks: Leaks
    lacking: Lacking


@dataclass(frozen=True)
class DatasetVerdicts:
    """Verdicts of a dataset: generators from the best to the worst, then controls.

    `best`: the leaderboard's first, or without one the first of several that doesn't leak.
    """

    dataset: str
    rows: tuple[Verdict, ...]
    best: tuple[str, ...] = ()

    def labels(self, answer: Leaking) -> list[str]:
        """Generators of which this is said."""
        return [
            row.generator
            for row in self.rows
            if row.role == "generator" and row.leaks.answer == answer
        ]


def reach_verdicts(summary: Summary, boards: Sequence[Leaderboard] = ()) -> list[DatasetVerdicts]:
    """Verdicts of every dataset, in their order."""
    people = exposed_people(summary.run, summary.rules)
    ranked = {board.dataset: board for board in reversed(boards)}
    found = []
    for label, dataset in summary.datasets.items():
        rows = [
            Verdict(
                label,
                cohort.label,
                cohort.role,
                _inside(dataset, cohort, "fidelity", summary.rules),
                _inside(dataset, cohort, "utility", summary.rules),
                _leaks(dataset, cohort.label, people.get((label, cohort.label))),
                _lacking(dataset, cohort.label),
            )
            for cohort in dataset.cohorts
            if cohort.role != "floor"
        ]
        found.append(_in_order(label, rows, ranked.get(label)))
    return found


def _inside(
    dataset: DatasetSummary, cohort: CohortInfo, family: str, rules: VerdictSettings
) -> Inside:
    bands: dict[str, list[str]] = {}
    for column in dataset.headline(family):
        elsewhere = cohort.site_matched is False and column.submetric.site_matched
        if column.submetric.evidence or elsewhere:
            continue
        bands.setdefault(dataset.cell(cohort.label, column).band, []).append(column.title)
    outside, far = bands.get("outside", []), bands.get("far", [])
    inside = len(bands.get("within", [])) + len(bands.get("better", []))
    judged = inside + len(outside) + len(far)
    answer: Likeness = "no"
    if not judged:
        answer = "not assessed"
    elif inside >= rules.faithful * judged and not far:
        answer = "yes"
    elif inside >= rules.in_part * judged:
        answer = "in part"
    return Inside(answer, inside, judged, tuple(outside), tuple(far))


def _leaks(dataset: DatasetSummary, label: str, people: Sequence[Exposed] | None) -> Leaks:
    attempts, reasons = [], []
    for column in dataset.columns:
        cell = dataset.cell(label, column)
        if cell.attack is not None and cell.value is not None:
            number = f"{column.metric}.{column.submetric.name}"
            headline = column.submetric.headline
            attempts.append(Attempt(number, column.title, cell.value, headline, cell.attack))
        elif column.submetric.evidence and cell.reason:
            reasons.append(cell.reason)
    attempts.sort(
        key=lambda one: (
            one.attack.finding != "leak",
            not one.headline,
            one.attack.adjusted if one.attack.finding == "leak" else 0.0,
        )
    )
    answer: Leaking = "can't tell"
    reason = ""
    findings = {one.attack.finding for one in attempts}
    if "leak" in findings:
        answer = "yes"
    elif "clear" in findings:
        answer = "not seen"
    elif attempts:
        reason = "too few people for any attack to show a leak that matters"
    else:
        reason = max(reasons, key=reasons.count, default="no attack was run")
    return Leaks(answer, tuple(attempts), None if people is None else tuple(people), reason)


def _lacking(dataset: DatasetSummary, label: str) -> Lacking:
    """Headline numbers and evidence that this row has none of, by reason; and what has no floor."""
    reasons: dict[str, dict[str, None]] = {}
    for column in dataset.columns:
        if not column.submetric.headline and not column.submetric.evidence:
            continue
        cell = dataset.cell(label, column)
        if cell.value is None:
            reason = cell.reason or "not measured"
        elif _without_floor(dataset, column):
            reason = "no floor to hold it against"
        else:
            continue
        reasons.setdefault(reason, {})[column.title] = None
    return tuple((reason, tuple(titles)) for reason, titles in reasons.items())


def _without_floor(dataset: DatasetSummary, column: Column) -> bool:
    info = column.submetric
    judged = column.family in ("fidelity", "utility") and info.direction != "info"
    return judged and not info.evidence and column.key not in dataset.floors


_BY_LEAK: Mapping[Leaking, int] = {"not seen": 0, "can't tell": 1, "yes": 2}


def _in_order(label: str, rows: Sequence[Verdict], board: Leaderboard | None) -> DatasetVerdicts:
    """By the leaderboard's places; those it doesn't rank by leak, then by numbers inside."""
    ranked = board.rows if board else ()
    places = {row.label: at for at, row in enumerate(ranked)}

    def key(row: Verdict) -> tuple[bool, int, int, float]:
        share = row.faithful.inside / row.faithful.judged if row.faithful.judged else 0.0
        place = places.get(row.generator, len(places))
        return row.role == "control", place, _BY_LEAK[row.leaks.answer], -share

    ordered = sorted(rows, key=key)
    best = tuple(board.leaders) if board else ()
    rivals = [row for row in ordered if row.role == "generator"]
    if not best and len(rivals) > 1 and rivals[0].leaks.answer != "yes":
        best = (rivals[0].generator,)
    return DatasetVerdicts(label, tuple(ordered), best)
