"""A history in the terminal, and as one HTML page that works offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haplobench.files import write_whole
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


def sparkline(values: Sequence[float]) -> str:
    """A curve of block characters, the newest at the right; longer ones are thinned by means."""
    if len(values) > CURVE:
        cuts = [round(index * len(values) / CURVE) for index in range(CURVE + 1)]
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


# --- the page --------------------------------------------------------------------------------

LIMIT = 2_000_000
"""Bytes that a page may have: beyond, the last plots are left to the tables."""
_STATUS = {"better": "improved", "worse": "regressed", "changed": "unchanged"}
_CAPTION = (
    "A point a run, oldest first: the mean over its seeds and draws, the bar their standard "
    "deviation. Dashed: a change of level begins there."
)


def write_page(history: History, to: Path) -> None:
    """Write the page, whole or not at all.

    Raises BenchError if the extra `report` is missing.
    """
    write_whole(to, render_history(history))


def render_history(history: History, limit: int = LIMIT) -> str:
    """The page as text, of at most `limit` bytes as long as any plot is left to drop."""
    from haplobench.report import html

    groups = [
        _group(history, head, series, number)
        for number, (head, series) in enumerate(grouped(history).items())
    ]
    runs = len(history.runs)
    changed = sum(bool(series.changes) for series in history.series)
    context: dict[str, Any] = {
        "title": "History",
        "subtitle": ", ".join(dict.fromkeys(s.key.suite for s in history.series if s.key.suite)),
        "lead": f"{counted(runs, 'run')}, {len(history.series)} series, {changed} "
        "with a change of level.",
        "changes": _changes(history),
        "skipped": ", ".join(f"{n:,} {why}" for why, n in sorted(history.skipped.items())),
        "groups": groups,
    }
    text = html.render("history.html.jinja", context)
    while len(text.encode()) > limit and any(group["figures"] for group in groups):
        most = max(groups, key=lambda group: len(group["figures"]))
        cut = max(1, len(most["figures"]) // 4)
        del most["figures"][-cut:]
        most["undrawn"] += cut
        text = html.render("history.html.jinja", context)
    return text


def _changes(history: History) -> list[Mapping[str, Any]]:
    rows = [
        {
            "generator": series.key.generator + ranks(series),
            "number": name_of(series),
            "dataset": " · ".join(p for p in (series.key.suite, series.key.dataset) if p),
            "verdict": change.verdict,
            "status": _STATUS[change.verdict],
            "commit": series.points[change.index].commit,
            "started": series.points[change.index].started[:19].replace("T", " "),
            "before": change.before,
            "after": change.after,
            "before_text": number(change.before),
            "after_text": number(change.after),
        }
        for series in history.series
        for change in series.changes
    ]
    return sorted(rows, key=lambda row: str(row["started"]), reverse=True)


def _group(
    history: History, head: tuple[str, str, str], group: Sequence[Series], place: int
) -> dict[str, Any]:
    suite, dataset, hardware = head
    figures = []
    for index, (name, found) in enumerate(groupby(group, key=name_of)):
        figures.append(_figure(name, list(found), f"h{place}-{index}-"))
    return {
        "title": " · ".join(part for part in (suite, dataset) if part) or "Benchmarks",
        "machine": history.machines.get(hardware, hardware),
        "figures": figures,
        "undrawn": 0,
        "rows": [
            {
                "generator": series.key.generator + ranks(series),
                "number": name_of(series),
                "runs": len(series.points),
                "first": series.points[0].value,
                "last": series.points[-1].value,
                "first_text": number(series.points[0].value),
                "last_text": number(series.points[-1].value),
                "change": described(series, series.changes[-1]) if series.changes else "",
            }
            for series in group
        ],
    }


def _figure(name: str, group: Sequence[Series], prefix: str) -> dict[str, Any]:
    """A line for each generator over the runs, its changes of level marked."""
    import altair as alt
    import pandas as pd
    from markupsafe import Markup

    from haplobench.report.figures import render_chart
    from haplobench.report.style import FigureStyle
    from haplobench.report.svg import clean, size

    title = group[0].title
    labels = [(series.key.generator or title) + ranks(series) for series in group]
    order = sorted({(p.started, p.run_id) for series in group for p in series.points})
    place = {run: index + 1 for index, (_, run) in enumerate(order)}
    rows = [
        {
            "run": place[point.run_id],
            "commit": point.commit,
            "started": point.started[:10],
            "generator": label,
            "line": f"{label} {series.key.version}",
            "value": point.value,
            "low": point.value - point.deviation,
            "high": point.value + point.deviation,
        }
        for series, label in zip(group, labels, strict=True)
        for point in series.points
    ]
    marks = [
        {"run": place[series.points[change.index].run_id], "generator": label}
        for series, label in zip(group, labels, strict=True)
        for change in series.changes
    ]
    style = FigureStyle(order=tuple(dict.fromkeys(labels)))
    unit = f" ({group[0].unit})" if group[0].unit else ""
    base = alt.Chart(pd.DataFrame(rows))
    axis = alt.Axis(tickMinStep=1, format="d")
    x = alt.X("run:Q", title="run", axis=axis, scale=alt.Scale(nice=False))
    y = alt.Y("value:Q", title=f"{title}{unit}", scale=alt.Scale(zero=False))
    colour = alt.Color("generator:N", scale=style.scale(list(style.order)), title=None)
    layers = [
        base.mark_rule(opacity=0.35).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        base.mark_line().encode(x=x, y=y, color=colour, detail="line:N", description="line:N"),
        base.mark_point(filled=True, size=22).encode(
            x=x, y=y, color=colour, detail=["commit:N", "started:N"]
        ),
    ]
    if marks:
        at = alt.Chart(pd.DataFrame(marks))
        layers.append(at.mark_rule(strokeDash=[4, 3]).encode(x="run:Q", color=colour))
    chart = alt.layer(*layers).properties(width=style.width, height=style.height)
    svg = clean(
        render_chart(chart, style), prefix=prefix, ink="currentColor", label=name, interactive=True
    )
    width, height = size(svg)
    return {
        "title": f"{title}{unit}",
        "caption": f"{name}. {_CAPTION}",
        "svg": Markup(svg),
        "width": round(width),
        "height": round(height),
    }
