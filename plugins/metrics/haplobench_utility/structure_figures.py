"""Figures of ancestry, selection and demography."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle

_CELL = 24
_COLUMNS = 4


def draw_confusion(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """Percent of each superpopulation's people by what they are called, a panel per cohort.

    Mean over seeds and draws.
    """
    found: dict[str, dict[tuple[str, str], list[float]]] = {}
    for cohort in cohorts:
        table = cohort.tables.get("confusion")
        if table is None or not np.isfinite(table["share"]).all():
            continue
        cells = found.setdefault(cohort.label, {})
        for truth, called, share in zip(
            table["truth"].tolist(), table["called"].tolist(), table["share"].tolist(), strict=True
        ):
            cells.setdefault((truth, called), []).append(share)
    if not found:
        return None
    labels = style.sorted(list(found))
    rows: list[dict[str, Any]] = [
        {"cohort": label, "truth": truth, "called": called, "percent": 100 * float(np.mean(values))}
        for label in labels
        for (truth, called), values in found[label].items()
    ]
    names = sorted({row["truth"] for row in rows})
    side = _CELL * len(names)
    base = alt.Chart().encode(
        x=alt.X("called:N", title="Called", sort=names, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("truth:N", title="Held-out people", sort=names),
    )
    tiles = base.mark_rect().encode(
        color=alt.Color(
            "percent:Q",
            title="Percent",
            scale=alt.Scale(domain=[0, 100], scheme="blues"),
        )
    )
    text = base.mark_text(fontSize=9).encode(
        text=alt.Text("percent:Q", format=".0f"),
        color=alt.condition(alt.datum.percent > 55, alt.value("white"), alt.value("black")),
    )
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]
    return (
        alt.layer(tiles, text, data=data)
        .properties(width=side, height=side)
        .facet(facet=alt.Facet("cohort:N", sort=labels, title=None), columns=_COLUMNS)
    )
