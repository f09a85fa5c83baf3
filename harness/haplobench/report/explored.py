"""The plot of `bench explore`: where the way lies on the training people's components."""

from __future__ import annotations

import io

import altair as alt
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from haplobench.panel import Panel
from haplobench.report.style import FLOOR_COLOUR, INK, PALETTE, FigureStyle, theme
from haplobench.report.svg import clean

_MOST_PEOPLE = 1500
_GREY = "#b8bec5"
Scores = NDArray[np.float64]


def project(train: Panel, *panels: Panel) -> tuple[Scores, ...]:
    """Scores on the first two principal components of the training people, (n_samples, 2) each.

    Of `train`, then of each panel. Dosages are standardised as by Patterson et al., PLoS
    Genetics 2, e190 (2006); of more than 1,500 training people, the components are those of
    1,500, evenly spaced.
    """
    rows = np.unique(np.linspace(0, train.n_samples - 1, _MOST_PEOPLE).astype(np.int64))
    basis = train.select_samples(rows)
    p = basis.frequencies
    varying = np.flatnonzero((p > 0) & (p < 1))
    p = p[varying]

    def standardised(panel: Panel) -> Scores:
        alleles = np.maximum(panel.haplotypes[:, varying], 0)
        dosages = alleles.reshape(panel.n_samples, panel.ploidy, -1).sum(axis=1)
        return np.asarray((dosages - panel.ploidy * p) / np.sqrt(p * (1 - p)), np.float64)

    n = min(2, basis.n_samples - 1, varying.size)
    pca = PCA(n, svd_solver="randomized", random_state=0).fit(standardised(basis))

    def scores(panel: Panel) -> Scores:
        found = np.zeros((panel.n_samples, 2))
        found[:, :n] = pca.transform(standardised(panel))
        return found

    return (scores(basis), *(scores(panel) for panel in panels))


def draw_way(train: Panel, background: Scores, people: Panel, ends: Scores, way: Scores) -> str:
    """SVG: training people by group, the real people asked for, and the steps between them."""
    rows = np.unique(np.linspace(0, train.n_samples - 1, _MOST_PEOPLE).astype(np.int64))
    labels = train.superpopulation[rows]
    if np.unique(labels).size < 2:
        labels = train.population[rows]
    groups = sorted({str(label) or "training people" for label in labels})
    colours = [_GREY] if len(groups) == 1 else list(PALETTE)
    shown = alt.Chart(
        alt.InlineData(
            values=[
                {"x": float(x), "y": float(y), "group": str(label) or "training people"}
                for (x, y), label in zip(background.round(3), labels, strict=True)
            ]
        )
    )
    x = alt.X("x:Q", title="PC1", scale=alt.Scale(zero=False))
    y = alt.Y("y:Q", title="PC2", scale=alt.Scale(zero=False))
    scale = alt.Scale(domain=groups, range=[colours[i % len(colours)] for i in range(len(groups))])
    beneath = shown.mark_circle(size=16, opacity=0.6).encode(
        x,
        y,
        alt.Color("group:N", title=None, scale=scale, legend=alt.Legend(symbolOpacity=1)),
    )
    steps = alt.Chart(
        alt.InlineData(
            values=[
                {"x": float(a), "y": float(b), "step": i + 1}
                for i, (a, b) in enumerate(way.round(3))
            ]
        )
    )
    line = steps.mark_line(color=INK, strokeWidth=1.2).encode(x, y, alt.Order("step:Q"))
    dots = steps.mark_circle(color=INK, size=42, opacity=1).encode(x, y)
    names = alt.Chart(
        alt.InlineData(
            values=[
                {"x": float(a), "y": float(b), "name": str(name)}
                for name, (a, b) in zip(people.samples, ends.round(3), strict=True)
            ]
        )
    )
    real = names.mark_point(shape="diamond", size=110, color=FLOOR_COLOUR, filled=False).encode(
        x, y
    )
    text = names.mark_text(dy=-11, fontSize=10.5, color=INK).encode(x, y, alt.Text("name:N"))
    style = FigureStyle(order=(), width=420, height=340)
    chart = alt.layer(beneath, line, dots, real, text).properties(
        width=style.width, height=style.height
    )
    drawn = io.StringIO()
    chart.configure(**theme(style)).save(drawn, format="svg")
    return clean(drawn.getvalue(), label="The way on the training people's principal components")
