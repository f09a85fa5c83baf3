"""A history in the terminal: a table with a small curve a line, and a plot of one metric."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from haplobench.history.reading import Change, History, Series
from haplobench.units import counted

if TYPE_CHECKING:
    from rich.console import Console

BLOCKS = "▁▂▃▄▅▆▇█"
CURVE = 24
PLOT_LINES = 16
STYLES = {"better": "green", "worse": "red", "changed": "yellow"}


def print_history(history: History, console: Console, *, plots: bool) -> None:
    """Print a table a dataset, the newest change points first said in words; with `plots`, a
    plot for every metric of every dataset."""
    from rich.table import Table

    changed = sum(bool(series.changes) for series in history.series)
    runs = history.runs
    console.print(
        f"{counted(len(runs), 'run')}, {len(history.series)} series, "
        f"{changed} with a change of level",
        highlight=False,
    )
    for (suite, dataset, hardware), group in grouped(history).items():
        title = " · ".join(
            part for part in (suite, dataset, history.machines.get(hardware, hardware)) if part
        )
        table = Table(title=title or "benchmarks", title_justify="left", box=None, pad_edge=False)
        table.add_column("metric", overflow="fold")
        table.add_column("generator", overflow="fold")
        table.add_column("runs", justify="right")
        table.add_column("first", justify="right")
        table.add_column("last", justify="right")
        table.add_column("", no_wrap=True)
        table.add_column("last change", overflow="fold")
        for series in group:
            table.add_row(
                name_of(series),
                series.key.generator + ranks(series),
                str(len(series.points)),
                number(series.points[0].value),
                number(series.points[-1].value),
                sparkline([point.value for point in series.points]),
                _last_change(series),
            )
        console.print(table)
        if plots:
            _plots(group, console)
    for why, count in sorted(history.skipped.items()):
        console.print(f"left out: {count:,} {why}", style="dim", highlight=False)


def sparkline(values: Sequence[float], width: int = CURVE) -> str:
    """A curve of block characters, the newest at the right; longer ones are thinned by means."""
    if len(values) > width:
        cuts = [round(index * len(values) / width) for index in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts) if b > a]
    low, high = min(values), max(values)
    if low == high:
        return BLOCKS[3] * len(values)
    return "".join(
        BLOCKS[min(int((value - low) / (high - low) * len(BLOCKS)), len(BLOCKS) - 1)]
        for value in values
    )


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}"


def described(series: Series, change: Change) -> str:
    """A change point in words."""
    at = series.points[change.index]
    return f"{change.verdict} at {at.commit}: {number(change.before)} → {number(change.after)}"


def ranks(series: Series) -> str:
    """The world size, where there is more than one rank."""
    return f" ×{series.key.world_size}" if series.key.world_size > 1 else ""


def _last_change(series: Series) -> str:
    if not series.changes:
        return ""
    change = series.changes[-1]
    return f"[{STYLES[change.verdict]}]{described(series, change)}[/]"


def name_of(series: Series) -> str:
    """Metric, number, labels and unit of a series."""
    key = series.key
    labels = "".join(f" {name}={value}" for name, value in key.labels)
    unit = f" ({series.unit})" if series.unit else ""
    return f"{key.metric}/{key.submetric}{labels}{unit}"


def grouped(history: History) -> dict[tuple[str, str, str], list[Series]]:
    """Series by suite, dataset and hardware fingerprint, in the order of their numbers."""
    groups: dict[tuple[str, str, str], list[Series]] = {}
    for series in history.series:
        key = series.key
        groups.setdefault((key.suite, key.dataset, key.hardware), []).append(series)
    for group in groups.values():
        group.sort(key=lambda series: (series.key.metric, series.key.submetric, series.key))
    return groups


def _plots(group: Sequence[Series], console: Console) -> None:
    """One plot for each number, a line for each generator, over the runs in their order."""
    import plotext
    from rich.text import Text

    names = dict.fromkeys(name_of(series) for series in group)
    for name in names:
        chosen = [series for series in group if name_of(series) == name]
        order = sorted({(p.started, p.run_id, p.commit) for s in chosen for p in s.points})
        place = {run: index for index, (_, run, _) in enumerate(order)}
        plotext.clear_figure()
        plotext.theme("clear")
        plotext.plotsize(max(console.width - 2, 40), PLOT_LINES)
        plotext.title(name)
        for series in chosen:
            x = [place[point.run_id] for point in series.points]
            y = [point.value for point in series.points]
            label = (series.key.generator or series.title) + ranks(series)
            draw = plotext.plot if len(x) > 1 else plotext.scatter
            draw(x, y, label=label, marker="braille" if len(x) > 1 else "dot")
            for change in series.changes:
                plotext.vline(x[change.index])
        step = max(1, len(order) // 6)
        ticks = list(range(0, len(order), step))
        plotext.xticks(ticks, [order[tick][2] for tick in ticks])
        console.print(Text.from_ansi(plotext.build()))
