"""Scaling curves on the terminal: a table and a bar of efficiency for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from haplobench.scaling.curves import Curve
from haplobench.scaling.tables import rows_of
from haplobench.units import format_size

if TYPE_CHECKING:
    from rich.console import Console

_BAR = 20


def print_curves(curves: Sequence[Curve], console: Console) -> None:
    """Print every curve: measured rows, then projected ones, dim."""
    from rich.markup import escape
    from rich.table import Table

    for curve in curves:
        title = f"{curve.dataset} · {curve.generator} · {curve.stage}, {curve.mode} scaling"
        table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
        table.add_column("ranks", justify="right")
        for name in ("time", "speed-up", "efficiency"):
            table.add_column(name, justify="right")
        table.add_column("", min_width=_BAR)
        names = ("per step", "all-reduce", "sent", "imbalance", "peak/rank")
        for name in names:
            table.add_column(name, justify="right")
        for row in rows_of(curve):
            table.add_row(*_cells(row), style="dim italic" if row["kind"] == "projected" else "")
        console.print(table)
        console.print(_said(curve), style="dim", highlight=False, soft_wrap=True)
        console.print()


def _cells(row: dict[str, Any]) -> list[str]:
    filled = round(_BAR * min(1.0, row["efficiency"]))
    mark = "█" if row["kind"] == "measured" else "░"
    cells = [
        str(row["ranks"]),
        f"{row['seconds']:.3g} s",
        f"{row['speedup']:.2f}×",
        f"{row['efficiency']:.0%}",
        mark * filled,
    ]
    if row["kind"] == "projected":
        return [*cells, "projected", _time(row["waited_seconds"]), "", "", ""]
    sent = row["bytes_per_step"]
    share = row["share_all_reduce"]
    return [
        *cells,
        _time(row["seconds_per_step"]),
        "–" if share is None else f"{share:.1%}",
        "–" if sent is None else f"{format_size(round(sent))}/step",
        f"{row['imbalance']:.1%}",
        format_size(round(row["peak_rss"])),
    ]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _said(curve: Curve) -> str:
    """What the projection rests on."""
    model = curve.model
    base = curve.points[0]
    whole = model.computing(base.amount, base.ranks)
    parts = [f"serial {model.serial / whole:.1%} of the time at {base.ranks} rank"] if whole else []
    if model.alpha or model.beta:
        parts.append(
            f"all-reduce α {model.alpha * 1e6:.3g} µs, 1/β "
            + (f"{1 / model.beta / 1e9:.3g} GB/s" if model.beta else "not seen")
        )
    error = "three world sizes are needed" if curve.error is None else f"{curve.error:+.1%}"
    parts.append(f"projection's error at the largest world size, left out: {error}")
    return "; ".join(parts)
