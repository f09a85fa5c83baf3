"""Figures of LD: decay by distance, and the heat map of neighbouring sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle
from haplobench_fidelity.small_multiples import (
    Curve,
    curve_multiples,
    first_cohorts,
    picture_uri,
    rgb,
)

if TYPE_CHECKING:
    import altair

_SIDE = 140
# Viridis: evenly perceived, safe for colour-blind readers, legible on white and on dark.
_COLOURS = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")


def draw_decay(cohorts: Sequence[CohortSeries], style: FigureStyle) -> altair.FacetChart | None:
    """Mean r² by distance in kb on a logarithmic axis, a panel per generator."""
    import altair as alt

    return curve_multiples(
        cohorts,
        style,
        _decay,
        x=alt.X(
            "x:Q",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=[0.3, 1, 3, 10, 30, 100, 300, 1000], format="~g"),
            title="Distance (kb)",
        ),
        y=alt.Y("y:Q", title="Mean r²"),
    )


def draw_heat_map(cohorts: Sequence[CohortSeries], style: FigureStyle) -> altair.FacetChart | None:
    """r² of adjacent sites, real above the diagonal, synthetic below; a picture per generator."""
    import altair as alt

    chosen = first_cohorts(cohorts, "heat_map", style)
    if not chosen:
        return None
    rows: list[dict[str, Any]] = []
    for cohort in chosen:
        table = cohort.tables["heat_map"]
        uri = _heat_map(table["real_r2"], table["synthetic_r2"])
        # The value only spans the colour legend; its point is not visible.
        rows += [
            {"generator": cohort.label, "picture": uri, "r2": value, "place": 0.5}
            for value in (0.0, 1.0)
        ]
    scale = alt.Scale(domain=[0, 1], nice=False)
    base = alt.Chart().properties(width=_SIDE, height=_SIDE)
    x = alt.X("place:Q", scale=scale, axis=None)
    y = alt.Y("place:Q", scale=scale, axis=None)
    picture = (
        base.transform_filter(alt.datum.r2 == 0)
        .mark_image(width=_SIDE, height=_SIDE, aspect=False)
        .encode(x=x, y=y, url="picture:N")
    )
    legend = base.mark_point(opacity=0, size=0).encode(
        x=x,
        y=y,
        color=alt.Color(
            "r2:Q",
            scale=alt.Scale(domain=[0, 1], range=list(_COLOURS), interpolate="rgb"),
            legend=alt.Legend(title="r²", gradientLength=_SIDE),
        ),
    )
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]
    return alt.layer(picture, legend, data=data).facet(
        facet=alt.Facet("generator:N", sort=[cohort.label for cohort in chosen], title=None),
        columns=4,
    )


def _decay(cohort: CohortSeries) -> Curve | None:
    table = cohort.tables.get("decay")
    if table is None:
        return None
    kilobases = np.sqrt(np.asarray(table["low"]) * np.asarray(table["high"])) / 1000
    return kilobases, np.asarray(table["real_r2"]), np.asarray(table["synthetic_r2"])


def _heat_map(real: NDArray[np.uint8], synthetic: NDArray[np.uint8]) -> str:
    """Both triangles in one picture; `real` and `synthetic` are (n, n) r² as 0-255."""
    value = np.where(np.tri(real.shape[0], dtype=bool), synthetic, real) / 255
    anchors = np.stack([rgb(colour) for colour in _COLOURS])
    at = np.linspace(0, 1, len(_COLOURS))
    # Few steps of colour: the picture must stay small.
    value = np.round(value * 10) / 10
    channels = [np.interp(value, at, anchors[:, channel]) for channel in range(3)]
    pixels = np.dstack([*channels, np.full(value.shape, 255.0)])
    return picture_uri(pixels.round().astype(np.uint8))
