"""Looking into the latent space of a run's fitted generator: codes, paths between people, walks."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.data.formats import write_panel
from haplobench.data.panel import Panel
from haplobench.errors import BenchError
from haplobench.fitted.generate import generating_context
from haplobench.plugin import Explorable, RunContext
from haplobench.registry import Registry
from haplobench.results.notes import FittedModel, open_model

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

    from sklearn.decomposition import PCA

    n = min(2, basis.n_samples - 1, varying.size)
    pca = PCA(n, svd_solver="randomized", random_state=0).fit(standardised(basis))

    def scores(panel: Panel) -> Scores:
        components = np.zeros((panel.n_samples, 2))
        components[:, :n] = pca.transform(standardised(panel))
        return components

    return (scores(basis), *(scores(panel) for panel in panels))


def draw_path(train: Panel, background: Scores, people: Panel, ends: Scores, path: Scores) -> str:
    """SVG: training people by group, the real people asked for, and the steps between them."""
    import altair as alt

    from haplobench.report.style import FLOOR_COLOUR, INK, PALETTE, FigureStyle, inline, theme
    from haplobench.report.svg import clean

    rows = np.unique(np.linspace(0, train.n_samples - 1, _MOST_PEOPLE).astype(np.int64))
    labels = train.superpopulation[rows]
    if np.unique(labels).size < 2:
        labels = train.population[rows]
    groups = sorted({str(label) or "training people" for label in labels})
    colours = [_GREY] if len(groups) == 1 else list(PALETTE)
    shown = alt.Chart(
        inline(
            [
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
        inline(
            [
                {"x": float(a), "y": float(b), "step": i + 1}
                for i, (a, b) in enumerate(path.round(3))
            ]
        )
    )
    line = steps.mark_line(color=INK, strokeWidth=1.2).encode(x, y, alt.Order("step:Q"))
    dots = steps.mark_circle(color=INK, size=42, opacity=1).encode(x, y)
    names = alt.Chart(
        inline(
            [
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
    return clean(drawn.getvalue(), label="The path on the training people's principal components")


@dataclass(frozen=True)
class Question:
    """What is asked of the latent space.

    Attributes
    ----------
    people : tuple of str
        Two whose path is wanted, or one whose latent `dimension` is changed.
    steps : int
        Points, both ends included.
    dimension : int or None
    device : str
    """

    people: tuple[str, ...]
    steps: int = 9
    dimension: int | None = None
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Explored:
    """What was explored.

    Attributes
    ----------
    cohort : Panel
        One person per step, named `step1`, `step2`, …
    people : Panel
        The real people asked for.
    latents : (n_haplotypes, n_latents)
        Of the real people's haplotypes.
    train : Panel
    """

    cohort: Panel
    people: Panel
    latents: NDArray[Any]
    train: Panel


def explore(run: Path, noted: FittedModel, registry: Registry, question: Question) -> Explored:
    """Ask a run's fitted generator.

    Raises BenchError if it isn't `Explorable`, or nobody of that name is in the dataset.
    """
    with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
        ctx = generating_context(Path(scratch), 0, question.device)
        spec, fitted, prepared = open_model(run, noted, registry, ctx)
        if not isinstance(fitted, Explorable):
            raise BenchError(
                f"generator {spec.name} has no latent space to explore: expected encode, "
                "interpolate and traverse (haplobench.Explorable)"
            )
        people = _people(question.people, (prepared.train, prepared.holdout))
        made = _ask(fitted, people, question, ctx)
        steps, ploidy = made.shape[0], people.ploidy
        cohort = people.select_samples([0]).with_haplotypes(
            np.ascontiguousarray(made.reshape(steps * ploidy, -1)),
            samples=[f"step{i + 1}" for i in range(steps)],
        )
        return Explored(cohort, people, fitted.encode(people, ctx), prepared.train)


def write_explored(explored: Explored, folder: Path, ending: str) -> list[Path]:
    """Write haplotypes, latents and PCA plot into a folder: the paths, in this order.

    `haplotypes{ending}`, `latents.npy` (rows as the people's haplotypes), `pca.svg` and
    `pca.tsv`.
    """

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in (f"haplotypes{ending}", "latents.npy", "pca.tsv", "pca.svg")]
    write_panel(explored.cohort, paths[0])
    np.save(paths[1], explored.latents)
    background, people, path_scores = project(explored.train, explored.people, explored.cohort)
    rows = ["person\tpc1\tpc2"]
    for panel, scores in ((explored.people, people), (explored.cohort, path_scores)):
        rows += [
            f"{name}\t{x:.4f}\t{y:.4f}" for name, (x, y) in zip(panel.samples, scores, strict=True)
        ]
    paths[2].write_text("\n".join(rows) + "\n", encoding="utf-8")
    paths[3].write_text(draw_path(explored.train, background, explored.people, people, path_scores))
    return paths


def _ask(
    fitted: Explorable, people: Panel, question: Question, ctx: RunContext
) -> NDArray[np.int8]:
    if question.dimension is not None:
        start = people.select_samples([0])
        return fitted.traverse(start, question.dimension, question.steps, ctx)
    first, second = people.select_samples([0]), people.select_samples([1])
    return fitted.interpolate(first, second, question.steps, ctx)


def _people(names: tuple[str, ...], panels: tuple[Panel, ...]) -> Panel:
    """Real people by name, of the training or the held-out ones, in the order asked."""
    rows, known = [], np.concatenate([panel.samples for panel in panels])
    for name in names:
        if name not in known:
            raise BenchError(
                f"nobody is called {name!r} in this dataset; its first people are "
                f"{', '.join(known[:3])}"
            )
        panel = next(panel for panel in panels if name in panel.samples)
        rows.append(panel.select_samples([int(np.flatnonzero(panel.samples == name)[0])]))
    return rows[0].with_haplotypes(
        np.concatenate([row.haplotypes for row in rows]),
        samples=np.array(names),
        population=np.concatenate([row.population for row in rows]),
        superpopulation=np.concatenate([row.superpopulation for row in rows]),
    )
