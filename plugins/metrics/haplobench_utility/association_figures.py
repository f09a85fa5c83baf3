"""Figures of association studies and polygenic scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from haplobench import CohortSeries
from haplobench.report.style import FigureStyle

_SIDE, _COLUMNS = 130, 5


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
    data = alt.Data(values=(*corners, *rows))  # type: ignore[no-untyped-call]
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
    data = alt.Data(values=tuple(rows))  # type: ignore[no-untyped-call]
    return (
        alt.layer(ticks, points, data=data)
        .properties(width=_SIDE, height=14 * len(labels))
        .facet(alt.Facet("group:N", title=None, sort=list(groups)), columns=_COLUMNS)
    )
