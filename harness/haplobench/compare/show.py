"""Words and numbers of a comparison for readers: terminal and Markdown say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from haplobench.compare.model import STATUSES, TOLD, Comparison, Row, Side, Status
from haplobench.report.formatting import ARROWS, format_value
from haplobench.units import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_STYLES = {
    "failed": "bold red",
    "regressed": "red",
    "missing": "yellow",
    "can't tell": "yellow",
    "incomparable": "yellow",
    "new": "cyan",
    "improved": "green",
    "unchanged": "dim",
}


def print_comparison(comparison: Comparison, console: Console, *, everything: bool = False) -> None:
    """Print a comparison.

    `everything`: unchanged numbers too, and those that can't be compared one by one.
    """
    from rich.text import Text

    style = "bold red" if comparison.failing else "bold green"
    if not comparison.failing and (comparison.exit_code or comparison.counts["can't tell"]):
        style = "bold yellow"
    console.print(Text(verdict(comparison), style))
    console.print(f"  base  {describe_side(comparison.base)}", highlight=False)
    console.print(f"  head  {describe_side(comparison.head)}", highlight=False)
    console.print(f"  {tally(comparison)}", highlight=False)
    for warning in comparison.warnings:
        console.print(f"  note: {warning}", style="yellow", highlight=False)
    rows = list(comparison.rows) if everything else list(comparison.changed)
    tested = [row for row in rows if row.status in TOLD]
    if tested:
        console.print()
        if console.width >= _WIDE:
            console.print(_terminal_table(tested))
        else:
            _print_narrow(tested, console)
        console.print(
            f"  {comparison.correction}, level {comparison.alpha:g}; intervals of "
            f"{comparison.confidence * 100:g} %. Faint: not gated.",
            style="dim",
            highlight=False,
        )
    others = [row for row in rows if row.status not in TOLD]
    if others:
        console.print()
        console.print(_others(others))


_WIDE = 110  # columns that a terminal needs for one table of all


def _print_narrow(rows: list[Row], console: Console) -> None:
    """A table for each generator, intervals and pairs under their numbers."""
    from rich.table import Table
    from rich.text import Text

    cells = {id(row): _narrow(row) for row in rows}
    most = [
        max(width) for width in zip(*(map(_width, line) for line in cells.values()), strict=True)
    ]
    legend = "  ".join(f"{MARKS[status]} {status}" for status in TOLD)
    console.print(Text(f"  base → head, difference, evidence;  {legend}", style="dim"))
    for place, same in groups(rows):
        console.print(Text(f"\n{place}", style="bold"))
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(width=1)
        table.add_column(ratio=1, overflow="fold")
        for width in most:
            table.add_column(justify="right", width=width, no_wrap=True)
        for row in same:
            title = f"{what(row)} {arrow(row)}".rstrip()
            style = _STYLES[row.status] if row.gated else "dim"
            table.add_row(MARKS[row.status], title, *cells[id(row)], style=style)
        console.print(table)
    console.print()


def _narrow(row: Row) -> tuple[str, str, str]:
    values = f"{number(row.base, row.unit)} → {number(row.head, row.unit)}"
    return values, change(row).replace(" [", "\n["), evidence(row).replace(", ", "\n")


def _width(cell: str) -> int:
    return max(map(len, cell.split("\n")))


def _terminal_table(rows: list[Row]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("dataset · generator", overflow="fold")
    table.add_column("number", overflow="fold")
    table.add_column("better")
    for name in ("base", "head", "change", "evidence"):
        table.add_column(name, justify="right", no_wrap=name in ("base", "head"))
    before = ""
    for row in rows:
        place = f"{row.dataset} · {row.generator}"
        style = _STYLES[row.status] if row.gated else "dim"
        table.add_row(*_cells(row, "" if place == before else place), style=style)
        before = place
    return table


def _cells(row: Row, place: str) -> list[str]:
    """A row's texts, whatever shows them."""
    return [
        f"{MARKS[row.status]} {row.status}",
        place,
        what(row),
        arrow(row),
        number(row.base, row.unit),
        number(row.head, row.unit),
        change(row),
        evidence(row),
    ]


def _others(rows: list[Row]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("", "dataset · generator", "numbers", "why"):
        table.add_column(name, overflow="fold", justify="right" if name == "numbers" else "left")
    for (dataset, generator, status, reason), count in collapse(rows):
        table.add_row(
            f"{MARKS[status]} {status}",
            f"{dataset} · {generator}",
            str(count),
            reason,
            style=_STYLES[status],
        )
    return table


LIMIT = 60_000
"""Characters: GitHub refuses comments of more than 65,536."""
_HEAD = "| | generator | number | better | base | head | change | evidence |\n"
_RULE = "|---|---|---|:-:|--:|--:|--:|--:|\n"


def render_markdown(comparison: Comparison, *, everything: bool = False) -> str:
    """The comparison: verdict, what fails, and the rest folded away.

    `everything`: unchanged numbers too. A text that would be too long for a comment is cut at
    the end of a table, and says how many rows are left out.
    """
    mark = {0: "✅", 1: "❌", 3: "⚠️"}[comparison.exit_code]
    parts = [
        f"### {mark} haplobench: {_text(verdict(comparison))}\n\n",
        f"{tally(comparison)}\n\n",
        f"- base: {_text(describe_side(comparison.base))}\n",
        f"- head: {_text(describe_side(comparison.head))}\n",
    ]
    parts += [f"- note: {_text(warning)}\n" for warning in comparison.warnings]
    changed = [row for row in comparison.changed if row.status in ("regressed", "improved")]
    failing = [row for row in changed if row.fails]
    others = [row for row in comparison.changed if row.status not in ("regressed", "improved")]
    broken = [row for row in others if row.fails]
    if broken:
        parts.append("\n**Failed or missing**\n\n" + _reasons(broken))
    if failing:
        parts.append("\n**Regressed**\n\n" + _markdown_table(failing))
    rest = [row for row in changed if not row.fails]
    if rest:
        parts.append(_folded(f"{len(rest)} other changes", _markdown_table(rest)))
    others = [row for row in others if not row.fails]
    if others:
        parts.append(_folded(f"{len(others)} not compared or not told", _reasons(others)))
    if everything:
        same = [row for row in comparison.rows if row.status == "unchanged"]
        parts.append(_folded(f"{len(same)} unchanged", _markdown_table(same)))
    parts.append(
        f"\n<sub>{comparison.correction}, level {comparison.alpha:g}; intervals of "
        f"{comparison.confidence * 100:g} %.</sub>\n"
    )
    return "".join(parts)


def _markdown_table(rows: list[Row]) -> str:
    text, left = _HEAD + _RULE, len(rows)
    for row in rows:
        cells = _cells(row, f"{row.dataset} · {row.generator}")
        line = "| " + " | ".join(map(_text, cells)) + " |\n"
        if len(text) + len(line) > LIMIT // 4:
            return f"{text}\n… and {left} more\n"
        text, left = text + line, left - 1
    return text


def _reasons(rows: list[Row]) -> str:
    text = "| | generator | numbers | why |\n|---|---|--:|---|\n"
    entries = collapse(rows)
    for at, ((dataset, generator, status, reason), count) in enumerate(entries):
        cells = (
            f"{MARKS[status]} {status}",
            f"{dataset} · {generator}",
            str(count),
            reason,
        )
        line = "| " + " | ".join(map(_text, cells)) + " |\n"
        if len(text) + len(line) > LIMIT // 4:
            return f"{text}\n… and {len(entries) - at} more\n"
        text += line
    return text


def _folded(title: str, body: str) -> str:
    return f"\n<details><summary>{title}</summary>\n\n{body}\n</details>\n"


def _text(text: str) -> str:
    """Text that can't end a table's cell or begin HTML."""
    for old, new in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(old, new)
    return text


MARKS: Mapping[Status, str] = {
    "failed": "✗",
    "regressed": "▼",
    "missing": "–",
    "can't tell": "?",
    "incomparable": "≠",
    "new": "+",
    "improved": "▲",
    "unchanged": "=",
}


def verdict(comparison: Comparison) -> str:
    """The outcome in one sentence."""
    failing = comparison.failing
    if not failing:
        if comparison.powerless and comparison.exit_code == 3:
            return f"Too little power to find anything: {powerless(comparison)}"
        if comparison.exit_code == 3:
            return "Nothing could be compared"
        if comparison.interrupted:
            return "No regression so far: head is an unfinished run"
        gone = comparison.counts["missing"]
        blind = sum(row.gated and row.status == "can't tell" for row in comparison.rows)
        parts = [f"{gone:,} missing"] if gone else []
        parts += [f"can't tell of {blind:,} numbers"] if blind else []
        return ", ".join(["No regression", *parts])
    counts = {
        status: sum(row.status == status for row in failing)
        for status in ("regressed", "failed", "missing")
    }
    parts = [f"{n} {status}" for status, n in counts.items() if n]
    generators = list(dict.fromkeys(row.generator for row in failing))
    named = ", ".join(generators[:4]) + (" …" if len(generators) > 4 else "")
    *most, last = parts
    return f"{', '.join(most)}{' and ' if most else ''}{last}: {named}"


def powerless(comparison: Comparison, most: int = 4) -> str:
    """Of what nothing could have been found: `fidelity of markov, li-stephens; privacy of vae`."""
    families: dict[str, list[str]] = {}
    for _, generator, family in comparison.powerless:
        names = families.setdefault(family, [])
        if generator not in names:
            names.append(generator)
    return "; ".join(
        f"{family} of {', '.join(names[:most])}{' …' if len(names) > most else ''}"
        for family, names in families.items()
    )


def tally(comparison: Comparison) -> str:
    """How many numbers have each status that occurs."""
    counts = comparison.counts
    return ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if counts[status])


def describe_side(side: Side) -> str:
    """A side in one line: name, run, commit, seeds, machine."""
    parts = [side.name]
    if side.run_id and side.run_id not in side.name:
        parts.append(f"run {side.run_id}")
    if side.git_sha:
        parts.append(f"commit {side.git_sha[:9]}{' with changes' if side.git_dirty else ''}")
    if side.started:
        parts.append(side.started[:16].replace("T", " "))
    if side.seeds:
        parts.append(counted(len(side.seeds), "seed"))
    if side.machine or side.hardware:
        parts.append(side.machine or f"hardware {side.hardware}")
    return ", ".join(parts)


def number(value: float | None, unit: str) -> str:
    """A value for a table; empty where there is none."""
    return "" if value is None else format_value(value, unit=unit)


def change(row: Row) -> str:
    """Difference with its interval, and its share: `+0.012 [0.008, 0.016], +24 %`."""
    if row.difference is None:
        return ""
    if row.relative_threshold and row.relative is not None:
        return f"{_signed_percent(row.relative)}"
    text = signed(row.difference, row.unit)
    if row.low is not None and row.high is not None and row.low != row.high:
        low, high = (format_value(value, unit=row.unit) for value in (row.low, row.high))
        text += f" [{low}, {high}]"
    return text


def signed(value: float, unit: str) -> str:
    """A difference with its sign."""
    text = format_value(value, unit=unit)
    return text if value <= 0 else f"+{text}"


def _signed_percent(share: float) -> str:
    sign = "+" if share > 0 else "−" if share < 0 else ""
    return f"{sign}{abs(share) * 100:.3g} %"


def arrow(row: Row) -> str:
    """Which way is better."""
    text = ARROWS.get(row.direction, "")
    if row.direction == "closer" and row.ideal is not None:
        return f"{text} {format_value(row.ideal)}"
    return text


def what(row: Row) -> str:
    """The number's name: its title, and the metric it is of."""
    if not row.metric:
        return "(all of it)"
    if not row.submetric:
        return row.metric
    return f"{row.title}"


def evidence(row: Row) -> str:
    """How sure a change is, in brief."""
    parts = []
    if row.q_value is not None:
        parts.append(f"q {_small(row.q_value)}")
    elif row.p_value is not None:
        parts.append(f"p {_small(row.p_value)}")
    if row.test in ("paired", "identical") and row.n_pairs:
        parts.append(counted(row.n_pairs, "pair"))
    elif row.base_n and row.head_n:
        parts.append(f"{row.base_n} / {row.head_n}")
    return ", ".join(parts)


def _small(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.2g}" if value >= 1e-4 else "<0.0001"


def groups(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Rows by dataset and generator, in the order in which they come."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row.dataset} · {row.generator}", []).append(row)
    return list(found.items())


def collapse(rows: list[Row]) -> list[tuple[tuple[str, str, Status, str], int]]:
    """Rows that differ only in their number, counted: (dataset, generator, status, reason)."""
    found: dict[tuple[str, str, Status, str], int] = {}
    for row in rows:
        key = (row.dataset, row.generator, row.status, row.reason)
        found[key] = found.get(key, 0) + 1
    return list(found.items())
