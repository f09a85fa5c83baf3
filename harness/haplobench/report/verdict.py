"""Verdicts: what a run's numbers say of each generator, by the rules that its suite states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from haplobench.report.evidence import Attack, Exposed, exposed_people
from haplobench.report.formatting import COUNTED, format_value
from haplobench.report.leaderboard import Leaderboard
from haplobench.report.model import Column, DatasetSummary, Summary
from haplobench.results.description import CohortInfo
from haplobench.suite.schema import VerdictSettings

Likeness = Literal["yes", "in part", "no", "can't tell", "not assessed"]
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
        share `in_part` does; `can't tell`: they would, but no control fails by them, so
        that they tell nothing apart; `not assessed`: none has a value and a floor.
    inside, judged : int
    outside, far : tuple of str
        Titles of the others, those far outside apart.
    reason : str
        Why nothing is assessed; empty otherwise, and where the run measures nothing of it.
    """

    answer: Likeness
    inside: int = 0
    judged: int = 0
    outside: tuple[str, ...] = ()
    far: tuple[str, ...] = ()
    reason: str = ""


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
                _leaks(
                    dataset,
                    cohort.label,
                    people.get((label, cohort.label)),
                    summary.run.doubt(label, cohort.label),
                ),
                _lacking(dataset, cohort.label),
            )
            for cohort in dataset.cohorts
            if cohort.role != "floor"
        ]
        found.append(_in_order(label, rows, ranked.get(label)))
    return found


_NO_MARK = "no mark: "


def _inside(
    dataset: DatasetSummary, cohort: CohortInfo, family: str, rules: VerdictSettings
) -> Inside:
    judged, unmarked, absent = [], [], []
    for column in dataset.headline(family):
        elsewhere = cohort.site_matched is False and column.submetric.site_matched
        cell = dataset.cell(cohort.label, column)
        if cell.value is None:
            absent.append(cell.reason or "not measured")
        elif cell.mark_note.startswith(_NO_MARK):
            unmarked.append(cell.mark_note.removeprefix(_NO_MARK))
        if cell.band and not column.submetric.evidence and not elsewhere:
            judged.append(column)
    if not judged:
        reason = next(iter(unmarked), "") or max(absent, key=absent.count, default="")
        return Inside("not assessed", reason=reason)
    found = _count(dataset, cohort.label, judged, rules)
    if found.answer != "yes":
        return found
    controls = [
        _count(dataset, one.label, judged, rules)
        for one in dataset.cohorts
        if one.role == "control"
    ]
    measured = [one for one in controls if one.judged]
    if not measured or any(one.answer == "no" or one.far for one in measured):
        return found
    # Numbers by which sites without LD are as good as real people could have told nobody's faults.
    return replace(found, answer="can't tell")


def _count(
    dataset: DatasetSummary, label: str, columns: Iterable[Column], rules: VerdictSettings
) -> Inside:
    """A row's numbers of these columns by their bands, and the answer that they give alone."""
    bands: dict[str, list[str]] = {}
    for column in columns:
        bands.setdefault(dataset.cell(label, column).band, []).append(column.title)
    outside, far = bands.get("outside", []), bands.get("far", [])
    inside = len(bands.get("within", [])) + len(bands.get("better", []))
    judged = inside + len(outside) + len(far)
    answer: Likeness = "no"
    if inside >= rules.faithful * judged and not far:
        answer = "yes"
    elif inside >= rules.in_part * judged:
        answer = "in part"
    return Inside(answer, inside, judged, tuple(outside), tuple(far))


def _leaks(
    dataset: DatasetSummary, label: str, people: Sequence[Exposed] | None, doubt: str
) -> Leaks:
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
        reason = doubt or "too few people for any attack to show a leak that matters"
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


# --- verdicts in words: in two lines of a terminal, and whole --------------------------------

_NO_CONTROL = "no control fails"
UNASSESSED = "Useful: not assessed, no headline number of this run measures utility."


@dataclass(frozen=True)
class Answer:
    """An answer for pages: in brief, whole, and the band whose colour and mark it has."""

    brief: str
    whole: str
    band: str


def faithful_band(inside: Inside) -> str:
    """The band that an answer is coloured as."""
    bands = {"yes": "within", "in part": "outside", "no": "far", "can't tell": "unclear"}
    return bands.get(inside.answer, "")


def leaks_band(leaks: Leaks) -> str:
    """The band that an answer is coloured as: good only where every headline attack has power."""
    if leaks.answer == "yes":
        return "leak"
    return "clear" if leaks.sure else "unclear"


def explain(rules: VerdictSettings) -> str:
    """How a verdict is reached, in a sentence."""
    return (
        f"A generator is faithful if {rules.faithful:.0%} or more of its headline fidelity numbers "
        f"lie inside the floor of real people and none far outside, in part from "
        f"{rules.in_part:.0%} on, and useful by the same of utility, if a control fails by the "
        "same numbers (else it can't be told); it leaks if an attack tells "
        f"its training people from held-out people (level {rules.level:g}, corrected for all "
        "attacks), and a leak is “not seen” only where one that matters would have been "
        f"(rules of version {rules.version}, stated in the suite)."
    ).replace("%", "\N{NO-BREAK SPACE}%")


def lead(verdicts: DatasetVerdicts) -> str:
    """Which generator is best, and which leak, in a line."""
    first = [row for row in verdicts.rows if row.generator in verdicts.best]
    best = [
        f"{row.generator} (faithful: {row.faithful.answer}; leaks: {row.leaks.answer})"
        for row in first
        if row.faithful.answer not in ("no", "can't tell")
    ]
    if verdicts.best and not best:
        near = [
            row.generator
            for row in verdicts.rows
            if row.role == "generator"
            and row.leaks.answer == "yes"
            and row.faithful.answer in ("yes", "in part")
        ]
        leaky = f"{' and '.join(near)} leak{'s' * (len(near) == 1)}; " if near else ""
        it, are = ("they", "are") if len(verdicts.best) > 1 else ("it", "is")
        unclear = any(row.faithful.answer == "can't tell" for row in first)
        but = f"nobody can tell whether {it} {are} faithful" if unclear else "not faithful"
        best = [f"none: {leaky}{' and '.join(verdicts.best)} {are} first by rank, but {but}"]
    parts = [
        ("Best", best),
        ("Leak", verdicts.labels("yes")),
        ("No leak seen", verdicts.labels("not seen")),
        ("Can't tell", verdicts.labels("can't tell")),
    ]
    return " ".join(f"{name}: {', '.join(labels)}." for name, labels in parts if labels)


def inside_words(inside: Inside) -> str:
    """An answer with the numbers that it rests on, all named."""
    if not inside.judged:
        return inside.answer + (f": {inside.reason}" if inside.reason else "")
    parts = [f"{inside.answer}: {_share(inside)} numbers inside the floor"]
    if inside.answer == "can't tell":
        parts.append(f"{_NO_CONTROL} by them, so that they can't tell good from bad")
    if inside.outside:
        parts.append(f"outside: {_listed(inside.outside)}")
    if inside.far:
        parts.append(f"far outside: {_listed(inside.far)}")
    return "; ".join(parts)


def leak_words(leaks: Leaks) -> str:
    """An answer with all attacks that it rests on."""
    if leaks.answer == "can't tell":
        weak = [_shows(one) for one in leaks.found("unclear")]
        return f"can't tell: {leaks.reason}" + (f" ({_listed(weak)})" if weak else "")
    if leaks.answer == "yes":
        parts = [_named(leaks)] if leaks.named is not None else []
        parts.append(_listed(_strength(one) for one in leaks.found("leak")))
        if unseen := leaks.found("unseen"):
            parts.append(f"not seen by {_listed(one.title for one in unseen)}")
        return f"yes: {'; '.join(parts)}; {_least(leaks)}"
    parts = [f"not seen; would show: {_listed(_shows(one) for one in leaks.found('clear'))}"]
    if weak := [_shows(one) for one in leaks.found("unclear")]:
        parts.append(f"too few people for {_listed(weak)}")
    if leaks.named:
        parts.append(_named(leaks))
    return "; ".join(parts)


def in_two_lines(verdict: Verdict, width: int) -> tuple[str, str]:
    """What is said of a row, in two lines of so many columns, with the names that fit in them."""
    tail = f"; useful: {_useful(verdict.useful)}" if verdict.useful.judged else ""
    first = f"faithful: {brief_faithful(verdict, width - len('faithful: ' + tail))}{tail}"
    return first, f"leaks: {brief_leaks(verdict.leaks, width - len('leaks: '))}"


def _useful(useful: Inside) -> str:
    return f"{useful.answer} ({_share(useful)})" if useful.judged else useful.answer


def brief_faithful(verdict: Verdict, width: int) -> str:
    """Whether a row is faithful, in so many columns."""
    faithful = verdict.faithful
    if not faithful.judged:
        return _cut(inside_words(faithful), width)
    short = f"{faithful.answer} ({_share(faithful)})"
    text = f"{faithful.answer} ({_share(faithful)} in the floor)"
    if faithful.answer == "can't tell" and len(text) + len(_NO_CONTROL) + 2 <= width:
        return f"{text}; {_NO_CONTROL}"
    for what, titles in (("far off", faithful.far), ("outside", faithful.outside)):
        if titles:
            count = f"; {len(titles)} {what}" if len(titles) > 1 else f"; {what}: {titles[0]}"
            whole = _fit(f"{text}; {what}: ", titles, text + count, width)
            forms = (whole, short + count, text, short)
            return next((form for form in forms if len(form) <= width), _cut(short, width))
    return text if len(text) <= width else _cut(short, width)


def brief_leaks(leaks: Leaks, width: int) -> str:
    """Whether training people are given away, in so many columns."""
    if leaks.answer == "can't tell":
        return _cut(f"can't tell: {leaks.reason}", width)
    if leaks.answer == "yes":
        head = f"yes; {_named(leaks)}; " if leaks.named is not None else "yes; "
        tail = f"; {_least(leaks)}"
        names = [_strength(one) for one in leaks.found("leak")]
        without = f"{head}{_attacks(names)}"
    else:
        head, weak = "not seen; would show: ", len(leaks.found("unclear"))
        tail = f"; {weak} too weak" if weak else ""
        tail += f"; {_named(leaks)}" if leaks.named else ""
        names = [_shows(one) for one in leaks.found("clear")]
        without = f"not seen by {_attacks(names)}"
    return _cut(_fit(head, names, without, width - len(tail)) + tail, width)


def _attacks(names: Sequence[str]) -> str:
    return f"{len(names)} attack{'s' * (len(names) > 1)}"


def _named(leaks: Leaks) -> str:
    """How many training people are named; empty where nobody was looked for by name."""
    if leaks.named is None:
        return ""
    if not leaks.named:
        return "nobody named"
    return f"{leaks.named:,} {'person' if leaks.named == 1 else 'people'} named"


def _strength(one: Attempt) -> str:
    unit = one.attack.info.unit
    return f"{one.title} {format_value(one.value, unit=unit)} {unit}".rstrip()


def _shows(one: Attempt) -> str:
    """From what value on an attack would have shown a leak."""
    bound = one.attack.detectable if one.attack.detectable is not None else one.attack.high
    if bound is None:
        return one.title
    unit = one.attack.info.unit
    least = format_value(bound, unit=unit) if unit == COUNTED else f"{bound:.2g}"
    return f"{one.title} ≥ {least}"


def _least(leaks: Leaks) -> str:
    """The least p-value, adjusted for all attacks."""
    least = min(one.attack.adjusted for one in leaks.found("leak"))
    return f"p {least:.2g}" if least >= 1e-4 else "p < 0.0001"


def _share(inside: Inside) -> str:
    return f"{inside.inside} of {inside.judged}"


def _listed(names: Iterable[str]) -> str:
    """Titles may have commas of their own."""
    return " · ".join(names)


def _fit(head: str, names: Sequence[str], without: str, width: int) -> str:
    """As many names after a head as fit, and how many more there are; if none fits, `without`."""
    for shown in range(len(names), 0, -1):
        more = len(names) - shown
        text = head + _listed(names[:shown]) + (f" +{more} more" if more else "")
        if len(text) <= width:
            return text
    return without


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def show(
    verdicts: DatasetVerdicts, width: int = 100
) -> list[tuple[Verdict, tuple[Answer, Answer, Answer]]]:
    """Rows for pages: the answers to faithful, useful and leaks, in brief and whole."""
    return [
        (
            row,
            (
                Answer(
                    brief_faithful(row, width),
                    inside_words(row.faithful),
                    faithful_band(row.faithful),
                ),
                Answer(_useful(row.useful), inside_words(row.useful), faithful_band(row.useful)),
                Answer(brief_leaks(row.leaks, width), leak_words(row.leaks), leaks_band(row.leaks)),
            ),
        )
        for row in verdicts.rows
    ]
