"""Figures as a metric plugin would bring them, good and bad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle


def draw_curve(cohorts: Sequence[CohortSeries], style: FigureStyle) -> Any:
    frame = pd.concat(
        pd.DataFrame(
            {"bp": c.tables["curve"]["bin_bp"], "r2": c.tables["curve"]["synthetic_r2"]}
        ).assign(generator=c.label)
        for c in cohorts
    )
    frame = frame.groupby(["generator", "bp"], as_index=False).mean()
    labels = sorted({c.label for c in cohorts})
    return (
        alt.Chart(frame)
        .mark_line(clip=True)
        .encode(
            x=alt.X("bp:Q", scale=alt.Scale(type="log"), title="Distance (bp)"),
            y=alt.Y("r2:Q", title="Mean r²"),
            color=alt.Color("generator:N", scale=style.scale(labels), title="Generator"),
            strokeDash=alt.StrokeDash("generator:N", scale=style.dash_scale(labels)),
        )
        .properties(width=style.width, height=style.height)
    )


def draw_scatter(cohorts: Sequence[CohortSeries], style: FigureStyle) -> Any:
    first = {c.label: c for c in reversed(cohorts) if c.replicate == 0}
    frame = pd.concat(
        pd.DataFrame(
            {"real": c.tables["pairs"]["real_r"], "synthetic": c.tables["pairs"]["synthetic_r"]}
        ).assign(generator=label)
        for label, c in first.items()
    )
    return (
        alt.Chart(frame)
        .mark_point(size=8)
        .encode(
            x=alt.X("real:Q", title="Real r"),
            y=alt.Y("synthetic:Q", title="Synthetic r"),
            color=alt.Color("generator:N", scale=style.scale(list(first)), legend=None),
            facet=alt.Facet("generator:N", columns=4, title=None),
        )
        .properties(width=110, height=110)
    )


def draw_broken(cohorts: Sequence[CohortSeries], style: FigureStyle) -> Any:
    raise RuntimeError("division by zero people")


def draw_nothing(cohorts: Sequence[CohortSeries], style: FigureStyle) -> None:
    return None
