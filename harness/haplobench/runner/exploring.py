"""Looking into the latent space of a run's fitted generator: codes, ways between people, walks."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench.datasets.formats import write_panel
from haplobench.errors import BenchError
from haplobench.panel import Panel
from haplobench.plugin import Explorable, RunContext
from haplobench.registry import Registry
from haplobench.runner.generating import generating_context
from haplobench.runner.models import FittedModel, open_model


@dataclass(frozen=True)
class Question:
    """What is asked of the latent space.

    Attributes
    ----------
    people : tuple of str
        Two whose way is wanted, or one whose latent `dimension` is changed.
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
    """What was found.

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


def write_explored(found: Explored, folder: Path, ending: str) -> list[Path]:
    """Write haplotypes, latents and PCA plot into a folder: the paths, in this order.

    `haplotypes{ending}`, `latents.npy` (rows as the people's haplotypes), `pca.svg` and
    `pca.tsv`.
    """
    from haplobench.report.explored import draw_way, project

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in (f"haplotypes{ending}", "latents.npy", "pca.tsv", "pca.svg")]
    write_panel(found.cohort, paths[0])
    np.save(paths[1], found.latents)
    background, people, way = project(found.train, found.people, found.cohort)
    rows = ["person\tpc1\tpc2"]
    for panel, scores in ((found.people, people), (found.cohort, way)):
        rows += [
            f"{name}\t{x:.4f}\t{y:.4f}" for name, (x, y) in zip(panel.samples, scores, strict=True)
        ]
    paths[2].write_text("\n".join(rows) + "\n", encoding="utf-8")
    paths[3].write_text(draw_way(found.train, background, found.people, people, way))
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
