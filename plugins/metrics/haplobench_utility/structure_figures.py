"""Figures of ancestry, selection and demography."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from haplobench import CohortSeries
from haplobench.report.style import FLOOR_COLOUR, PALETTE, TICKS, FigureStyle

_CELL = 24
_COLUMNS = 5
_WIDE, _SIDE, _TALL, _POINTS = 230, 130, 90, 160


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
    # Opacity, so that few are faint on a dark page, too; the number says the rest.
    tiles = base.mark_rect(color=PALETTE[0]).encode(
        opacity=alt.Opacity(
            "percent:Q", scale=alt.Scale(domain=[0, 100], range=[0, 1]), legend=None
        )
    )
    text = base.mark_text(fontSize=9, aria=False).encode(
        text=alt.Text("percent:Q", format=".0f"),
        color=alt.condition(alt.datum.percent > 55, alt.value("white"), alt.value("black")),
    )
    data = alt.Data(values=tuple(rows))  # type: ignore[no-untyped-call]
    return (
        alt.layer(tiles, text, data=data)
        .properties(width=side, height=side)
        .facet(facet=alt.Facet("cohort:N", sort=labels, title=None), columns=_COLUMNS)
    )


def draw_scan(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """H12 along the region, a panel per generator over the real haplotypes' in grey."""
    chosen: dict[str, CohortSeries] = {}
    for cohort in cohorts:
        if "windows" in cohort.tables and cohort.role != "floor":
            chosen.setdefault(cohort.label, cohort)
    labels = style.sorted(list(chosen))
    rows: list[dict[str, Any]] = []
    for label in labels:
        table = chosen[label].tables["windows"]
        n = len(table["start_bp"])
        # As many points as can be told apart.
        parts = np.array_split(np.arange(n), min(n, _POINTS))
        for part in parts:
            at = float(table["start_bp"][part].mean()) / 1e6
            for kind in ("real", "synthetic"):
                height = round(float(table[f"{kind}_h12"][part].mean()), 4)
                rows.append({"cohort": label, "kind": kind, "x": round(at, 4), "y": height})
    if not rows:
        return None
    base = alt.Chart().properties(width=_WIDE, height=_TALL)
    x = alt.X("x:Q", title="Position (Mb)", scale=alt.Scale(zero=False, nice=False))
    x = x.axis(tickCount=6)
    y = alt.Y("y:Q", title="H12")
    real = (
        base.transform_filter(alt.datum.kind == "real")
        .mark_area(color=FLOOR_COLOUR, opacity=0.45)
        .encode(x=x, y=y)
    )
    own = (
        base.transform_filter(alt.datum.kind == "synthetic")
        .mark_line(strokeWidth=1.2)
        .encode(x=x, y=y, color=alt.Color("cohort:N", scale=style.scale(labels), legend=None))
    )
    data = alt.Data(values=tuple(rows))  # type: ignore[no-untyped-call]
    return alt.layer(real, own, data=data).facet(
        facet=alt.Facet("cohort:N", sort=labels, title=None), columns=3
    )


def draw_sizes(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """Sizes by LD against generations ago, a panel per generator; real people dashed."""
    points: dict[tuple[str, str, float], list[float]] = {}
    for cohort in cohorts:
        table = cohort.tables.get("size")
        if table is None or cohort.role == "floor":
            continue
        for kind in ("real", "synthetic"):
            pairs = zip(table["generations"].tolist(), table[kind].tolist(), strict=True)
            for at, size in pairs:
                points.setdefault((cohort.label, kind, float(f"{at:.3g}")), []).append(size)
    if not points:
        return None
    labels = style.sorted([label for label, _, _ in points])
    rows = [
        {"cohort": label, "kind": kind, "x": at, "y": float(np.exp(np.mean(np.log(sizes))))}
        for (label, kind, at), sizes in points.items()
    ]
    base = alt.Chart().properties(width=_SIDE, height=_TALL)
    x = alt.X("x:Q", title="Generations ago", scale=alt.Scale(type="log", nice=False))
    y = alt.Y("y:Q", title="Effective size", scale=alt.Scale(type="log"))
    x, y = x.axis(labelExpr=TICKS, tickCount=3), y.axis(labelExpr=TICKS, tickCount=3)
    own = (
        base.transform_filter(alt.datum.kind == "synthetic")
        .mark_line(point=True)
        .encode(x=x, y=y, color=alt.Color("cohort:N", scale=style.scale(labels), legend=None))
    )
    real = (
        base.transform_filter(alt.datum.kind == "real")
        .mark_line(strokeDash=[4, 3], strokeWidth=1.2, color="black")
        .encode(x=x, y=y)
    )
    data = alt.Data(values=tuple(rows))  # type: ignore[no-untyped-call]
    return alt.layer(own, real, data=data).facet(
        facet=alt.Facet("cohort:N", sort=labels, title=None), columns=_COLUMNS
    )
