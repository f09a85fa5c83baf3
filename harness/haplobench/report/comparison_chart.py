"""A comparison as a map: generators down, headline numbers across, coloured by their status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from haplobench.report.figures import render_chart
from haplobench.report.formatting import format_value
from haplobench.report.style import FigureStyle

if TYPE_CHECKING:
    from haplobench.comparison.model import Comparison

TITLE = "What became of the headline numbers"
CAPTION = (
    "One square per generator and headline number: an arrow up is improved, a cross regressed or "
    "failed, plain unchanged, a question mark what could not be compared."
)
_COLOURS = {
    "improved": "#009e73",
    "unchanged": "#b6bec8",
    "regressed": "#c2334d",
    "failed": "#8f1d30",
    "missing": "#d55e00",
    "new": "#0072b2",
    "incomparable": "#dd9500",
}
_MARKS = {
    "improved": "▲",
    "unchanged": "",
    "regressed": "✕",
    "failed": "✕",
    "missing": "–",
    "new": "+",
    "incomparable": "?",
}
_SIDE = 22


def comparison_svg(comparison: Comparison) -> str | None:
    """The map as annotated SVG; None where there is no headline number on either side."""
    import altair as alt

    rows: list[dict[str, Any]] = []
    several = len({row.dataset for row in comparison.rows}) > 1
    for row in comparison.rows:
        if not row.headline or row.role == "floor" or not row.metric:
            continue
        entry = {
            "generator": f"{row.generator} ({row.dataset})" if several else row.generator,
            "number": row.title or row.submetric or row.metric,
            "status": row.status,
            "mark": _MARKS[row.status],
            "base": "–" if row.base is None else format_value(row.base),
            "head": "–" if row.head is None else format_value(row.head),
        }
        rows.append(entry)
    if not rows:
        return None
    generators = list(dict.fromkeys(row["generator"] for row in rows))
    numbers = list(dict.fromkeys(row["number"] for row in rows))
    style = FigureStyle(order=tuple(generators))
    base = alt.Chart(alt.Data(values=rows)).encode(  # type: ignore[no-untyped-call]
        x=alt.X(
            "number:N",
            sort=numbers,
            title=None,
            axis=alt.Axis(
                labelAngle=-40, orient="top", labelLimit=240, labelOverlap=False, domain=False
            ),
        ),
        y=alt.Y("generator:N", sort=generators, title=None),
    )
    statuses = [status for status in _COLOURS if any(row["status"] == status for row in rows)]
    squares = base.mark_rect(stroke="white", strokeOpacity=0.4).encode(
        color=alt.Color(
            "status:N",
            scale=alt.Scale(domain=statuses, range=[_COLOURS[name] for name in statuses]),
            title="Status",
        ),
        detail=["base:N", "head:N"],
    )
    marks = base.mark_text(color="white", fontSize=11, aria=False).encode(text="mark:N")
    chart = alt.layer(squares, marks).properties(
        width=_SIDE * len(numbers), height=_SIDE * len(generators)
    )
    return render_chart(chart, style)
