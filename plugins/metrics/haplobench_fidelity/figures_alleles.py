"""Figures of allele frequencies and of the allele-frequency spectrum."""

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

_SIDE = 130
_BINS = 65


def draw_frequencies(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> altair.FacetChart | None:
    """Density of sites by real and synthetic frequency, a picture per generator."""
    import altair as alt

    chosen = first_cohorts(cohorts, "frequencies", style)
    if not chosen:
        return None
    rows: list[dict[str, Any]] = []
    for cohort in chosen:
        table = cohort.tables["frequencies"]
        uri = _density(table["real"], table["synthetic"], style.colour(cohort.label))
        rows.append({"generator": cohort.label, "picture": uri, "low": 0, "middle": 0.5, "high": 1})
    ticks = alt.Axis(values=[0, 0.5, 1])
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("low:Q", scale=scale, axis=ticks, title="Held-out frequency")
    y = alt.Y("low:Q", scale=scale, axis=ticks, title="Synthetic frequency")
    base = alt.Chart().properties(width=_SIDE, height=_SIDE)
    diagonal = base.mark_rule(strokeWidth=0.7).encode(x=x, y=y, x2="high:Q", y2="high:Q")
    picture = base.mark_image(width=_SIDE, height=_SIDE, aspect=False).encode(
        x="middle:Q", y="middle:Q", url="picture:N"
    )
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]
    return alt.layer(diagonal, picture, data=data).facet(
        facet=alt.Facet("generator:N", sort=[row["generator"] for row in rows], title=None),
        columns=5,
    )


def draw_spectrum(cohorts: Sequence[CohortSeries], style: FigureStyle) -> altair.FacetChart | None:
    """Folded spectra on logarithmic axes, a panel per generator."""
    import altair as alt

    return curve_multiples(
        cohorts,
        style,
        _spectrum,
        x=alt.X(
            "x:Q",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]),
            title="Copies of the rarer allele",
        ),
        y=alt.Y(
            "y:Q",
            scale=alt.Scale(type="log"),
            axis=alt.Axis(values=[10.0**power for power in range(-6, 1)], format="~g"),
            title="Share of sites",
        ),
    )


def _spectrum(cohort: CohortSeries) -> Curve | None:
    table = cohort.tables.get("spectrum")
    if table is None:
        return None
    copies = np.asarray(table["copies"], np.float64)
    real, synthetic = (np.asarray(table[key], np.float64) for key in ("real", "synthetic"))
    # On a logarithmic axis the common classes crowd, and there is no place for 0.
    spaced = np.geomspace(1, max(copies[-1], 1), 24).round()
    shown = np.isin(copies, spaced) & (real > 0)
    if not shown.any():
        return None
    # A cohort that all but lacks a class would stretch the axis until nothing else is told apart.
    lowest = real[shown].min() / 10
    return copies[shown], real[shown], np.maximum(synthetic[shown], lowest)


def _density(real: NDArray[Any], synthetic: NDArray[Any], colour: str) -> str:
    """Number of sites per cell as opacity, by logarithm, in the generator's colour."""
    edges = np.linspace(0, 1, _BINS + 1)
    counts, _, _ = np.histogram2d(synthetic, real, bins=(edges, edges))
    pixels = np.zeros((_BINS, _BINS, 4))
    pixels[..., :3] = rgb(colour)
    strength = np.log1p(counts) / max(np.log1p(counts.max()), 1e-9)
    pixels[..., 3] = np.where(counts > 0, 255 * (0.3 + 0.7 * strength), 0)
    return picture_uri(np.flipud(pixels).round().astype(np.uint8))
