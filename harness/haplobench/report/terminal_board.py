"""The leaderboard in the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from haplobench.report.leaderboard import texts
from haplobench.report.leaderboard.board import Leaderboard

_WIDE = 120
EXPLANATION = (
    "rank: by the lesser share of comparisons won in fidelity and privacy, with its 95 % bootstrap "
    "interval; =: tied; from floor: typical distance in the floor's standard deviations; front: on "
    "the Pareto front of fidelity, privacy and cost; (): controls, not ranked"
)


def board_parts(board: Leaderboard, console: Console) -> list[object]:
    """What to print of a leaderboard: title, table, who is not ranked and why."""
    parts: list[object] = [Text(f"\n{board.dataset} · leaderboard", style="bold")]
    if board.rows:
        parts += [_table(board, console), Text(f" {texts.over_words(board)}", style="dim")]
    else:
        parts.append(Text(f" nothing is ranked: {board.reason}", style="dim"))
    for label, reason in board.unranked:
        if reason == board.reason:
            continue
        line = Text(f"not ranked: {label}: {reason}", style="dim")
        parts.append(Padding(line, (0, 0, 0, 1)))
    return parts


def _table(board: Leaderboard, console: Console) -> Table:
    unicode = console.encoding.startswith("utf")
    wide = console.width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD if unicode else box.ASCII2, pad_edge=False, show_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("generator", no_wrap=True, min_width=12)
    table.add_column("won (95 %)", justify="right")
    for axis in board.axes:
        if wide:
            table.add_column(f"{axis} won", justify="right")
        distance = "times cheapest" if axis == "cost" else f"{axis} from floor"
        table.add_column(distance, justify="right")
    table.add_column("front", justify="right")
    for row in texts.show_rows(board):
        control = row.role == "control"
        cells = [row.rank, row.label + (" (control)" if control else ""), row.share]
        cells[-1] += f" ({row.interval})"
        for shown in row.axes:
            if wide:
                cells.append(shown.share if shown else "–")
            cells.append(shown.distance if shown else "–")
        style = "dim" if control else "bold" if row.place == 1 else ""
        table.add_row(*(Text(cell, style=style) for cell in (*cells, row.front)))
    return table
