"""A cohort of any size, from a fitted generator straight into a file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import __version__
from haplobench.data.formats import write_panel
from haplobench.data.formats.sites import Cohort, TextsMade
from haplobench.data.formats.streaming import DIGEST, haplotypes_digest, streaming
from haplobench.data.panel import Panel, synthetic_names
from haplobench.errors import BenchError, PluginError
from haplobench.fitted.models import FittedModel, open_model
from haplobench.plugin import GeneratorSpec, RunContext, SampleRequest
from haplobench.registry import Registry
from haplobench.results.run_folder import RunFolder
from haplobench.runner.worker.job import one_line

# Haplotypes of one request: a multiple of any block size that is a power of two up to it.
_PIECE = 1 << 16


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
    *,
    programs: bool = False,
) -> Made:
    """Sample a run's fitted generator into a file; people are `synthetic1`, `synthetic2`, …

    `programs`: run the command lines that a model of `command` holds.

    Raises BenchError if the generator knows no populations but is asked for some, or if
    `start` isn't a person's first haplotype.
    """
    with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
        ctx = generating_context(Path(scratch), order.seed, order.device)
        spec, fitted, prepared = open_model(run, noted, registry, ctx, programs=programs)
        train = prepared.train
        n = order.haplotypes + -order.haplotypes % train.ploidy
        if order.start % train.ploidy:
            raise BenchError(
                f"--start {order.start}: expected a person's first haplotype, a multiple of "
                f"{train.ploidy}"
            )
        if order.populations and not spec.conditional:
            raise BenchError(f"generator {spec.name} isn't conditional: leave out --population")
        notes = provenance(run, noted, spec, fitted, order)
        if not spec.site_matched:
            labels = _Labels.of(order, train)(0, n) if spec.conditional else None
            request = SampleRequest(n, order.start, order.batch_size, labels)
            panels = list(_plugin(spec.name, fitted.sample(request, ctx)))
            if len(panels) != 1:
                raise PluginError(
                    f"generator {spec.name}: sample() yielded {len(panels)} panels, expected one"
                )
            (panel,) = panels
            write_panel(panel, to, {**notes, DIGEST: haplotypes_digest(panel)})
            return Made(panel.n_haplotypes, panel.n_sites)
        dealt = _Labels.of(order, train) if spec.conditional else None
        done = 0
        with streaming(to, train, _people(order.start, n, train, dealt), notes) as add:
            batches = _batches(fitted, order, n, dealt, train.ploidy, ctx)
            for batch in _plugin(spec.name, batches):
                try:
                    add(batch)
                except ValueError as error:
                    raise PluginError(f"generator {spec.name}: {error}") from None
                done += batch.shape[0]
                tell(f"{noted.text}: {done:,} of {n:,} haplotypes")
            if done != n:
                raise PluginError(f"generator {spec.name}: {done} haplotypes, expected {n}")
            tell(f"{noted.text}: writing {to}")
        return Made(n, train.n_sites)


def provenance(
    run: Path, noted: FittedModel, spec: GeneratorSpec, fitted: Any, order: Order
) -> dict[str, str]:
    """What a cohort's file says of how it was made; keys are words, values lines."""
    info = RunFolder(run).info()
    told = info.get("generators", {}).get(noted.generator, {})
    named = f" (called {noted.generator})" * (noted.generator != spec.name)
    notes = {
        "version": __version__,
        "generator": f"{spec.name}{named}",
        "generator_version": spec.version,
        "generator_distribution": told.get("distribution", ""),
        "params": json.dumps(told.get("params") or {}, sort_keys=True),
        "run": f"{info.get('suite', '')}/{info.get('run_id', '')}",
        "commit": str((info.get("git") or {}).get("sha") or ""),
        "dataset": f"{noted.dataset}, digest {info['datasets'][noted.dataset].get('digest', '')}"
        if noted.dataset in info.get("datasets", {})
        else noted.dataset,
        "model": Path(noted.model).name,
        "seed": f"fitted with seed {noted.seed}, drawn with seed {order.seed} from haplotype "
        f"{order.start} on; each block of haplotypes has a key of its own, so that the same seeds "
        "give the same people, however many are asked for",
    }
    if told.get("unrepeatable"):
        notes["seed"] += f"; the fit can't be repeated: {told['unrepeatable']}"
    claim = getattr(fitted, "privacy_statement", None)
    if callable(claim) and (statement := claim()) is not None:
        notes["epsilon"] = (
            f"none: {statement.no_bound}"
            if statement.no_bound
            else f"{statement.epsilon:g}, delta {statement.delta:g}, per {statement.unit} "
            f"({statement.adjacency}), by {statement.accountant}"
        )
    return {key: text for key, text in notes.items() if text}


def _plugin(name: str, batches: Iterable[Any]) -> Iterator[Any]:
    """What a generator yields; whatever it raises is its own, and one line."""
    try:
        yield from batches
    except BenchError:
        raise
    except Exception as error:
        raise PluginError(f"generator {name}: sample() failed: {one_line(error)}") from error


def generating_context(scratch: Path, seed: int, device: str) -> RunContext:
    """A context outside a run: its folders are temporary."""
    artifacts, working = scratch / "artifacts", scratch / "scratch"
    artifacts.mkdir(exist_ok=True)
    working.mkdir(exist_ok=True)
    return RunContext(seed, artifacts, working, device=device)


@dataclass(frozen=True, eq=False)
class _Labels:
    """Population of each haplotype: by absolute index, so that parts fit together.

    Attributes
    ----------
    turn : (n,) str
        Taken in turn.
    start : int
        Absolute index of the first haplotype.
    """

    turn: NDArray[np.str_]
    start: int

    @classmethod
    def of(cls, order: Order, train: Panel) -> _Labels:
        if order.populations:
            return cls(np.repeat(np.array(order.populations), train.ploidy), order.start)
        return cls(train.haplotype_populations, order.start)

    def __call__(self, start: int, stop: int) -> NDArray[np.str_]:
        """Those of haplotypes `start` to `stop` of the order."""
        return self.turn[np.arange(self.start + start, self.start + stop) % self.turn.size]


def _people(start: int, n: int, train: Panel, dealt: _Labels | None) -> Cohort:
    """The people of `n` haplotypes from the absolute index `start` on."""
    ploidy = train.ploidy
    n_people, first = n // ploidy, start // ploidy
    above = dict(zip(train.population.tolist(), train.superpopulation.tolist(), strict=True))

    def names(low: int, high: int) -> NDArray[np.str_]:
        return synthetic_names(high - low, first + low)

    def population(low: int, high: int) -> NDArray[np.str_]:
        if dealt is None:
            return np.full(high - low, "")
        return dealt(low * ploidy, high * ploidy)[::ploidy]

    def superpopulation(low: int, high: int) -> NDArray[np.str_]:
        labels = population(low, high).tolist()
        return np.array([above.get(label, label) for label in labels], np.str_)

    return Cohort(
        samples=TextsMade(n_people, names),
        population=TextsMade(n_people, population),
        superpopulation=TextsMade(n_people, superpopulation),
        ploidy=ploidy,
    )


def _batches(
    fitted: Any, order: Order, n: int, dealt: _Labels | None, ploidy: int, ctx: RunContext
) -> Iterator[NDArray[np.int8]]:
    """Yield the haplotypes, asked for piece by piece: a request's labels don't grow, either."""
    piece = max(1, _PIECE // ploidy) * ploidy
    for first in range(0, n, piece):
        last = min(n, first + piece)
        labels = None if dealt is None else dealt(first, last)
        request = SampleRequest(last - first, order.start + first, order.batch_size, labels)
        yield from fitted.sample(request, ctx)
