"""Figures of haplotype and population structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from haplobench import CohortSeries
from haplobench_fidelity.figures_raster import Panel, scatter
from haplobench_fidelity.figures_sequence import first_draws

if TYPE_CHECKING:
    from haplobench.report.style import FigureStyle

_STRETCHES = 50
_MOST_GROUPS = 10
_GREY = "#b8bec5"
_HELD_OUT = "held-out"
# Other hues than the generators', so that a population is not taken for one.
_GROUP_COLOURS = (
    "#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2",
    "#6cc5b0", "#9c6b4e", "#ff8ab7", "#97bbf5", "#5b5f66",
)  # fmt: skip


def draw_words(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.TopLevelMixin | None:
    """Divergence of 10-site words along the region, mean over seeds and draws."""
    sums: dict[str, list[NDArray[np.float64]]] = {}
    centres: NDArray[np.float64] = np.empty(0)
    for cohort in cohorts:
        table = cohort.tables.get("windows-10")
        if table is None:
            continue
        parts = np.array_split(np.arange(table["jsd"].size), min(_STRETCHES, table["jsd"].size))
        centres = np.array([table["start_bp"][part].mean() for part in parts]) / 1e6
        sums.setdefault(cohort.label, []).append(
            np.array([table["jsd"][part].mean() for part in parts])
        )
    if not sums:
        return None
    labels = style.sorted(list(sums))
    values = [
        {"cohort": label, "position": round(float(x), 5), "jsd": round(float(y), 5)}
        for label in labels
        for x, y in zip(centres, np.mean(sums[label], axis=0), strict=True)
    ]
    x = alt.X("position:Q", title="position (Mb)", scale=alt.Scale(zero=False, nice=False))
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(strokeWidth=1.5)
        .encode(
            x=x,
            y=alt.Y(
                "jsd:Q",
                title="10-SNP word JSD (bit)",
                scale=alt.Scale(type="symlog", constant=0.02),
            ),
            color=alt.Color("cohort:N", title=None, scale=style.scale(labels)),
            strokeDash=alt.StrokeDash("cohort:N", title=None, scale=style.dash_scale(labels)),
        )
        .properties(width=2 * style.width, height=style.height)
    )
    return chart


def draw_components(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.TopLevelMixin | None:
    """The first two principal components, a panel per cohort after that of held-out people."""
    chosen = {
        label: cohort
        for label, cohort in first_draws(cohorts, "real").items()
        if {"pc1", "pc2"} <= set(cohort.tables["real"])
    }
    if not chosen:
        return None
    real = next(iter(chosen.values())).tables["real"]
    level, legend = _groups(real)
    tables = [real, *(cohort.tables["synthetic"] for cohort in chosen.values())]
    domains = tuple(_domain([table[axis] for table in tables]) for axis in ("pc1", "pc2"))
    # Every other held-out person is enough to see the shape by, in half the bytes.
    beneath = (real["pc1"][::2], real["pc2"][::2], _GREY)
    panels = [Panel(_HELD_OUT, [(real["pc1"], real["pc2"], _colours(real, level, legend, _GREY))])]
    for label in style.sorted(list(chosen)):
        table = chosen[label].tables["synthetic"]
        colours = _colours(table, level, legend, style.colour(label))
        panels.append(Panel(label, [beneath, (table["pc1"], table["pc2"], colours)]))
    return scatter(panels, titles=("PC1", "PC2"), domains=(domains[0], domains[1]), legend=legend)


def draw_pairwise(cohorts: Sequence[CohortSeries], style: FigureStyle) -> alt.TopLevelMixin | None:
    """Densities of pairwise differences: held-out people and the first draw of each cohort."""
    chosen = first_draws(cohorts, "pairwise")
    if not chosen:
        return None
    labels = style.sorted(list(chosen))
    values = [
        {"cohort": label, "x": round(float(x), 4), "density": round(float(y), 5)}
        for label in labels
        for x, y in _columns(chosen[label], "synthetic_density")
    ]
    held_out = [
        {"cohort": _HELD_OUT, "x": round(float(x), 4), "density": round(float(y), 5)}
        for x, y in _columns(chosen[labels[0]], "real_density")
    ]
    x = alt.X("x:Q", title="differences per kb")
    y = alt.Y("density:Q", title="density")
    lines = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(strokeWidth=1.5)
        .encode(
            x=x,
            y=y,
            color=alt.Color("cohort:N", title=None, scale=style.scale(labels)),
            strokeDash=alt.StrokeDash("cohort:N", title=None, scale=style.dash_scale(labels)),
        )
    )
    area = (
        alt.Chart(alt.InlineData(values=held_out))
        .mark_area(color=_GREY, opacity=0.45)
        .encode(x=x, y=y)
    )
    return alt.layer(area, lines).properties(width=2 * style.width, height=style.height)


def draw_homozygosity(
    cohorts: Sequence[CohortSeries], style: FigureStyle
) -> alt.TopLevelMixin | None:
    """H12 by window, held-out against synthetic, a panel per cohort."""
    chosen = first_draws(cohorts, "windows")
    if not chosen:
        return None
    panels = []
    highest = 0.0
    for label in style.sorted(list(chosen)):
        table = chosen[label].tables["windows"]
        highest = max(highest, table["real_h12"].max(), table["synthetic_h12"].max())
        panels.append(
            Panel(label, [(table["real_h12"], table["synthetic_h12"], style.colour(label))])
        )
    domain = (0.0, min(1.0, float(highest) * 1.05))
    return scatter(
        panels,
        titles=("H12, held-out", "H12, synthetic"),
        domains=(domain, domain),
        diagonal=True,
    )


def _columns(cohort: CohortSeries, name: str) -> list[tuple[float, float]]:
    table = cohort.tables["pairwise"]
    return list(zip(table["differences_per_kb"], table[name], strict=True))


def _domain(values: Sequence[NDArray[Any]]) -> tuple[float, float]:
    low = min(float(v.min()) for v in values if v.size)
    high = max(float(v.max()) for v in values if v.size)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _groups(real: Any) -> tuple[str, dict[str, str] | None]:
    """The level of labels that tells people apart, and a colour per group; None if none does."""
    for level in ("superpopulation", "population"):
        names = sorted({str(name) for name in real[level]} - {""})
        if 2 <= len(names) <= _MOST_GROUPS:
            return level, dict(zip(names, _GROUP_COLOURS, strict=False))
    return "", None


def _colours(
    table: Any, level: str, legend: dict[str, str] | None, default: str
) -> list[str] | str:
    if legend is None:
        return default
    return [legend.get(str(name), default) for name in table[level]]
