"""Scaling figures: speed-up, step shares, all-reduce time, memory against batch size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from haplobench.distributed.steps import PARTS
from haplobench.results.costs import CellCost
from haplobench.scaling.curves import Curve
from haplobench.scaling.model import Projected
from haplobench.scaling.points import STAGES, Point

if TYPE_CHECKING:
    import altair

    from haplobench.report.style import FigureStyle

_MIB = 2.0**20
_COLUMNS = 2
_WIDTH, _HEIGHT = 270, 190
_SHADES = ("#7b8794", "#0072b2", "#4ba9e0", "#d55e00", "#dd9500")
_KINDS = ("measured", "projected", "ideal")

Chart = Any


def draw_speedup(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """Speed-up against ranks, a panel per stage and mode; the projection dashed, ideal dotted."""
    panels = []
    labels = [curve.generator for curve in curves]
    for mode in ("strong", "weak"):
        for stage in STAGES:
            here = [curve for curve in curves if (curve.mode, curve.stage) == (mode, stage)]
            if here:
                rows = [row for curve in here for row in _rows(curve, curve.speedup)]
                rows += _ideal(here)
                title = f"{stage.capitalize()}, {mode} scaling"
                panels.append(_lines(rows, labels, style, title, "Speed-up", log=True))
    return _grid(panels)


def draw_all_reduce(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """Milliseconds of all-reduce that a step waits for, against ranks."""
    rows, labels = [], []
    for curve in curves:
        steps = curve.points[-1].steps
        if curve.stage != "training" or not steps:
            continue

        def waited(point: Point | Projected, steps: float = steps) -> float:
            own = point.steps if isinstance(point, Point) else steps
            return point.waited / own * 1e3

        labels.append(curve.generator)
        rows += _rows(curve, waited)
    if not rows:
        return None
    title = "All-reduce waited for in a training step"
    return _grid([_lines(rows, labels, style, title, "ms per step", log=False)])


def draw_shares(curves: Sequence[Curve], style: FigureStyle) -> Chart | None:
    """Shares of a training step by ranks: a stacked bar for each world size."""
    import altair as alt

    panels = []
    for curve in curves:
        rows = [
            {"ranks": str(point.ranks), "part": name.replace("_", "-"), "share": share, "place": i}
            for point in curve.points
            for i, (name, share) in enumerate(point.shares.items())
        ]
        if curve.stage != "training" or not rows:
            continue
        names = [name.replace("_", "-") for name in PARTS]
        sizes = [str(point.ranks) for point in curve.points]
        base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
        panels.append(
            base.mark_bar()
            .encode(
                x=alt.X("share:Q", title="Share of a step", axis=alt.Axis(format="%", tickCount=5)),
                y=alt.Y("ranks:N", title="Ranks", sort=sizes),
                color=alt.Color(
                    "part:N",
                    scale=alt.Scale(domain=names, range=list(_SHADES)),
                    title="Part",
                    legend=alt.Legend(orient="bottom"),
                ),
                order="place:Q",
            )
            .properties(
                width=_WIDTH,
                height=26 * len(sizes),
                title=f"{curve.generator}, {curve.mode} scaling",
            )
        )
    return _grid(panels)


def draw_memory(costs: Sequence[CellCost], style: FigureStyle) -> Chart | None:
    """Peak memory of a rank in training against the batch size of the step, by world size.

    None unless one generator was trained with two batch sizes or more.
    """
    import altair as alt

    rows = []
    for cost in costs:
        size = cost.params.get("batch_size")
        if isinstance(size, int):
            ranks = cost.fit["ranks"]
            text = f"{cost.name}, {cost.world_size} rank{'s' if cost.world_size > 1 else ''}"
            peak = max(rank["peak_rss"] for rank in ranks)
            rows.append({"line": text, "batch": size, "peak": peak / _MIB, "kind": "memory"})
            if cost.fit["peak_gpu_memory"] is not None:
                peak = cost.fit["peak_gpu_memory"] / _MIB
                rows.append({"line": text, "batch": size, "peak": peak, "kind": "GPU memory"})
    several = {row["line"] for row in rows}
    several = {
        line for line in several if len({row["batch"] for row in rows if row["line"] == line}) > 1
    }
    rows = [row for row in rows if row["line"] in several]
    if not rows:
        return None
    base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
    ticks = sorted({row["batch"] for row in rows})
    x = alt.X(
        "batch:Q",
        title="Haplotypes per step",
        scale=alt.Scale(type="log", base=2, nice=False),
        axis=alt.Axis(values=ticks, format="d"),
    )
    y = alt.Y("mean(peak):Q", title="Peak memory of a rank (MiB)", scale=alt.Scale(zero=False))
    colour = alt.Color("line:N", title=None)
    dash = alt.StrokeDash("kind:N", title=None, legend=None)
    chart: Chart = alt.layer(
        base.mark_line().encode(x=x, y=y, color=colour, strokeDash=dash),
        base.mark_point(filled=True, opacity=1).encode(
            x=x, y=y, color=colour, shape=alt.Shape("kind:N", legend=None)
        ),
    ).properties(width=_WIDTH, height=_HEIGHT)
    return chart


def _rows(curve: Curve, value: Callable[[Point | Projected], float]) -> list[dict[str, Any]]:
    """Rows of a curve; the projection begins at the last measured point, so that lines meet."""
    rows = [_row(curve, point, value, "measured") for point in curve.points]
    if curve.projected:
        ahead: list[Point | Projected] = [curve.points[-1], *curve.projected]
        rows += [_row(curve, point, value, "projected") for point in ahead]
    return rows


def _row(
    curve: Curve, point: Point | Projected, value: Callable[[Point | Projected], float], kind: str
) -> dict[str, Any]:
    at = value(point)
    shown = kind if kind == "measured" or isinstance(point, Projected) else "start"
    last = kind == "projected" and point is curve.projected[-1]
    text = "projected" if last else ""
    return {
        "generator": curve.generator,
        "line": f"{curve.generator} {curve.mode} {kind}",
        "kind": kind,
        "mark": shown,
        "ranks": point.ranks,
        "value": at,
        "text": text,
    }


def _ideal(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    first = min(curve.points[0].ranks for curve in curves)
    last = max(
        curve.projected[-1].ranks if curve.projected else curve.points[-1].ranks for curve in curves
    )
    return [
        {"generator": "ideal", "line": "ideal", "kind": "ideal", "mark": "start", "ranks": ranks,
         "value": ranks / first, "text": ""}
        for ranks in (first, last)
    ]  # fmt: skip


def _lines(
    rows: list[dict[str, Any]],
    labels: Sequence[str],
    style: FigureStyle,
    title: str,
    y_title: str,
    *,
    log: bool,
) -> altair.LayerChart | altair.FacetChart:
    import altair as alt

    base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
    ticks = sorted({row["ranks"] for row in rows})
    names = style.sorted(list(labels))
    colours = [*(style.colour(name) for name in names), "#808891"]
    shapes = [*(style.shape(name) for name in names), "circle"]
    x = alt.X(
        "ranks:Q",
        title="Ranks",
        scale=alt.Scale(type="log", base=2, nice=False, padding=8),
        axis=alt.Axis(values=ticks, format="d"),
    )
    scale = alt.Scale(type="log", base=2, nice=False, padding=8) if log else alt.Scale(zero=True)
    y = alt.Y("value:Q", title=y_title, scale=scale, axis=alt.Axis(format=",~r", tickCount=6))
    legend = alt.Legend(orient="bottom", symbolDash=[1, 0], values=names)
    colour = alt.Color(
        "generator:N",
        scale=alt.Scale(domain=[*names, "ideal"], range=colours),
        title=None,
        legend=legend,
    )
    shape = alt.Shape(
        "generator:N",
        scale=alt.Scale(domain=[*names, "ideal"], range=shapes),
        title=None,
        legend=legend,
    )
    dash = alt.StrokeDash(
        "kind:N",
        scale=alt.Scale(domain=list(_KINDS), range=[[1, 0], [6, 4], [1, 3]]),
        legend=None,
    )
    points = base.transform_filter("datum.mark != 'start'")
    chart: altair.LayerChart | altair.FacetChart = alt.layer(
        base.mark_line(aria=False).encode(
            x=x, y=y, color=colour, strokeDash=dash, detail="line:N", order="ranks:Q"
        ),
        points.transform_filter("datum.kind == 'measured'")
        .mark_point(filled=True, opacity=1, size=44)
        .encode(x=x, y=y, color=colour, shape=shape),
        points.transform_filter("datum.kind == 'projected'")
        .mark_point(filled=False, opacity=1, size=44)
        .encode(x=x, y=y, color=colour, shape=shape),
        base.transform_filter("datum.text != ''")
        .mark_text(align="right", dy=12, fontStyle="italic", fontSize=10)
        .encode(x=x, y=y, text="text:N", color=colour),
    ).properties(width=_WIDTH, height=_HEIGHT, title=title)
    return chart


def _grid(panels: Sequence[Any]) -> Chart | None:
    import altair as alt

    if not panels:
        return None
    if len(panels) == 1:
        return panels[0]
    return alt.concat(*panels, columns=_COLUMNS)
