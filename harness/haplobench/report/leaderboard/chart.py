"""The Pareto front as a chart: fidelity against privacy, cost as size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from haplobench.report.leaderboard.board import Leaderboard

if TYPE_CHECKING:
    import altair

    from haplobench.report.style import FigureStyle

TITLE = "Fidelity, privacy and cost"
CAPTION = (
    "Typical distance from real people in standard deviations of the floor, with 95 % bootstrap "
    "intervals; the nearer to the lower left, the better. Filled: on the Pareto front; the larger "
    "the mark, the costlier."
)
_TITLES = {
    "fidelity": "Fidelity: distance from the floor",
    "privacy": "Privacy: distance from the floor",
    "cost": "Cost: times the cheapest, less 1",
}


def draw_front(
    board: Leaderboard, style: FigureStyle
) -> altair.LayerChart | altair.FacetChart | None:
    """The chart, or None where fewer than two axes were measured."""
    import altair as alt

    axes = board.axes
    if not board.rows or len(axes) < 2:
        return None
    rows: list[dict[str, Any]] = []
    for row in board.rows:
        entry: dict[str, Any] = {
            "generator": row.label,
            "front": "on the front" if row.front else "off the front",
            "cost": row.axes["cost"].distance + 1 if "cost" in row.axes else 1.0,
        }
        for name, axis in (("x", row.axes[axes[0]]), ("y", row.axes[axes[1]])):
            entry |= {name: axis.distance, f"{name}_low": axis.low, f"{name}_high": axis.high}
        rows.append(entry)
    labels = style.sorted([row.label for row in board.rows])
    base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]

    def encoding(name: str, kind: Any, axis: str) -> Any:
        # Symmetric logarithm: linear near the floor, logarithmic far from it.
        scale = alt.Scale(type="symlog", constant=1, nice=False, zero=True, padding=8)
        ticks = [0, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000]
        return kind(
            f"{name}:Q",
            title=_TITLES[axis],
            scale=scale,
            axis=alt.Axis(values=ticks, labelExpr="format(datum.value, ',~r')"),
        )

    x, y = encoding("x", alt.X, axes[0]), encoding("y", alt.Y, axes[1])
    colour = alt.Color(
        "generator:N",
        scale=style.scale(labels),
        title="Generator",
        legend=alt.Legend(symbolOpacity=1, symbolStrokeWidth=1.6),
    )
    lines = [
        base.mark_rule(opacity=0.5).encode(x=x, y=encoding("y_low", alt.Y, axes[1]), y2="y_high:Q",
                                           color=colour),
        base.mark_rule(opacity=0.5).encode(x=encoding("x_low", alt.X, axes[0]), x2="x_high:Q", y=y,
                                           color=colour),
    ]  # fmt: skip
    filled = [
        base.transform_filter(alt.datum.front == front)
        .mark_point(filled=fill, opacity=1, strokeWidth=1.6)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=alt.Shape("generator:N", scale=style.shape_scale(labels), title="Generator"),
            size=alt.Size(
                "cost:Q",
                scale=alt.Scale(type="log", range=[50, 320]),
                title="Times the cheapest",
                legend=None,
            ),
            detail="front:N",
        )
        for front, fill in (("on the front", True), ("off the front", False))
    ]
    chart: altair.LayerChart | altair.FacetChart = alt.layer(*lines, *filled).properties(
        width=420, height=300
    )
    return chart
