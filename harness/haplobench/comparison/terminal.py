"""A comparison in the terminal: the verdict first, then what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haplobench.comparison import wording
from haplobench.comparison.model import Comparison, Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_STYLES = {
    "failed": "bold red",
    "regressed": "red",
    "missing": "yellow",
    "incomparable": "yellow",
    "new": "cyan",
    "improved": "green",
    "unchanged": "dim",
}
_TESTED = ("regressed", "improved", "unchanged")


def print_comparison(comparison: Comparison, console: Console, *, everything: bool = False) -> None:
    """Print a comparison.

    `everything`: unchanged numbers too, and those that can't be compared one by one.
    """
    from rich.text import Text

    style = "bold red" if comparison.failing else "bold green"
    if comparison.exit_code == 3 or (comparison.interrupted and not comparison.failing):
        style = "bold yellow"
    console.print(Text(wording.verdict(comparison), style))
    console.print(f"  base  {wording.describe_side(comparison.base)}", highlight=False)
    console.print(f"  head  {wording.describe_side(comparison.head)}", highlight=False)
    console.print(f"  {wording.tally(comparison)}", highlight=False)
    for warning in comparison.warnings:
        console.print(f"  note: {warning}", style="yellow", highlight=False)
    rows = list(comparison.rows) if everything else list(comparison.changed)
    tested = [row for row in rows if row.status in _TESTED]
    if tested:
        console.print()
        console.print(_table(tested))
        console.print(
            f"  {comparison.correction}, level {comparison.alpha:g}; intervals of "
            f"{comparison.confidence * 100:g} %. Faint: not gated.",
            style="dim",
            highlight=False,
        )
    others = [row for row in rows if row.status not in _TESTED]
    if others:
        console.print()
        console.print(_others(others))


def _table(rows: list[Row]) -> Table:
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
        table.add_row(
            f"{wording.MARKS[row.status]} {row.status}",
            "" if place == before else place,
            wording.what(row),
            wording.arrow(row),
            wording.number(row.base),
            wording.number(row.head),
            wording.change(row),
            wording.evidence(row),
            style=_STYLES[row.status] if row.gated else "dim",
        )
        before = place
    return table


def _others(rows: list[Row]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("", "dataset · generator", "numbers", "why"):
        table.add_column(name, overflow="fold", justify="right" if name == "numbers" else "left")
    for (dataset, generator, status, reason), count in wording.collapse(rows):
        table.add_row(
            f"{wording.MARKS[status]} {status}",
            f"{dataset} · {generator}",
            str(count),
            reason,
            style=_STYLES[status],
        )
    return table
