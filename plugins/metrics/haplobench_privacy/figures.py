"""Figures of the privacy metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from haplobench import CohortSeries
from haplobench.report.style import TICKS, inline

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

# Points of a curve; columns of small multiples, of which the fullest are taken.
_POINTS, _SHARES = 40, 60
_COLUMNS = (5, 4)
_WIDTH, _HEIGHT = 130, 100
_FALSE_DISCOVERIES = 0.05
# Of ROC curves: the lowest rate shown.
_LOWEST = 1e-3
_ROC = 220
_TICKS = [0.001, 0.01, 0.1, 1]


def draw_adversarial_accuracy(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.LayerChart | alt.FacetChart | None:
    """AA truth against AA synthetic: a point per fitted generator and draw, ideal marked."""
    rows = [
        {
            "generator": cohort.label,
            "truth": float(cohort.tables["accuracy"]["truth"][0]),
            "synthetic": float(cohort.tables["accuracy"]["synthetic"][0]),
        }
        for cohort in cohorts
        if "accuracy" in cohort.tables
    ]
    if not rows:
        return None
    labels = style.sorted([str(row["generator"]) for row in rows])
    unit = alt.Scale(domain=[0, 1], nice=False)
    ideal = alt.Chart(inline([{"at": 0.5}]))
    points = (
        alt.Chart(inline(rows))
        .mark_point(filled=True, opacity=0.85, clip=False)
        .encode(
            x=alt.X("truth:Q", title="AA truth", scale=unit),
            y=alt.Y("synthetic:Q", title="AA synthetic", scale=unit),
            color=alt.Color("generator:N", scale=style.scale(labels), title=None),
            shape=alt.Shape("generator:N", scale=style.shape_scale(labels), title=None),
        )
    )
    return alt.layer(
        ideal.mark_rule(strokeDash=[3, 3]).encode(x=alt.X("at:Q", scale=unit)),
        ideal.mark_rule(strokeDash=[3, 3]).encode(y=alt.Y("at:Q", scale=unit)),
        points,
    ).properties(width=style.height + 40, height=style.height + 40)


def draw_nearest_distances(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.FacetChart | None:
    """Cumulative distance to the nearest training haplotype, small multiples by generator."""
    return _cumulative(
        cohorts,
        style,
        lambda cohort: cohort.tables["synthetic"]["to_train"],
        lambda cohort: cohort.tables["real"]["holdout_to_train"],
        "distance (sites)",
        logarithmic=False,
    )


def draw_copied_tracts(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.FacetChart | None:
    """Cumulative length of the longest tract shared with a training haplotype."""
    return _cumulative(
        cohorts,
        style,
        lambda cohort: cohort.tables["synthetic"]["to_train_bp"] / 1e3,
        lambda cohort: cohort.tables["real"]["holdout_to_train_bp"] / 1e3,
        "longest tract (kb)",
        logarithmic=True,
    )


def draw_kinship(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """Cumulative kinship with the closest training person; below 0 counts as 0."""
    return _cumulative(
        cohorts,
        style,
        lambda cohort: cohort.tables["synthetic"]["kinship"],
        lambda cohort: cohort.tables["real"]["kinship"],
        "kinship",
        logarithmic=False,
    )


def _cumulative(
    cohorts: Sequence[CohortSeries],
    style: FigureStyle,
    synthetic: Callable[[CohortSeries], NDArray[Any]],
    real: Callable[[CohortSeries], NDArray[Any]],
    title: str,
    *,
    logarithmic: bool,
) -> alt.FacetChart | None:
    """Empirical distribution functions: each generator's, over that of held-out people.

    The mean over seeds and draws; the grey band is the range of the floor's draws.
    """
    cohorts = [cohort for cohort in cohorts if cohort.tables.keys() >= {"synthetic", "real"}]
    shown = [cohort for cohort in cohorts if cohort.role != "floor"]
    if not shown:
        return None
    everything = np.concatenate([f(cohort) for cohort in shown for f in (synthetic, real)])
    if logarithmic:
        low = max(float(everything.min()), 0.01)
        grid = np.geomspace(low, max(float(everything.max()), low * 1.01), _POINTS)
    else:
        grid = np.linspace(0, float(everything.max()) if everything.max() > 0 else 1.0, _POINTS)

    def curve(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.searchsorted(np.sort(values), grid * (1 + 1e-9), "right") / values.size

    unseen = curve(real(shown[0]))
    floor = [curve(synthetic(cohort)) for cohort in cohorts if cohort.role == "floor"] or [unseen]
    lowest, highest = np.min(floor, axis=0), np.max(floor, axis=0)
    labels = style.sorted([cohort.label for cohort in shown])
    rows = []
    for label in labels:
        mine = np.mean([curve(synthetic(c)) for c in shown if c.label == label], axis=0)
        rows += [
            {
                "generator": label,
                "x": float(f"{x:.4g}"),
                "share": round(float(y), 4),
                "unseen": round(float(u), 4),
                "low": round(float(a), 4),
                "high": round(float(b), 4),
            }
            for x, y, u, a, b in zip(grid, mine, unseen, lowest, highest, strict=True)
        ]
    grey = style.colour(style.floor[0])
    scale = alt.Scale(type="log" if logarithmic else "linear", nice=False)
    if logarithmic:
        decades = 10.0 ** np.arange(np.ceil(np.log10(grid[0])), np.log10(grid[-1]))
        axis = alt.Axis(values=decades.tolist(), labelExpr=TICKS)
    else:
        axis = alt.Axis(tickCount=2, labelExpr=TICKS)
    x = alt.X("x:Q", title=title, scale=scale, axis=axis)
    y = alt.Y("share:Q", title="cumulative share", scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart()
    layers = alt.layer(
        base.mark_area(color=grey, opacity=0.3).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(color=grey).encode(x=x, y=alt.Y("unseen:Q")),
        base.mark_line().encode(
            x=x,
            y=y,
            color=alt.Color("generator:N", scale=style.scale(labels), legend=None),
        ),
        data=inline(rows),
    )
    return _by_generator(layers, labels)


def draw_leak_list(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.FacetChart | None:
    """Strongest evidence by share of people, small multiples by generator; no names."""
    shown = [
        cohort
        for cohort in cohorts
        if cohort.role != "floor" and cohort.tables.keys() >= {"people", "unseen"}
    ]
    if not shown:
        return None
    labels = style.sorted([cohort.label for cohort in shown])
    share = np.linspace(0, 1, _SHARES)
    rows: list[dict[str, Any]] = []
    for label in labels:
        mine = [cohort.tables for cohort in shown if cohort.label == label]
        # Strongest first.
        people, unseen = (
            np.mean(
                [np.quantile(np.asarray(t[of]["strength"], float), 1 - share) for t in mine], axis=0
            )
            for of in ("people", "unseen")
        )
        flagged = np.mean([(t["people"]["q"] <= _FALSE_DISCOVERIES).mean() for t in mine])
        rows += [
            {
                "generator": label,
                "share": round(float(x), 4),
                "strength": float(f"{y:.4g}"),
                "unseen": float(f"{u:.4g}"),
                "flagged": bool(flagged > 0 and x <= flagged),
            }
            for x, y, u in zip(share, people, unseen, strict=True)
        ]
    # Linear up to some standard deviations, logarithmic beyond.
    scale = alt.Scale(type="symlog", constant=2, nice=False)
    x = alt.X("share:Q", title="share of people", axis=alt.Axis(format="%", tickCount=3))
    y = alt.Y("strength:Q", title="strongest evidence (SD)", scale=scale)
    colour = alt.Color("generator:N", scale=style.scale(labels), legend=None)
    base = alt.Chart()
    layers = alt.layer(
        base.mark_line(color=style.colour(style.floor[0])).encode(
            x=x, y=alt.Y("unseen:Q", scale=scale)
        ),
        base.mark_line().encode(x=x, y=y, color=colour),
        base.transform_filter("datum.flagged")
        .mark_point(filled=True, size=16)
        .encode(x=x, y=y, color=colour),
        data=inline(rows),
    )
    return _by_generator(layers, labels)


def _by_generator(layers: alt.LayerChart | alt.FacetChart, labels: Sequence[str]) -> alt.FacetChart:
    """Small multiples of layers on one table, in as full rows as can be."""
    chart: alt.FacetChart = layers.properties(width=_WIDTH, height=_HEIGHT).facet(
        facet=alt.Facet("generator:N", sort=labels, title=None),
        columns=min(_COLUMNS, key=lambda n: -len(labels) % n),
    )
    return chart


def draw_roc(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.LayerChart | alt.FacetChart | None:
    """True against false positive rate, log axes: a line per generator, the floor's range grey."""
    cohorts = [cohort for cohort in cohorts if "roc" in cohort.tables]
    shown = [cohort for cohort in cohorts if cohort.role != "floor"]
    if not shown:
        return None
    labels = style.sorted([cohort.label for cohort in shown])
    false = np.asarray(shown[0].tables["roc"]["false"], np.float64)
    above = false > 0

    def rates(of: Sequence[CohortSeries], together: Callable[..., Any]) -> NDArray[np.float64]:
        true = together([np.asarray(cohort.tables["roc"]["true"]) for cohort in of], axis=0)
        return np.asarray(np.maximum(true, _LOWEST)[above])

    lines = [
        {"generator": label, "false": float(f"{x:.3g}"), "true": float(f"{y:.3g}")}
        for label in labels
        for x, y in zip(
            false[above], rates([c for c in shown if c.label == label], np.mean), strict=True
        )
    ]
    scale = alt.Scale(type="log", domain=[_LOWEST, 1], nice=False, clamp=True)
    axis = alt.Axis(values=_TICKS, labelExpr=TICKS)
    x = alt.X("false:Q", title="false positive rate", scale=scale, axis=axis)
    y = alt.Y("true:Q", title="true positive rate", scale=scale, axis=axis)
    grey = style.colour(style.floor[0])
    chance = inline([{"false": at, "true": at} for at in (_LOWEST, 1.0)])
    layers = [
        alt.Chart(chance).mark_line(color=grey, strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=y),
        alt.Chart(inline(lines))
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=alt.Color("generator:N", scale=style.scale(labels), title=None),
            strokeDash=alt.StrokeDash("generator:N", scale=style.dash_scale(labels), title=None),
        ),
    ]
    floor = [cohort for cohort in cohorts if cohort.role == "floor"]
    if floor:
        low, high = rates(floor, np.min), rates(floor, np.max)
        at = zip(false[above].tolist(), low.tolist(), high.tolist(), strict=True)
        band = inline([{"false": x, "low": least, "high": most} for x, least, most in at])
        area = alt.Chart(band).mark_area(color=grey, opacity=0.3)
        layers.insert(0, area.encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q"))
    return alt.layer(*layers).properties(width=_ROC, height=_ROC)
