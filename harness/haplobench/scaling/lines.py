"""A panel of lines against ranks: measured, projected (dashed) and ideal (dotted)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haplobench.scaling.curves import Curve, Point, Projected

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

WIDTH, HEIGHT = 270, 190
_COLUMNS = 2
_IDEAL = "ideal"
_KINDS = {"measured": (1, 0), "projected": (6, 4), _IDEAL: (1, 3)}
_GREY = "#808891"
_EDGE = 7  # px
_CROSS = "M-.9,-.9L.9,.9M.9,-.9L-.9,.9"

Chart = Any
Value = Callable[[Curve, Point | Projected], float | None]


@dataclass(frozen=True)
class Panel:
    """What a panel shows.

    Attributes
    ----------
    title, axis : str
        Above it, and of the vertical axis.
    log : int
        Base of a logarithmic vertical axis; 0: a linear one from 0.
    format : str
        Of the vertical axis's labels.
    top : bool
        Whether the word `projected` stands at the top, where lines rise.
    """

    title: str
    axis: str
    log: int = 0
    format: str = "~s"
    top: bool = False


def draw_lines(
    curves: Sequence[Curve],
    value: Value,
    panel: Panel,
    labels: Mapping[str, tuple[str, str]],
    ideal: Callable[[int], float] | None = None,
) -> Chart | None:
    """Lines of `value` by ranks, a curve each; points without one are left out, None if all are.

    `labels` are colour and shape of every generator of the figure, see `looks`: panels side by
    side share them.

    Filled: measured; crossed: measured with more ranks than cores; hollow and dashed: projected,
    from the last point that the projection was fitted to, so that lines meet.
    """
    import altair as alt

    rows = [row for curve in curves for row in _rows(curve, value)]
    if not rows:
        return None
    ahead = [row["ranks"] for row in rows if row["mark"] == "projected"]
    ticks = sorted({row["ranks"] for row in rows})
    if ideal is not None:
        rows += [
            {"generator": _IDEAL, "line": _IDEAL, "kind": _IDEAL, "mark": "none", "ranks": ranks,
             "value": ideal(ranks)}
            for ranks in ticks
        ]  # fmt: skip
    base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
    domain = [*labels, _IDEAL]
    x = alt.X(
        "ranks:Q",
        title="Ranks",
        scale=alt.Scale(type="log", base=2, nice=False, padding=8),
        axis=alt.Axis(values=ticks, format="d"),
    )
    scale = (
        alt.Scale(type="log", base=panel.log, nice=False, padding=8)
        if panel.log
        else alt.Scale(zero=True)
    )
    axis = alt.Axis(format=panel.format, tickCount=5)
    y = alt.Y("value:Q", title=panel.axis, scale=scale, axis=axis)
    colours = [*(colour for colour, _ in labels.values()), _GREY]
    shapes = [*(shape for _, shape in labels.values()), "circle"]
    legend = alt.Legend(orient="bottom", symbolDash=[1, 0], values=list(labels), columns=3)
    colour = alt.Color(
        "generator:N", scale=alt.Scale(domain=domain, range=colours), title=None, legend=legend
    )
    shape = alt.Shape(
        "generator:N",
        scale=alt.Scale(domain=domain, range=shapes),
        title=None,
        legend=legend,
    )
    dash = alt.StrokeDash(
        "kind:N",
        scale=alt.Scale(domain=list(_KINDS), range=[list(dash) for dash in _KINDS.values()]),
        legend=None,
    )
    layers: list[Any] = [
        base.transform_filter("datum.mark != 'oversubscribed'")
        .mark_line(aria=False)
        .encode(x=x, y=y, color=colour, strokeDash=dash, detail="line:N", order="ranks:Q"),
        base.transform_filter("datum.mark == 'measured'")
        .mark_point(filled=True, opacity=1, size=44)
        .encode(x=x, y=y, color=colour, shape=shape),
        base.transform_filter("datum.mark == 'projected'")
        .mark_point(filled=False, opacity=1, size=44)
        .encode(x=x, y=y, color=colour, shape=shape),
        base.transform_filter("datum.mark == 'oversubscribed'")
        .mark_point(shape=_CROSS, filled=False, opacity=1, size=44, strokeWidth=2)
        .encode(x=x, y=y, color=colour),
    ]
    if ahead:
        layers += _region(min(ahead), max(ticks), _EDGE if panel.top else HEIGHT - _EDGE)
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=panel.title)


def looks(curves: Sequence[Curve], style: FigureStyle) -> dict[str, tuple[str, str]]:
    """Colour and shape of the curves' generators, in the order of the run."""
    names = style.sorted([curve.generator for curve in curves])
    return {name: (style.colour(name), style.shape(name)) for name in names}


def grid(panels: Sequence[Chart | None]) -> Chart | None:
    """Panels side by side; None where there are none."""
    import altair as alt

    drawn = [panel for panel in panels if panel is not None]
    if not drawn:
        return None
    if len(drawn) == 1:
        return drawn[0]
    return alt.concat(*drawn, columns=_COLUMNS)


def _region(first: int, last: int, height: int) -> list[Chart]:
    """A shade behind the world sizes that are projected, and the word."""
    import altair as alt

    start = first / 2**0.5 if last > first else first / 2**0.25
    base = alt.Chart(alt.Data(values=[{"start": start, "end": last}]))  # type: ignore[no-untyped-call]
    return [
        base.mark_rect(color=_GREY, opacity=0.08, aria=False).encode(x="start:Q", x2="end:Q"),
        base.mark_text(
            align="left",
            baseline="middle",
            dx=4,
            fontStyle="italic",
            fontSize=10.5,
            text="projected",
        ).encode(x="start:Q", y=alt.value(height)),
    ]


def _rows(curve: Curve, value: Value) -> list[dict[str, Any]]:
    rows = []
    for point in curve.points:
        over = curve.oversubscribed(point)
        rows.append(_row(curve, point, value, "measured", "oversubscribed" if over else "measured"))
    if curve.projected:
        rows.append(_row(curve, curve.sound[-1], value, "projected", "none"))
        rows += [_row(curve, point, value, "projected", "projected") for point in curve.projected]
    return [row for row in rows if row["value"] is not None]


def _row(
    curve: Curve, point: Point | Projected, value: Value, kind: str, mark: str
) -> dict[str, Any]:
    return {
        "generator": curve.generator,
        "line": f"{curve.generator} {curve.mode} {kind}",
        "kind": kind,
        "mark": mark,
        "ranks": point.ranks,
        "value": value(curve, point),
    }
