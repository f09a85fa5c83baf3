"""Figures of the performance metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from haplobench import CohortSeries
from haplobench.report.style import TICKS, inline

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle


_ROW = 18
_SHORTEST = 1e-3
_MIB = 2.0**20
_ORDER = ("data", "forward", "backward", "all-reduce", "optimiser")
_COLOURS = ("#7b8794", "#0072b2", "#4ba9e0", "#d55e00", "#dd9500")


def draw_time(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.Chart | None:
    """Wall seconds of fitting against those of sampling, both on log scales."""
    # What takes no measurable time stands at a millisecond: a log scale has no zero.
    rows = [
        {
            "generator": cohort.label,
            "fit": max(float(cohort.tables["time"]["fit_wall"][0]), _SHORTEST),
            "sample": max(float(cohort.tables["time"]["sample_wall"][0]), _SHORTEST),
        }
        for cohort in cohorts
        if "time" in cohort.tables
    ]
    if not rows:
        return None
    labels = style.sorted([str(row["generator"]) for row in rows])
    scale = alt.Scale(type="log")
    axis = alt.Axis(labelExpr=TICKS, tickCount=4)
    chart: alt.Chart = (
        alt.Chart(inline(rows))
        .mark_point(filled=True, opacity=0.85)
        .encode(
            x=alt.X("fit:Q", title="fitting (s)", scale=scale, axis=axis),
            y=alt.Y("sample:Q", title="sampling (s)", scale=scale, axis=axis),
            color=alt.Color("generator:N", scale=style.scale(labels), title=None),
            shape=alt.Shape("generator:N", scale=style.shape_scale(labels), title=None),
        )
        .properties(width=style.width, height=style.height)
    )
    return chart


def draw_throughput(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.LayerChart | alt.FacetChart | None:
    """Alleles per second by generator, fastest first: every draw, and their median."""
    rows: list[dict[str, Any]] = [
        {"generator": cohort.label, "rate": float(rate)}
        for cohort in cohorts
        if "rate" in cohort.tables
        for rate in cohort.tables["rate"]["alleles_per_second"]
    ]
    if not rows:
        return None
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(str(row["generator"]), []).append(row["rate"])
    medians = {label: float(np.median(rates)) for label, rates in found.items()}
    labels = sorted(medians, key=lambda label: -medians[label])
    x = alt.X(
        "rate:Q",
        title="alleles per second",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(labelExpr=TICKS, tickCount=4),
    )
    y = alt.Y("generator:N", sort=labels, title=None)
    color = alt.Color("generator:N", scale=style.scale(labels), legend=None)
    middle = alt.Chart(inline([{"generator": label, "rate": medians[label]} for label in labels]))
    points = alt.Chart(inline(rows))
    return alt.layer(
        points.mark_point(filled=True, opacity=0.5).encode(x=x, y=y, color=color),
        middle.mark_tick(thickness=2.5, size=_ROW * 0.8).encode(x=x, y=y, color=color),
        # To the right of the plot, where no point lies.
        middle.transform_calculate(said="replace(format(datum.rate, '.2~s'), /([kMG])/, ' $1')")
        .mark_text(align="left", dx=6)
        .encode(x=alt.value(style.width), y=y, text="said:N"),
    ).properties(width=style.width, height=_ROW * len(labels) + 4)


def draw_peak_memory(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.LayerChart | alt.FacetChart | None:
    """Peak and base resident memory of both stages, a row per generator."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for cohort in cohorts:
        if "memory" in cohort.tables:
            columns = (cohort.tables["memory"][name] for name in ("stage", "peak", "base"))
            for stage, peak, base in zip(*columns, strict=True):
                sizes = (float(peak) / _MIB, float(base) / _MIB)
                found.setdefault((cohort.label, str(stage)), []).append(sizes)
    if not found:
        return None
    rows = [
        {"generator": label, "stage": stage, "peak": means[0], "base": means[1]}
        for (label, stage), sizes in sorted(found.items())
        for means in [np.mean(sizes, axis=0).tolist()]
    ]
    labels = style.sorted([label for label, _ in found])
    y = alt.Y("generator:N", sort=labels, title=None)
    x = alt.X("peak:Q", title="resident memory (MiB)", axis=alt.Axis(tickCount=4, format=",.0f"))
    color = alt.Color("generator:N", scale=style.scale(labels), legend=None)
    base = alt.Chart()
    chart: alt.FacetChart = (
        alt.layer(
            base.mark_rule(strokeWidth=2).encode(x=x, x2="base:Q", y=y, color=color),
            base.mark_point(filled=False).encode(x=alt.X("base:Q"), y=y, color=color),
            base.mark_point(filled=True, opacity=1).encode(x=x, y=y, color=color),
            data=inline(rows),
        )
        .properties(width=style.width * 3 // 4, height=_ROW * len(labels) + 4)
        .facet(column=alt.Column("stage:N", title=None))
    )
    return chart


def draw_steps(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.Chart | None:
    """Seconds of all training steps by part: a bar per rank, its generator before it.

    Of each generator the first seed's first draw.
    """
    rows = []
    seen = set()
    for cohort in cohorts:
        if cohort.label in seen or "steps" not in cohort.tables:
            continue
        seen.add(cohort.label)
        table = cohort.tables["steps"]
        for rank, part, seconds in zip(table["rank"], table["part"], table["seconds"], strict=True):
            name = str(part).replace("_", "-")
            text = f"{cohort.label}, rank {rank}"
            place = _ORDER.index(name)
            rows.append({"rank": text, "part": name, "seconds": float(seconds), "place": place})
    if not rows:
        return None
    labels = list(dict.fromkeys(str(row["rank"]) for row in rows))
    chart: alt.Chart = (
        alt.Chart(inline(rows))
        .mark_bar()
        .encode(
            x=alt.X("seconds:Q", title="seconds"),
            y=alt.Y("rank:N", sort=labels, title=None, axis=alt.Axis(labelLimit=260)),
            color=alt.Color(
                "part:N", scale=alt.Scale(domain=list(_ORDER), range=list(_COLOURS)), title=None
            ),
            order="place:Q",
        )
        .properties(width=style.width, height=_ROW * len(labels) + 4)
    )
    return chart
