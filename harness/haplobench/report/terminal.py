"""Tables for the terminal: one per dataset, split by metric family where it is too narrow."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from haplobench.report import leaderboard_texts as texts
from haplobench.report.evidence import FINDINGS
from haplobench.report.facts import sites_by_family
from haplobench.report.formatting import format_spread, format_value, row_text
from haplobench.report.leaderboard import Leaderboard, by_rank, leaderboards
from haplobench.report.model import Cell, Column, DatasetSummary, Failure, Floor, Summary
from haplobench.report.privacy_claims import CLAIM_HEADS, claim_cells, claim_rows, claim_sentences
from haplobench.report.verdict import (
    UNASSESSED,
    DatasetVerdicts,
    explain,
    faithful_band,
    in_two_lines,
    lead,
    leaks_band,
    reach_verdicts,
)
from haplobench.report.view import MARKS, STATES, Notes, column_decimals, head, others, spread_words
from haplobench.results.description import isolation_text
from haplobench.results.records import FAILED

EXPLANATION = (
    "rank: no leak before leak, then by distance: how many times further from the ideal than real "
    "people's cohorts (geometric mean), with its 95 % interval; =: tied; (): controls, not ranked; "
    "no rival changes anybody's distance"
)


def board_parts(board: Leaderboard, console: Console) -> list[object]:
    """What to print of a leaderboard: title, table, who is not ranked and why."""
    title = f"\n{board.dataset} · {texts.SCOPES[board.scope]}"
    parts: list[object] = [Text(title, style="bold")]
    if board.rows:
        parts += [_board_table(board, console), Text(f" {texts.over_words(board)}", style="dim")]
    else:
        parts.append(Text(f" nothing is ranked: {board.reason}", style="dim"))
    for label, reason in board.unranked:
        if reason == board.reason:
            continue
        line = Text(f"not ranked: {label}: {reason}", style="dim")
        parts.append(Padding(line, (0, 0, 0, 1)))
    return parts


def _board_table(board: Leaderboard, console: Console) -> Table:
    table = _plain_table(console)
    table.add_column("rank", justify="right")
    table.add_column("generator", overflow="fold", min_width=12)
    table.add_column("distance", justify="right", no_wrap=True)
    table.add_column("leak")
    if board.cost:
        table.add_column(escape(texts.cost_title(board)), justify="right")
    for row in texts.show_rows(board):
        style = {"generator": "bold" if row.rank in ("1", "1=") else ""}.get(row.role, "dim")
        cells = [row.rank, row_text(row.label, row.role), f"{row.distance} ({row.interval})"]
        line = [Text(cell, style=style) for cell in cells]
        line.append(Text(row.leak, style=_STYLES[row.finding] if row.finding == "leak" else style))
        line += [Text(row.cost, style=style)] if board.cost else []
        table.add_row(*line)
    return table


_STYLES = {
    **{"": "", "better": "green", "within": "green", "outside": "yellow", "far": "red"},
    **{"clear": "green", "unclear": "yellow", "unseen": "", "leak": "red"},
}
_ASCII = str.maketrans(
    {"\N{NO-BREAK SPACE}": " ",
     "◆": "*", "●": "=", "○": "o", "×": "x", "±": "~", "↓": "v", "↑": "^", "→": ">", "−": "-",
     "–": "-", "’": "'", "…": "...", "≥": ">=", "·": "-", "“": '"', "”": '"',
     "ε": "epsilon", "δ": "delta", "∞": "inf"}
)  # fmt: skip
_GAP = 3


def print_summary(
    summary: Summary, console: Console, boards: Sequence[Leaderboard] | None = None
) -> None:
    """Print headline tables per dataset, what their marks mean, and what failed."""
    boards = leaderboards(summary) if boards is None else boards
    summary = by_rank(summary, boards)
    info = summary.run.info
    facts = [
        str(info.get("title") or info.get("suite") or summary.run.folder.name),
        str(info.get("run_id") or ""),
    ]
    if info.get("status"):
        facts.append(str(info["status"]))
    _print(console, Text(" · ".join(fact for fact in facts if fact), style="bold"))
    for verdicts in reach_verdicts(summary, boards):
        print_verdicts(verdicts, console, summary)
    print_rules(summary, console)
    for label, dataset in summary.datasets.items():
        print_dataset(dataset, console)
        if text := sites_by_family(summary.run.datasets[label]):
            _print(console, Text(f"{label}: sites measured: {text}", style="dim"))
        if counts := summary.run.datasets[label].get("withdrawn"):
            from haplobench.data.consent import withdrawal_text

            _print(console, Text(f"{label}: {withdrawal_text(counts)}", style="dim"))
        if kin := summary.run.datasets[label].get("relatives"):
            from haplobench.data.relatives import noteworthy

            if text := noteworthy(kin):
                _print(console, Text(f"{label}: {text}", style="dim"))
        for part in [
            part
            for board in boards
            if board.dataset == label
            for part in board_parts(board, console)
        ]:
            _print(console, part)
    print_claims(summary, console)
    if any(board.rows for board in boards):
        _print(console, Text(EXPLANATION, style="dim"))
    print_marks(summary, console)
    if text := isolation_text(info.get("isolation") or {}):
        _print(console, Text(text, style="dim"))
    _print_failures(summary.failures, console)


def print_marks(summary: Summary, console: Console) -> None:
    """Print what stands behind ± and what the tables' marks mean."""
    _print(console, Text(f"value ± {spread_words(summary.run.info)}", style="dim"))
    marks = (
        "against the floor's 5-95 % range and where 95 % of further draws would lie: ● within  "
        "◆ better than 99 % of them  ○ outside  × far outside;  ↓ lower, ↑ higher, → nearer to the "
        "ideal is better"
    )
    _print(console, Text(marks, style="dim"))
    if any(cell.attack for one in summary.datasets.values() for cell in one.cells.values()):
        attacks = "; ".join(f"{MARKS[name]} {words}" for name, words in FINDINGS.items())
        _print(console, Text(f"attacks, none held against the floor: {attacks}", style="dim"))


def print_verdicts(verdicts: DatasetVerdicts, console: Console, summary: Summary) -> None:
    """Print who is best and who leaks, two lines for each generator and control, and warnings."""
    _print(console, Text(f"\n{verdicts.dataset} · verdict", style="bold"))
    if said := lead(verdicts):
        _print(console, Text(said))
    if not any(row.useful.judged for row in verdicts.rows):
        _print(console, Text(UNASSESSED, style="dim"))
    width = max((len(row.generator) for row in verdicts.rows), default=0)
    width = min(width, console.width // 4)
    roles = [row.role for row in verdicts.rows]
    for at, row in enumerate(verdicts.rows):
        if row.role == "control" and at == roles.index("control"):
            _print(console, Text("controls, of which the answers are known", style="dim"))
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=width, no_wrap=True, overflow="ellipsis")
        lines = in_two_lines(row, console.width - width - 4)
        bands = faithful_band(row.faithful), leaks_band(row.leaks)
        for name, line, shown in zip((row.generator, ""), lines, bands, strict=True):
            style = "dim" if row.role == "control" else "bold"
            mark = Text(MARKS.get(shown, "–"), style=_STYLES[shown])
            grid.add_row(Text(name, style=style), mark, Text(line, style=_STYLES[shown]))
        _print(console, grid)
    for text in summary.run.datasets[verdicts.dataset].get("warnings") or ():
        _print(console, Text(f"warning: {text}", style="bold red"))


def print_rules(summary: Summary, console: Console) -> None:
    """Print how verdicts are reached."""
    _print(console, Text(explain(summary.rules), style="dim"))


def print_claims(summary: Summary, console: Console) -> None:
    """Print what generators claim of differential privacy, one fit beside all; or nothing."""
    rows = claim_rows(summary.run)
    if not rows:
        return
    several = len({dataset for dataset, *_ in rows}) > 1
    _print(console, Text("\nDifferential privacy claimed", style="bold"))
    table = _plain_table(console)
    table.add_column("", overflow="fold", min_width=12)
    for title in CLAIM_HEADS:
        table.add_column(title, justify="right", vertical="bottom")
    for dataset, label, claim in rows:
        name = f"{dataset} · {label}" if several else label
        table.add_row(escape(name), *claim_cells(claim))
    _print(console, table)
    for sentence in claim_sentences(summary.run):
        _print(console, Padding(Text(sentence, style="dim"), (0, 0, 0, 1)))
    _print(console, Text(""))


def _plain_table(console: Console) -> Table:
    unicode = console.encoding.startswith("utf")
    return Table(box=box.SIMPLE_HEAD if unicode else box.ASCII2, pad_edge=False, show_edge=False)


def print_dataset(dataset: DatasetSummary, console: Console) -> None:
    """Print the headline tables of one dataset: floor, controls (marked), generators."""
    columns = dataset.headline()
    if not columns:
        _print(console, Text(f"\n{dataset.label}: no headline numbers", style="bold"))
        return
    notes = Notes()
    made = [_make(dataset, column, notes) for column in columns]
    labels = [row_text(cohort.label, cohort.role) for cohort in others(dataset)]
    label_width = min(max(map(len, [*labels, "floor, 100 draws"])), console.width // 3)
    groups = _pack(made, label_width, console.width)
    for group in groups:
        families = ", ".join(dict.fromkeys(item.column.family for item in group))
        part = f" · {families}" if len(groups) > 1 else ""
        _print(console, Text(f"\n{dataset.label}{part}", style="bold"))
        _print(console, _table(dataset, group, label_width, console))
    for code, reason in notes.items():
        _print(console, Padding(Text(f"n/a {code}: {reason}", style="dim"), (0, 0, 0, 1)))
    for note in dataset.mark_notes():
        _print(console, Padding(Text(note, style="dim"), (0, 0, 0, 1)))
    _print(console, Text(""))


@dataclass
class _Made:
    """A column ready to print: head, the floor's two rows, one text per other cohort."""

    column: Column
    head: str
    floor: tuple[Text, Text]
    texts: list[Text]

    @property
    def width(self) -> int:
        """Terminal cells that the column needs."""
        words = [len(word) for word in self.head.split()]
        return max([text.cell_len for text in (*self.floor, *self.texts)] + words)

    def width_for(self, lines: int) -> int:
        """Terminal cells with which the head takes no more than so many lines."""
        width = self.width
        while len(textwrap.wrap(self.head, width, break_on_hyphens=False)) > lines:
            width += 1
        return width


def _make(dataset: DatasetSummary, column: Column, notes: Notes) -> _Made:
    floor = dataset.floors.get(column.key)
    decimals = column_decimals(dataset, column)
    info = head(column)
    unit = f"({info.unit})" if info.unit else ""
    title = " ".join(part for part in (info.title, unit, info.arrow + info.ideal) if part)
    texts = [_text(dataset.cell(row.label, column), decimals, notes) for row in others(dataset)]
    return _Made(column, title, _floor_texts(floor, decimals), texts)


def _floor_texts(floor: Floor | None, decimals: int | None) -> tuple[Text, Text]:
    if floor is None:
        return Text("–  ", style="dim"), Text("")
    low, high = (format_value(value, decimals) for value in (floor.low, floor.high))
    median = Text(f"{format_value(floor.median, decimals)}  ", style="bold")
    return median, Text(f"{low}–{high}  ", style="dim")


def _text(cell: Cell, decimals: int | None, notes: Notes) -> Text:
    if cell.state == "not-applicable":
        return Text(f"n/a {notes.code(cell.reason or 'no reason given')}  ", style="dim")
    if cell.state in FAILED:
        return Text(f"{cell.state}  ", style="red")
    if cell.value is None:
        return Text("–  ", style="dim")
    text = Text(format_value(cell.value, decimals), style=_STYLES[cell.band])
    if cell.spread is not None:
        text.append(f" ±{format_spread(cell.spread, cell.value, decimals)}", style="dim")
    text.append("! " if cell.failed_seeds else " ", style="red")
    text.append(MARKS.get(cell.band, " "), style=_STYLES[cell.band])
    return text


def _pack(made: Sequence[_Made], label_width: int, width: int) -> list[list[_Made]]:
    """Cut columns into tables that fit; a table holds one family unless all fit in one."""
    room = width - label_width
    if sum(item.width + _GAP for item in made) <= room:
        return [list(made)]
    groups: list[list[_Made]] = []
    used = 0
    for item in made:
        fresh = not groups or groups[-1][0].column.family != item.column.family
        if fresh or used + item.width + _GAP > room:
            groups.append([])
            used = 0
        groups[-1].append(item)
        used += item.width + _GAP
    return groups


def _widths(group: Sequence[_Made], room: int) -> list[int]:
    """Widths that let heads wrap to as few lines as the room allows."""
    for lines in range(1, 9):
        widths = [item.width_for(lines) for item in group]
        if sum(widths) <= room:
            return widths
    return [item.width for item in group]


def _table(
    dataset: DatasetSummary, group: Sequence[_Made], label_width: int, console: Console
) -> Table:
    table = _plain_table(console)
    table.add_column("", no_wrap=True, width=label_width, overflow="ellipsis")
    room = console.width - label_width - _GAP * len(group)
    for item, width in zip(group, _widths(group, room), strict=True):
        table.add_column(escape(item.head), justify="right", width=width, vertical="bottom")
    if any(item.column.key in dataset.floors for item in group):
        draws = max(floor.n for floor in dataset.floors.values())
        table.add_row(Text(f"floor, {draws} draws"), *(item.floor[0] for item in group))
        ranges = [item.floor[1] for item in group]
        table.add_row(Text("  5-95 %", style="dim"), *ranges, end_section=True)
    for row, cohort in enumerate(others(dataset)):
        name = Text(row_text(cohort.label, cohort.role), "dim" if cohort.role == "control" else "")
        table.add_row(name, *(item.texts[row] for item in group))
    return table


def _print_failures(failures: Sequence[Failure], console: Console) -> None:
    if not failures:
        return
    _print(console, Text("\nFailed", style="bold red"))
    for failure in failures:
        seeds = ", ".join(map(str, failure.seeds))
        where = f"{failure.dataset} · {failure.cohort}"
        if failure.metric:
            where += f" · {failure.metric}"
        after = f" after {failure.wall_s:.0f} s" if failure.wall_s else ""
        line = Text(f"{where} (seed{'s' * (len(failure.seeds) > 1)} {seeds}), ")
        line.append(f"{failure.phase}: {STATES[failure.status]}{after}", style="red")
        line.append(f": {failure.reason}")
        grid = Table.grid(padding=(0, 1))
        grid.add_row(" -", line)
        _print(console, grid)
    _print(console, Text("  ! marks a value that rests on fewer seeds than were asked for"))


def _print(console: Console, item: object) -> None:
    """Print, in plain ASCII where the terminal can't show more."""
    if console.encoding.startswith("utf"):
        console.print(item, highlight=False, soft_wrap=False)
        return
    with console.capture() as capture:
        console.print(item, highlight=False)
    text = capture.get().translate(_ASCII)
    console.file.write(text.encode("ascii", "replace").decode("ascii"))
