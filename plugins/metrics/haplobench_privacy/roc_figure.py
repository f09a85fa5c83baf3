"""Figure of the attacks' ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from haplobench import CohortSeries

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

# Lowest rate shown.
_LOWEST = 1e-3
_TICKS = [0.001, 0.01, 0.1, 1]


def draw_roc(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.LayerChart | None:
    """True against false positive rate, log axes: a line per generator, the floor's range grey."""
    cohorts = [cohort for cohort in cohorts if "roc" in cohort.tables]
    shown = [cohort for cohort in cohorts if cohort.role != "floor"]
    if not shown:
        return None
    labels = style.sorted([cohort.label for cohort in shown])
    lines = [
        _rows(label, np.mean([_true(c) for c in shown if c.label == label], axis=0), _false(shown))
        for label in labels
    ]
    scale = alt.Scale(type="log", domain=[_LOWEST, 1], nice=False, clamp=True)
    axis = alt.Axis(values=_TICKS, format="~g")
    x = alt.X("false:Q", title="false positive rate", scale=scale, axis=axis)
    y = alt.Y("true:Q", title="true positive rate", scale=scale, axis=axis)
    layers = []
    floor = [_true(cohort) for cohort in cohorts if cohort.role == "floor"]
    grey = style.colour(style.floor[0])
    if floor:
        false = _false(shown)
        band = pd.DataFrame(
            {
                "false": false,
                "low": np.maximum(np.min(floor, axis=0), _LOWEST),
                "high": np.maximum(np.max(floor, axis=0), _LOWEST),
            }
        )
        layers.append(
            alt.Chart(band[band["false"] > 0])
            .mark_area(color=grey, opacity=0.3)
            .encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q")
        )
    chance = pd.DataFrame({"false": [_LOWEST, 1.0], "true": [_LOWEST, 1.0]})
    layers.append(
        alt.Chart(chance).mark_line(color=grey, strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=y)
    )
    layers.append(
        alt.Chart(pd.concat(lines))
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=alt.Color("generator:N", scale=style.scale(labels), title=None),
            strokeDash=alt.StrokeDash("generator:N", scale=style.dash_scale(labels), title=None),
        )
    )
    chart = alt.layer(*layers).properties(width=style.width, height=style.width)
    assert isinstance(chart, alt.LayerChart)
    return chart


def _false(cohorts: Sequence[CohortSeries]) -> NDArray[np.float64]:
    return np.asarray(cohorts[0].tables["roc"]["false"], np.float64)


def _true(cohort: CohortSeries) -> NDArray[np.float64]:
    return np.asarray(cohort.tables["roc"]["true"], np.float64)


def _rows(label: str, true: NDArray[np.float64], false: NDArray[np.float64]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "generator": label,
            "false": [float(f"{x:.3g}") for x in false],
            "true": [float(f"{max(y, _LOWEST):.3g}") for y in true],
        }
    )
    return table[table["false"] > 0]
