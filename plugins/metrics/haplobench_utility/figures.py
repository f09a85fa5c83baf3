"""Figures of the utility metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from haplobench import CohortSeries
from haplobench.report.figures import Curve, curve_multiples
from haplobench.report.style import FLOOR_COLOUR, PALETTE, TICKS, FigureStyle, inline


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


def draw_effects(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """Effects in a cohort by those in held-out people, a panel per label (its first draw)."""
    chosen: dict[str, CohortSeries] = {}
    for cohort in sorted(cohorts, key=lambda cohort: (cohort.seed, cohort.replicate)):
        if "effects" in cohort.tables and cohort.tables["effects"]["real"].size:
            chosen.setdefault(cohort.label, cohort)
    if not chosen:
        return None
    labels = style.sorted(list(chosen))
    rows: list[dict[str, Any]] = [
        {"cohort": label, "real": round(float(real), 3), "synthetic": round(float(other), 3)}
        for label in labels
        for table in [chosen[label].tables["effects"]]
        for real, other in zip(table["real"], table["synthetic"], strict=True)
    ]
    reach = max(max(abs(row["real"]), abs(row["synthetic"])) for row in rows) or 1.0
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    corners = [
        {"cohort": label, "real": -reach, "synthetic": -reach, "end": reach} for label in labels
    ]
    x = alt.X("real:Q", title="Effect in held-out people", scale=scale, axis=alt.Axis(tickCount=3))
    y = alt.Y("synthetic:Q", title="Effect in the cohort", scale=scale, axis=alt.Axis(tickCount=3))
    line = (
        alt.Chart().transform_filter("isValid(datum.end)").mark_rule(strokeDash=[3, 3], aria=False)
    )
    points = (
        alt.Chart()
        .transform_filter("!isValid(datum.end)")
        .mark_point(size=8, filled=True, opacity=0.6)
        .encode(x=x, y=y, color=alt.Color("cohort:N", scale=style.scale(labels), legend=None))
    )
    data = inline([*corners, *rows])
    return (
        alt.layer(line.encode(x=x, y=y, x2="end:Q", y2="end:Q"), points, data=data)
        .properties(width=_SIDE, height=_SIDE)
        .facet(alt.Facet("cohort:N", title=None, sort=labels), columns=_COLUMNS)
    )


def draw_accuracy(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """r² of scores by cohort, a panel per superpopulation; ticks for real panels."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    groups: dict[str, None] = {}
    for cohort in cohorts:
        table = cohort.tables.get("accuracy")
        if table is None:
            continue
        for name, real, synthetic in zip(
            table["superpopulation"].tolist(), table["real"], table["synthetic"], strict=True
        ):
            groups.setdefault(name)
            found.setdefault((cohort.label, name), []).append((float(synthetic), float(real)))
    if not found:
        return None
    labels = style.sorted([label for label, _ in found])
    rows = [
        {"cohort": label, "group": name, "synthetic": means[0], "real": means[1]}
        for (label, name), pairs in found.items()
        for means in [np.mean(pairs, axis=0).tolist()]
    ]
    base = alt.Chart().encode(y=alt.Y("cohort:N", title=None, sort=labels))
    ticks = base.mark_tick(thickness=2, size=11, color=style.colour(style.floor[0])).encode(
        x=alt.X("real:Q", title="r² in held-out people")
    )
    points = base.mark_point(filled=True, size=40).encode(
        x="synthetic:Q", color=alt.Color("cohort:N", scale=style.scale(labels), legend=None)
    )
    data = inline(rows)
    return (
        alt.layer(ticks, points, data=data)
        .properties(width=_SIDE, height=14 * len(labels))
        .facet(alt.Facet("group:N", title=None, sort=list(groups)), columns=_COLUMNS)
    )


_CELL, _COLUMNS = 24, 5
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
    data = inline(rows)
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
    data = inline(rows)
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
    data = inline(rows)
    return alt.layer(own, real, data=data).facet(
        facet=alt.Facet("cohort:N", sort=labels, title=None), columns=_COLUMNS
    )
