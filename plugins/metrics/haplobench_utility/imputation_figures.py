"""Figures of the metrics of imputation."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np

from haplobench import CohortSeries
from haplobench.report.curves import Curve, curve_multiples
from haplobench.report.style import FigureStyle


def draw_imputation(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """Mean r² by minor allele frequency on a logarithmic axis, a panel per generator."""

    def curve(cohort: CohortSeries) -> Curve | None:
        table = cohort.tables.get("by_maf")
        if table is None:
            return None
        return tuple(np.asarray(table[name]) for name in ("maf", "real_r2", "synthetic_r2"))  # type: ignore[return-value]

    return curve_multiples(
        cohorts,
        style,
        curve,
        x=alt.X(
            "x:Q",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=[0.001, 0.003, 0.01, 0.03, 0.1, 0.3], format="%"),
            title="Minor allele frequency",
        ),
        y=alt.Y("y:Q", title="Mean r²", scale=alt.Scale(domain=[0, 1])),
    )


def draw_augmentation(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """Mean r² by people added to the small real panel, a panel per generator."""

    def curve(cohort: CohortSeries) -> Curve | None:
        table = cohort.tables.get("curve")
        if table is None:
            return None
        r2 = np.asarray(table["r2"], np.float64)
        return np.asarray(table["added"], np.float64), np.full(r2.size, r2[0]), r2

    return curve_multiples(
        cohorts,
        style,
        curve,
        x=alt.X("x:Q", scale=alt.Scale(nice=False), title="People added"),
        y=alt.Y("y:Q", title="Mean r²", scale=alt.Scale(zero=False)),
    )
