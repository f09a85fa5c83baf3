"""Figure of the metric `ranks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import altair as alt

from haplobench import CohortSeries

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

_ORDER = ("data", "forward", "backward", "all-reduce", "optimiser")
_COLOURS = ("#7b8794", "#0072b2", "#4ba9e0", "#d55e00", "#dd9500")
_ROW = 18


def draw_steps(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.Chart | None:
    """Seconds of all training steps by part: a bar per rank, its generator before it.

    Of each generator the first seed's first draw.
    """
    rows = []
    seen = set()
    for cohort in cohorts:
        if cohort.label in seen or "steps" not in cohort.tables:
            continue
        seen.add(cohort.label)
        table = cohort.tables["steps"]
        for rank, part, seconds in zip(table["rank"], table["part"], table["seconds"], strict=True):
            name = str(part).replace("_", "-")
            text = f"{cohort.label}, rank {rank}"
            place = _ORDER.index(name)
            rows.append({"rank": text, "part": name, "seconds": float(seconds), "place": place})
    if not rows:
        return None
    labels = list(dict.fromkeys(str(row["rank"]) for row in rows))
    chart: alt.Chart = (
        alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
        .mark_bar()
        .encode(
            x=alt.X("seconds:Q", title="seconds"),
            y=alt.Y("rank:N", sort=labels, title=None, axis=alt.Axis(labelLimit=260)),
            color=alt.Color(
                "part:N", scale=alt.Scale(domain=list(_ORDER), range=list(_COLOURS)), title=None
            ),
            order="place:Q",
        )
        .properties(width=style.width, height=_ROW * len(labels) + 4)
    )
    return chart
