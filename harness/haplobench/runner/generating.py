"""A cohort of any size, from a fitted generator straight into a file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench.datasets.formats import write_panel
from haplobench.datasets.formats.streaming import streaming
from haplobench.errors import BenchError, PluginError
from haplobench.panel import Panel, synthetic_names
from haplobench.plugin import RunContext, SampleRequest
from haplobench.registry import Registry
from haplobench.runner.models import FittedModel, open_model


@dataclass(frozen=True)
class Order:
    """What is to be generated.

    Attributes
    ----------
    haplotypes : int
        At least so many: people are whole.
    start : int
        Absolute index of the first.
    seed : int
        Of the draws.
    populations : tuple of str
        Taken in turn, person by person; empty: as in the training people.
    batch_size : int
        Haplotypes held at once.
    device : str
        A torch device name.
    """

    haplotypes: int
    start: int = 0
    seed: int = 1
    populations: tuple[str, ...] = ()
    batch_size: int = 1024
    device: str = "cpu"


@dataclass(frozen=True)
class Made:
    """The size of a cohort that was written."""

    n_haplotypes: int
    n_sites: int


def write_cohort(
    run: Path,
    noted: FittedModel,
    registry: Registry,
    order: Order,
    to: Path,
    tell: Callable[[str], None] = lambda text: None,
) -> Made:
    """Sample a run's fitted generator into a file; people are `synthetic1`, `synthetic2`, …

    Raises BenchError if the generator knows no populations but is asked for some, or if
    `start` isn't a person's first haplotype.
    """
    with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
        ctx = generating_context(Path(scratch), order.seed, order.device)
        spec, fitted, prepared = open_model(run, noted, registry, ctx)
        train = prepared.train
        n = order.haplotypes + -order.haplotypes % train.ploidy
        if order.start % train.ploidy:
            raise BenchError(
                f"--start {order.start}: expected a person's first haplotype, a multiple of "
                f"{train.ploidy}"
            )
        if order.populations and not spec.conditional:
            raise BenchError(f"generator {spec.name} isn't conditional: leave out --population")
        labels = _populations(order, train, n) if spec.conditional else None
        request = SampleRequest(n, order.start, order.batch_size, labels)
        people_labels, above = _labels(labels, train)
        first = order.start // train.ploidy
        people = Panel(
            haplotypes=np.empty((n, 0), np.int8),
            positions=np.empty(0, np.int64),
            contig=train.contig,
            samples=synthetic_names(first + n // train.ploidy)[first:],
            population=people_labels,
            superpopulation=above,
            ploidy=train.ploidy,
        )
        done = 0
        if not spec.site_matched:
            (panel,) = fitted.sample(request, ctx)
            write_panel(panel, to)
            return Made(panel.n_haplotypes, panel.n_sites)
        with streaming(to, train, people) as add:
            for batch in fitted.sample(request, ctx):
                try:
                    add(batch)
                except ValueError as error:
                    raise PluginError(f"generator {spec.name}: {error}") from None
                done += batch.shape[0]
                tell(f"{noted.text}: {done:,} of {n:,} haplotypes")
            tell(f"{noted.text}: writing {to}")
        return Made(n, train.n_sites)


def generating_context(scratch: Path, seed: int, device: str) -> RunContext:
    """A context outside a run: its folders are temporary."""
    artifacts, working = scratch / "artifacts", scratch / "scratch"
    artifacts.mkdir(exist_ok=True)
    working.mkdir(exist_ok=True)
    return RunContext(seed, artifacts, working, device=device)


def _populations(order: Order, train: Panel, n: int) -> NDArray[np.str_]:
    """Population of each haplotype: by absolute index, so that parts fit together."""
    if order.populations:
        turn = np.repeat(np.array(order.populations), train.ploidy)
    else:
        turn = train.haplotype_populations
    return turn[np.arange(order.start, order.start + n) % turn.size]


def _labels(
    labels: NDArray[np.str_] | None, train: Panel
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Population and superpopulation of each person; empty where there are no labels."""
    if labels is None:
        return np.empty(0, "U1"), np.empty(0, "U1")
    people = labels[:: train.ploidy]
    above = {
        str(name): str(group)
        for name, group in zip(train.population, train.superpopulation, strict=True)
    }
    return people, np.array([above.get(str(name), str(name)) for name in people], np.str_)
