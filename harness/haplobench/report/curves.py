"""Curves as small multiples: one panel per generator, over the floor's range. For plugins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from haplobench.plugin import CohortSeries
from haplobench.report.style import FLOOR_COLOUR, FigureStyle, inline

Curve = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
# Panels side by side, and their size.
_COLUMNS = 5
_WIDTH, _HEIGHT = 130, 100


def curve_multiples(
    cohorts: Sequence[CohortSeries],
    style: FigureStyle,
    curve: Callable[[CohortSeries], Curve | None],
    *,
    x: Any,
    y: Any,
) -> alt.FacetChart | None:
    """One panel per generator: its mean curve, its seeds' (faint), the real one, the floor's range.

    `curve` gives (x, real y, synthetic y) of a cohort, each (n,), or None. `x` and `y` are
    altair encodings of the fields `x` and `y`. None where no generator has a curve.
    """
    drawn = [(cohort, found) for cohort in cohorts if (found := curve(cohort)) is not None]
    labels = style.sorted([cohort.label for cohort, _ in drawn if cohort.role != "floor"])
    if not labels:
        return None
    floor = _range([found for cohort, found in drawn if cohort.role == "floor"])
    rows: list[dict[str, Any]] = []
    for label in labels:
        mine = [(cohort.seed, found) for cohort, found in drawn if cohort.label == label]
        rows += [{"generator": label, "kind": "floor", **row} for row in floor]
        rows += _mean_rows(label, "real", [(at, real) for _, (at, real, _) in mine])
        rows += _mean_rows(label, "mean", [(at, synthetic) for _, (at, _, synthetic) in mine])
        seeds = sorted({seed for seed, _ in mine})
        for seed in seeds if len(seeds) > 1 else []:
            one = [(at, synthetic) for own, (at, _, synthetic) in mine if own == seed]
            rows += _mean_rows(label, f"seed {seed}", one)
    base = alt.Chart().properties(width=_WIDTH, height=_HEIGHT)
    kind = alt.datum.kind
    band = (
        base.transform_filter(kind == "floor")
        .mark_area(color=FLOOR_COLOUR, opacity=0.45)
        .encode(x=x, y=y, y2="high:Q")
    )
    colour = alt.Color("generator:N", scale=style.scale(labels), legend=None)
    faint = (
        base.transform_filter("indexof(datum.kind, 'seed') == 0")
        .mark_line(opacity=0.35, strokeWidth=0.8)
        .encode(x=x, y=y, color=colour, detail="kind:N")
    )
    mean = (
        base.transform_filter(kind == "mean")
        .mark_line(strokeWidth=1.8)
        .encode(x=x, y=y, color=colour)
    )
    real = (
        base.transform_filter(kind == "real")
        .mark_line(strokeWidth=1.2, strokeDash=[4, 3], color="black")
        .encode(x=x, y=y)
    )
    data = inline(rows)
    return alt.layer(band, faint, mean, real, data=data).facet(
        facet=alt.Facet("generator:N", sort=labels, title=None), columns=_COLUMNS
    )


def _mean_rows(
    label: str, kind: str, curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> list[dict[str, Any]]:
    """Mean over curves, at each x that any of them has."""
    return [
        {"generator": label, "kind": kind, "x": at, "y": float(np.mean(values))}
        for at, values in _by_x(curves).items()
    ]


def _range(curves: Sequence[Curve]) -> list[dict[str, float]]:
    values = _by_x([(at, synthetic) for at, _, synthetic in curves])
    return [{"x": at, "y": min(found), "high": max(found)} for at, found in values.items()]


def _by_x(
    curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for at, values in curves:
        for x, y in zip(at.tolist(), values.tolist(), strict=True):
            found.setdefault(float(f"{x:.6g}"), []).append(y)
    return dict(sorted(found.items()))
