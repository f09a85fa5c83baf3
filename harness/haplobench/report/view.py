"""What Markdown and HTML pages show: tables of texts, made once from a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from haplobench.report.evidence import FINDINGS, Attack
from haplobench.report.formatting import ARROWS, decimals_for, format_spread, format_value, listed
from haplobench.report.leaderboard import Leaderboard
from haplobench.report.leaderboard_texts import about_row
from haplobench.report.model import Cell, Column, DatasetSummary, Floor, Summary
from haplobench.results.description import CohortInfo, SubmetricInfo
from haplobench.results.records import FAILED
from haplobench.units import counted

_FLOOR_MARKS = {"better": "◆", "within": "●", "outside": "○", "far": "×"}
MARKS = _FLOOR_MARKS | {"clear": "●", "unclear": "?", "unseen": "·", "leak": "×"}
BANDS: Mapping[str, str] = {
    "better": "better than the floor",
    "within": "within the floor",
    "outside": "outside the floor",
    "far": "far outside the floor",
    **{str(finding): words for finding, words in FINDINGS.items()},
}
STATES = {
    **FAILED,
    "missing": "–",
    "not-applicable": "n/a",
}


@dataclass(frozen=True)
class Shown:
    """One table cell as texts.

    `kind` is a band (`within`, …), `failed` (however), another state, `floor`, or empty; `note`
    the code of a reason beneath the table; `tip` the whole story; `sort` the number to sort by.
    """

    text: str
    spread: str = ""
    kind: str = ""
    mark: str = ""
    note: str = ""
    tip: str = ""
    sort: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Head:
    """A column's head: its title, unit, and which way is better (an arrow, and in words)."""

    title: str
    unit: str
    arrow: str
    ideal: str
    help: str
    anchor: str


@dataclass(frozen=True)
class Row:
    """A row: the cohort of a headline table, or a number of a full table."""

    label: str
    role: str
    cells: tuple[Shown, ...]
    head: Head | None = None


@dataclass(frozen=True)
class TableView:
    """A table ready to print. `notes` are (code, reason) pairs that its cells refer to."""

    title: str
    heads: tuple[Head, ...]
    floor: Row | None
    rows: tuple[Row, ...]
    notes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MetricBlock:
    """All numbers of one metric: rows without labels, and rows with."""

    name: str
    summary: str
    rows: tuple[Row, ...]
    labelled: tuple[Row, ...]


@dataclass
class Notes:
    """Short codes (a, b, …) for reasons, in order of appearance."""

    codes: dict[str, str] = field(default_factory=dict)

    def code(self, reason: str) -> str:
        """The code of a reason, a new one if it has none."""
        return self.codes.setdefault(reason, _letters(len(self.codes)))

    def items(self) -> tuple[tuple[str, str], ...]:
        """(code, reason) pairs."""
        return tuple((code, reason) for reason, code in self.codes.items())


def _letters(index: int) -> str:
    return ("" if index < 26 else _letters(index // 26 - 1)) + chr(97 + index % 26)


def head(column: Column) -> Head:
    """The head of a column."""
    info = column.submetric
    ideal = f"{info.ideal:g}" if info.ideal is not None and info.direction == "closer" else ""
    return Head(
        title=column.title,
        unit=info.unit,
        arrow=ARROWS.get(info.direction, ""),
        ideal=ideal,
        help=f"better: {aim(info)}" if info.direction != "info" else aim(info),
        anchor=column.metric,
    )


def aim(info: SubmetricInfo) -> str:
    """Which way is better, in words: `lower`, `higher (ideal 1)`, `nearer to 0.5`."""
    if info.direction == "info":
        return "for information"
    ideal = "" if info.ideal is None else f"{info.ideal:g}"
    if info.direction == "closer":
        return f"nearer to {ideal or 'the ideal'}"
    return f"{info.direction} (ideal\N{NO-BREAK SPACE}{ideal})" if ideal else info.direction


def column_decimals(dataset: DatasetSummary, column: Column) -> int | None:
    """Digits after the point that all cells of a column share, see `decimals_for`."""
    floor = dataset.floors.get(column.key)
    values = [dataset.cell(cohort.label, column).value for cohort in dataset.cohorts]
    return decimals_for(
        [value for value in values if value is not None],
        None if floor is None else (floor.low, floor.median, floor.high),
        column.submetric.unit,
    )


def spread_words(info: Mapping[str, Any]) -> str:
    """What stands behind ± in a run of so many seeds and draws."""
    seeds, draws = len(info.get("seeds") or ()), int(info.get("draws") or 0)
    if seeds > 1:
        each = f"each the mean of {draws} draws" if draws > 1 else "one draw each"
        return f"standard deviation over {seeds} seeds, {each}"
    if seeds == 1 and draws == 1:
        return "the metric's own standard error where it gives one (one seed of one draw)"
    return f"standard deviation over the {draws or ''} draws of one seed".replace("  ", " ")


def show_cell(cell: Cell, decimals: int | None, notes: Notes, best: bool = False) -> Shown:
    """A cell as texts."""
    if cell.value is None:
        reason = cell.reason or "no reason given"
        failed = cell.state in FAILED
        if failed:
            reason = f"{cell.phase}: {reason}" if cell.phase else reason
        note = "" if cell.state == "missing" else notes.code(reason)
        tip = f"{STATES[cell.state]}: {reason}"
        kind = "failed" if failed else cell.state
        return Shown(STATES[cell.state], kind=kind, note=note, tip=tip)
    spread = "" if cell.spread is None else format_spread(cell.spread, cell.value, decimals)
    parts = [f"{cell.value:.6g}"]
    if cell.spread is not None:
        parts.append(f"± {cell.spread:.2g} (standard deviation over {cell.spread_over})")
        if cell.spread_over == "standard error":
            parts[-1] = f"± {cell.spread:.2g} (standard error)"
    if cell.band:
        parts.append(BANDS[cell.band])
    if cell.attack is not None:
        parts.append(attack_text(cell.attack))
    if cell.mark_note:
        at = "" if cell.mark_value is None else f": {cell.mark_value:.4g}"
        parts.append(f"{cell.mark_note}{at}")
    if cell.score is not None:
        parts.append(f"{cell.score:.2f} times the floor's distance from the ideal")
    parts.append(f"{counted(cell.n_seeds, 'seed')}, {counted(cell.n_values, 'draw')}")
    if cell.failed_seeds:
        parts.append(f"{counted(cell.failed_seeds, 'seed')} failed: {cell.reason}")
    note = f"rests on fewer seeds: {cell.reason}" if cell.failed_seeds else cell.mark_note
    return Shown(
        format_value(cell.value, decimals),
        spread=spread,
        kind=cell.band,
        mark=MARKS.get(cell.band, ""),
        note=notes.code(note) if note else "",
        tip="; ".join(parts),
        sort=float(f"{cell.value:.9g}"),
        best=best,
    )


def attack_text(attack: Attack) -> str:
    """An attack's interval, probability and power: `95 % interval 0.46-0.62; p 0.31, …`."""
    parts = []
    if attack.low is not None and attack.high is not None:
        parts.append(f"95 % interval {attack.low:.3g}–{attack.high:.3g}")
    parts.append(f"p {attack.p:.2g}, {attack.adjusted:.2g} adjusted for all attacks")
    if attack.detectable is not None:
        unit = attack.info.unit
        least = f"{format_value(attack.detectable, unit=unit)} {unit}".rstrip()
        parts.append(f"so many people can show {least} or more")
    return "; ".join(parts)


def show_floor(floor: Floor | None, decimals: int | None) -> Shown:
    """The floor's median, with its 5-95 % range as spread."""
    if floor is None:
        return Shown("–", kind="floor")
    low, high = format_value(floor.low, decimals), format_value(floor.high, decimals)
    tip = f"median and 5–95 % range of {floor.n} draws of real people"
    return Shown(
        format_value(floor.median, decimals),
        spread=f"{low}–{high}",
        kind="floor",
        tip=tip,
        sort=floor.median,
    )


def show_score(cell: Cell, decimals: int | None, notes: Notes, best: bool) -> Shown:
    """A cell as its distance from the ideal in units of the floor's, or else its value."""
    shown = show_cell(cell, decimals, notes, best)
    if cell.score is None:
        return Shown(**{**vars(shown), "spread": ""})
    text = f"{cell.score:.1f}×" if cell.score < 9.95 else f"{cell.score:,.0f}×"
    return Shown(**{**vars(shown), "text": text, "spread": ""})


def others(dataset: DatasetSummary) -> list[CohortInfo]:
    """Controls, then generators: every cohort but the floor."""
    return [cohort for cohort in dataset.cohorts if cohort.role != "floor"]


def measured(dataset: DatasetSummary) -> list[CohortInfo]:
    """Every cohort but the floor of which anything was measured."""
    return [cohort for cohort in others(dataset) if cohort.label in dataset.measured]


def absent(dataset: DatasetSummary) -> list[tuple[str, str]]:
    """(label, why) of the other cohorts: what they lack, or what happened to most numbers."""
    found = []
    for cohort in others(dataset):
        if cohort.label in dataset.measured:
            continue
        cells = [dataset.cell(cohort.label, column) for column in dataset.columns]
        whys = Counter(
            f"{STATES[cell.state]}: {cell.reason}" if cell.state in FAILED else cell.reason
            for cell in cells
            if cell.reason
        )
        missing = f"missing: {', '.join(cohort.missing)}" if cohort.missing else ""
        found.append((cohort.label, missing or max(whys, key=whys.__getitem__, default="")))
    return found


def headline_tables(dataset: DatasetSummary) -> list[TableView]:
    """One table per metric family: generators down, headline numbers across."""
    tables = []
    for family in dataset.families():
        columns = dataset.headline(family)
        if not columns:
            continue
        notes = Notes()
        decimals = [column_decimals(dataset, column) for column in columns]
        best = [_best(dataset, column) for column in columns]
        rows = [
            Row(
                cohort.label,
                cohort.role,
                tuple(
                    show_cell(
                        dataset.cell(cohort.label, column), places, notes, cohort.label in winners
                    )
                    for column, places, winners in zip(columns, decimals, best, strict=True)
                ),
            )
            for cohort in measured(dataset)
        ]
        floors = [dataset.floors.get(column.key) for column in columns]
        floor = None
        if any(floors):
            cells = [show_floor(f, places) for f, places in zip(floors, decimals, strict=True)]
            floor = Row("floor", "floor", tuple(cells))
        heads = tuple(head(column) for column in columns)
        tables.append(TableView(family, heads, floor, tuple(rows), notes.items()))
    return tables


def scorecard(dataset: DatasetSummary) -> tuple[list[tuple[str, list[Row]]], Notes]:
    """Headline numbers down by family, generators across: distances in units of the floor's."""
    notes = Notes()
    families = []
    for family in dataset.families():
        rows = []
        for column in dataset.headline(family):
            places = column_decimals(dataset, column)
            winners = _best(dataset, column)
            cells = [show_floor(dataset.floors.get(column.key), places)]
            cells += [
                show_score(
                    dataset.cell(cohort.label, column), places, notes, cohort.label in winners
                )
                for cohort in measured(dataset)
            ]
            rows.append(Row(column.title, "", tuple(cells), head(column)))
        if rows:
            families.append((family, rows))
    return families, notes


def full_tables(
    dataset: DatasetSummary, summary: Summary
) -> list[tuple[str, list[MetricBlock], Notes]]:
    """Every number by family and metric: numbers down, floor and generators across."""
    tables = []
    for family in dataset.families():
        notes = Notes()
        blocks = []
        for metric in summary.run.metrics.values():
            columns = [
                column
                for column in dataset.columns
                if column.metric == metric.name and column.family == family
            ]
            if not columns:
                continue
            rows = [(column, _full_row(dataset, column, notes)) for column in columns]
            blocks.append(
                MetricBlock(
                    metric.name,
                    metric.summary,
                    tuple(row for column, row in rows if not column.labels),
                    tuple(row for column, row in rows if column.labels),
                )
            )
        tables.append((family, blocks, notes))
    return tables


def _full_row(dataset: DatasetSummary, column: Column, notes: Notes) -> Row:
    places = column_decimals(dataset, column)
    winners = _best(dataset, column)
    cells = [show_floor(dataset.floors.get(column.key), places)]
    cells += [
        show_cell(dataset.cell(cohort.label, column), places, notes, cohort.label in winners)
        for cohort in measured(dataset)
    ]
    return Row(column.title, "", tuple(cells), head(column))


def _best(dataset: DatasetSummary, column: Column) -> tuple[str, ...]:
    best = dataset.best(column)
    return best.cohorts if best else ()


def findings(dataset: DatasetSummary) -> list[tuple[str, str]]:
    """(family, sentence) pairs: who does best on what, against the floor, controls left out."""
    sentences = []
    for family in dataset.families():
        columns = dataset.headline(family)
        if any(c.key in dataset.floors and c.submetric.direction != "info" for c in columns):
            sentence = _against_floor(dataset, family)
        else:
            sentence = _winners(dataset, columns)
        if sentence:
            sentences.append((family, sentence))
    return sentences


def _against_floor(dataset: DatasetSummary, family: str) -> str:
    """Who comes within the floor's range how often, and who is nearest to the ideal most often."""
    labels = [cohort.label for cohort in dataset.cohorts if cohort.role == "generator"]
    tallies = [(label, *dataset.tally(label, family)) for label in labels]
    measured = sorted((item for item in tallies if item[2]), key=lambda item: -item[1])
    good = [f"{label} {within} of {judged}" for label, within, judged in measured if within]
    none = [label for label, within, _ in measured if not within]
    if not measured:
        return ""
    parts = ["within the floor’s range or better: " + (", ".join(good) or "none")]
    if good and none:
        parts.append(f"never: {', '.join(none)}")
    wins = dict.fromkeys(labels, 0)
    columns = 0
    for column in dataset.headline(family):
        best = _best(dataset, column)
        columns += bool(best)
        for label in best:
            wins[label] += 1
    most = max(wins.values())
    leaders = [label for label, count in wins.items() if count == most]
    if most:
        parts.append(f"best most often: {listed(leaders)} ({most} of {columns})")
    return "; ".join(parts) + "."


def _winners(dataset: DatasetSummary, columns: Iterable[Column]) -> str:
    wins = []
    for column in columns:
        best = dataset.best(column)
        if best is None or best.cell.value is None:
            continue
        value = format_value(best.cell.value, column_decimals(dataset, column))
        unit = f" {column.submetric.unit}" if column.submetric.unit else ""
        wins.append(f"{column.title}: {listed(best.cohorts)} ({value}{unit})")
    return f"best {'; '.join(wins)}." if wins else ""


def flatten(value: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Nested mappings as (key, text) pairs, keys joined by a dot; lists joined by commas."""
    if isinstance(value, (list, tuple)):
        value = ", ".join(_plain(item) for item in value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten(item, f"{prefix}.{key}" if prefix else str(key))
    elif value not in (None, ""):
        yield prefix, _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(_plain(item) for item in value.values())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


_WORST = 5


@dataclass(frozen=True)
class GeneratorView:
    """What the report says of one generator on one dataset.

    `tallies` are (family, numbers within the floor's range or better, numbers judged); `best`
    the numbers it is best in; `worst` (number, distance over the floor's), the farthest first;
    `lacking` (how many numbers, state, reason).
    """

    dataset: str
    ranks: tuple[str, ...]
    tallies: tuple[tuple[str, int, int], ...]
    best: tuple[str, ...]
    worst: tuple[tuple[str, str], ...]
    lacking: tuple[tuple[int, str, str], ...]


def generator_views(
    summary: Summary, label: str, boards: Sequence[Leaderboard]
) -> list[GeneratorView]:
    """One view per dataset, in their order."""
    return [
        _view(dataset, label, [board for board in boards if board.dataset == name])
        for name, dataset in summary.datasets.items()
    ]


def _view(dataset: DatasetSummary, label: str, boards: Sequence[Leaderboard]) -> GeneratorView:
    columns = dataset.headline()
    tallies = [(family, *dataset.tally(label, family)) for family in dataset.families()]
    best = [c.title for c in columns if (found := dataset.best(c)) and label in found.cohorts]
    return GeneratorView(
        dataset=dataset.label,
        ranks=_ranks(label, boards),
        tallies=tuple(item for item in tallies if item[2]),
        best=tuple(best),
        worst=_worst(dataset, label, columns),
        lacking=_lacking(dataset, label, columns),
    )


def _ranks(label: str, boards: Sequence[Leaderboard]) -> tuple[str, ...]:
    rows = [(row, board) for board in boards for row in board.rows if row.label == label]
    lacking = [reason for board in boards for name, reason in board.unranked if name == label]
    return (*(f"not ranked: {reason}" for reason in lacking), *(about_row(*pair) for pair in rows))


def _worst(
    dataset: DatasetSummary, label: str, columns: Sequence[Column]
) -> tuple[tuple[str, str], ...]:
    found = []
    for column in columns:
        cell = dataset.cell(label, column)
        if cell.band in ("outside", "far") and cell.score is not None:
            found.append((cell.score, column.title))
    found.sort(key=lambda item: -item[0])
    texts = [
        (title, f"{score:.1f}×" if score < 9.95 else f"{score:,.0f}×")
        for score, title in found[:_WORST]
    ]
    return tuple(texts)


def _lacking(
    dataset: DatasetSummary, label: str, columns: Sequence[Column]
) -> tuple[tuple[int, str, str], ...]:
    counts: dict[tuple[str, str], int] = {}
    for column in columns:
        cell = dataset.cell(label, column)
        if cell.value is not None:
            continue
        failed = cell.state in FAILED and cell.phase
        state = "not measured" if cell.state == "missing" else STATES[cell.state]
        key = (f"{state} in {cell.phase}" if failed else state, cell.reason)
        counts[key] = counts.get(key, 0) + 1
    return tuple((count, state, reason) for (state, reason), count in counts.items())
