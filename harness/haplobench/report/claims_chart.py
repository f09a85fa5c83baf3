"""Fidelity, attacks and cost against the privacy that generators claim, as small multiples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from haplobench.report.claims import Claim, Line, distinct, lines, read_claims
from haplobench.report.figures import Figure, render_chart, slug
from haplobench.report.model import Cell, Column, DatasetSummary, Summary
from haplobench.report.style import FLOOR_COLOUR, FigureStyle

if TYPE_CHECKING:
    import altair

_FAMILIES = {
    "fidelity": ("Fidelity against claimed ε", ("fidelity", "utility")),
    "privacy": ("Attacks against claimed ε", ("privacy",)),
    "performance": ("Cost against claimed ε", ("performance",)),
}
_CAPTION = (
    "One panel per headline number; ε of adding or removing one record, on a logarithmic axis, at "
    "its right end (none) generators without a bound: trained without noise, or with noise that "
    "comes from the seed. A line joins generators that differ in ε alone. {floor}Bars: {bars}."
)
_FLOOR = "Grey: the floor's 5–95 % range. "
NONE_GAP = 2.0
"""How far right of the largest ε `none` stands, as a factor."""


def draw_claims(summary: Summary) -> list[Figure]:
    """Figures of datasets where two generators or more claim privacy, to different degrees."""
    figures = []
    claims = read_claims(summary.run)
    order = FigureStyle(order=tuple(summary.run.cohorts))
    for label, dataset in summary.datasets.items():
        present = {cohort.label for cohort in dataset.cohorts if cohort.role == "generator"}
        here = {name: claim for name, claim in claims.get(label, {}).items() if name in present}
        if len({claim.epsilon for claim in here.values()}) < 2:
            continue
        joined = lines(summary.run, here)
        for name, (title, families) in _FAMILIES.items():
            columns = [c for family in families for c in dataset.headline(family)]
            chart = _chart(dataset, columns, here, joined)
            if chart is None:
                continue
            floor = _FLOOR if any(column.key in dataset.floors for column in columns) else ""
            figures.append(
                Figure(
                    dataset=label,
                    metric="claims",
                    name=f"{name}-by-epsilon",
                    title=title,
                    caption=_CAPTION.format(floor=floor, bars=_bars(dataset, columns, here)),
                    svg=render_chart(chart, order),
                    file=f"{slug(label)}/claims-{name}",
                )
            )
    return figures


def _chart(
    dataset: DatasetSummary,
    columns: Sequence[Column],
    claims: Mapping[str, Claim],
    joined: Sequence[Line],
) -> altair.ConcatChart | None:
    import altair as alt

    ticks = distinct(claim.epsilon for claim in claims.values())
    if not ticks:
        return None
    none = max(claim.epsilon for claim in claims.values() if math.isfinite(claim.epsilon))
    none *= NONE_GAP
    style = FigureStyle(order=tuple(line.label for line in joined), floor=())
    panels = []
    for column in columns:
        rows = _rows(dataset, column, claims, joined, none)
        if len({row["x"] for row in rows}) < 2 or _is_the_claim(rows):
            continue
        panels.append(_panel(dataset, column, rows, style, ticks, none))
    if not panels:
        return None
    spacing = {"row": 66, "column": 58}
    chart: altair.ConcatChart = alt.concat(
        *panels, columns=3, spacing=spacing, bounds="flush"
    ).resolve_scale(color="shared", shape="shared", strokeDash="shared")
    return chart


def _rows(
    dataset: DatasetSummary,
    column: Column,
    claims: Mapping[str, Claim],
    joined: Sequence[Line],
    none: float,
) -> list[dict[str, Any]]:
    rows = []
    for line in joined:
        for label in line.cohorts:
            cell = dataset.cell(label, column)
            if cell.value is None:
                continue
            epsilon = claims[label].epsilon
            low, high = _interval(cell)
            rows.append(
                {
                    "generator": label,
                    "line": line.label,
                    "x": epsilon if math.isfinite(epsilon) else none,
                    "epsilon": f"{epsilon:.3g}" if math.isfinite(epsilon) else "none",
                    "value": cell.value,
                    "low": low,
                    "high": high,
                }
            )
    return rows


def _is_the_claim(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a number only repeats ε, and would be drawn against itself."""
    return all(math.isclose(row["value"], row["x"], rel_tol=1e-2) for row in rows)


def _interval(cell: Cell) -> tuple[float, float]:
    assert cell.value is not None
    if cell.spread_over == "standard error" and cell.spread is not None:
        return cell.value - 1.96 * cell.spread, cell.value + 1.96 * cell.spread
    if cell.low is None or cell.high is None:
        return cell.value, cell.value
    return cell.low, cell.high


def _bars(dataset: DatasetSummary, columns: Sequence[Column], claims: Mapping[str, Claim]) -> str:
    """What the bars of a figure stand for."""
    over = {
        cell.spread_over
        for column in columns
        for label in claims
        if (cell := dataset.cell(label, column)).value is not None and cell.spread_over
    }
    told = ["1.96 standard errors of the metric"] * ("standard error" in over)
    told += [f"least to greatest over {name}" for name in sorted(over - {"standard error"})]
    return " or ".join(told) or "none, one draw"


def _panel(
    dataset: DatasetSummary,
    column: Column,
    rows: list[dict[str, Any]],
    style: FigureStyle,
    ticks: Sequence[float],
    none: float,
) -> altair.LayerChart | altair.FacetChart:
    import altair as alt

    base = alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
    labels = list(style.order)
    floor = dataset.floors.get(column.key)
    infinite = any(row["epsilon"] == "none" for row in rows)
    values = [*ticks, none] if infinite else list(ticks)
    first, last = min(row["x"] for row in rows), max(row["x"] for row in rows)
    axis = alt.Axis(
        values=values,
        labelExpr=f"datum.value > {none * 0.99} ? 'none' : format(datum.value, '~g')",
        labelOverlap="greedy",
    )
    x = alt.X(
        "x:Q",
        title="Claimed ε",
        scale=alt.Scale(type="log", domain=[first * 0.85, last * 1.2], nice=False),
        axis=axis,
    )
    unit = f" ({column.submetric.unit})" if column.submetric.unit else ""
    y_scale = alt.Scale(zero=False, nice=True, padding=6)
    large = max(abs(row["value"]) for row in rows) >= 1e4
    y_axis = alt.Axis(tickCount=4, format="~s" if large else "~g")
    y = alt.Y("value:Q", title=None, scale=y_scale, axis=y_axis)
    y_low = alt.Y("low:Q", title=None, scale=y_scale, axis=y_axis)
    several = len(labels) > 1
    legend = alt.Legend(orient="bottom", columns=3, labelLimit=260, symbolDash=[1, 0], offset=24)
    colour = alt.Color(
        "line:N", scale=style.scale(labels), title=None, legend=legend if several else None
    )
    dash = alt.StrokeDash("line:N", scale=style.dash_scale(labels), title=None, legend=None)
    shape = alt.Shape(
        "line:N", scale=style.shape_scale(labels), title=None, legend=legend if several else None
    )
    layers: list[Any] = []
    if floor is not None:
        band = alt.Data(values=[{"low": floor.low, "high": floor.high}])  # type: ignore[no-untyped-call]
        band_chart = alt.Chart(band)
        layers.append(
            band_chart.mark_rect(color=FLOOR_COLOUR, opacity=0.22, aria=False).encode(
                y=y_low, y2="high:Q"
            )
        )
        # A band too thin to be seen as a rectangle is still a line.
        layers.append(
            band_chart.mark_rule(color=FLOOR_COLOUR, strokeDash=[4, 3], aria=False).encode(
                y=alt.Y("high:Q", title=None, scale=y_scale, axis=y_axis)
            )
        )
    layers += [
        base.mark_line(opacity=0.75, aria=False).encode(
            x=x, y=y, color=colour, strokeDash=dash, order="x:Q"
        ),
        base.mark_rule(opacity=0.6, aria=False).encode(x=x, y=y_low, y2="high:Q", color=colour),
        base.mark_point(filled=True, size=42, opacity=1)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=shape,
            description=alt.Description("text:N"),
        )
        .transform_calculate(text=_told(column.title)),
    ]
    title = alt.TitleParams(f"{column.title}{unit}", fontSize=11, fontWeight=600, limit=250)
    panel: altair.LayerChart | altair.FacetChart = alt.layer(*layers).properties(
        width=190, height=120, title=title
    )
    return panel


def _told(title: str) -> str:
    """Vega's expression of what a point says."""
    name = title.replace("\\", "").replace("'", "’").replace(";", ",").replace(":", "")
    return (
        "'Generator: ' + datum.generator + '; Claimed ε: ' + datum.epsilon + "
        f"'; {name}: ' + format(datum.value, '.4~g')"
    )
