"""Figure of the leak list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from haplobench import CohortSeries

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

_POINTS = 60
_COLUMNS = (4, 5, 3)
_FALSE_DISCOVERIES = 0.05


def draw_leak_list(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """Strongest evidence by share of people, small multiples by generator; no names."""
    shown = [
        cohort
        for cohort in cohorts
        if cohort.role != "floor" and cohort.tables.keys() >= {"people", "unseen"}
    ]
    if not shown:
        return None
    labels = style.sorted([cohort.label for cohort in shown])
    share = np.linspace(0, 1, _POINTS)
    rows: list[dict[str, Any]] = []
    for label in labels:
        mine = [cohort for cohort in shown if cohort.label == label]
        people = np.mean([_sorted(c.tables["people"]["strength"], share) for c in mine], axis=0)
        unseen = np.mean([_sorted(c.tables["unseen"]["strength"], share) for c in mine], axis=0)
        flagged = np.mean([(c.tables["people"]["q"] <= _FALSE_DISCOVERIES).mean() for c in mine])
        rows += [
            {
                "generator": label,
                "share": round(float(x), 4),
                "strength": float(f"{y:.4g}"),
                "unseen": float(f"{u:.4g}"),
                "flagged": bool(flagged > 0 and x <= flagged),
            }
            for x, y, u in zip(share, people, unseen, strict=True)
        ]
    # Linear up to some standard deviations, logarithmic beyond.
    scale = alt.Scale(type="symlog", constant=2, nice=False)
    x = alt.X("share:Q", title="share of people", axis=alt.Axis(format="%", tickCount=3))
    y = alt.Y("strength:Q", title="strongest evidence (SD)", scale=scale)
    colour = alt.Color("generator:N", scale=style.scale(labels), legend=None)
    base = alt.Chart()
    chart: alt.FacetChart = (
        alt.layer(
            base.mark_line(color=style.colour(style.floor[0])).encode(
                x=x, y=alt.Y("unseen:Q", scale=scale)
            ),
            base.mark_line().encode(x=x, y=y, color=colour),
            base.transform_filter("datum.flagged")
            .mark_point(filled=True, size=16)
            .encode(x=x, y=y, color=colour),
            data=pd.DataFrame(rows),
        )
        .properties(width=style.width // 2, height=style.height // 2)
        .facet(
            facet=alt.Facet("generator:N", sort=labels, title=None),
            columns=min(_COLUMNS, key=lambda n: -len(labels) % n),
        )
    )
    return chart


def _sorted(strength: NDArray[Any], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strength at shares of people, strongest first."""
    return np.asarray(np.quantile(np.asarray(strength, np.float64), 1 - share))
