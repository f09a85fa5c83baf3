"""A cohort of any size, from a fitted generator straight into a file."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import __version__
from haplobench.data.formats import write_panel
from haplobench.data.formats.sites import Cohort, TextsMade, Variants
from haplobench.data.formats.streaming import (
    DIGEST,
    STREAMED,
    WHOLE,
    Columns,
    Part,
    check_alleles,
    haplotypes_digest,
    write_by_sites,
)
from haplobench.data.panel import Panel, synthetic_names
from haplobench.errors import BenchError, PluginError
from haplobench.plugin import GeneratorSpec, RunContext, SampleRequest, SitesStreamed
from haplobench.registry import Registry, load_registry
from haplobench.results.notes import FittedModel, open_model
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
    """A cohort that was written.

    Attributes
    ----------
    n_haplotypes, n_sites : int
    waits : float
        Share of it that other parts have yet to write; the file is there when it is 0.
    """

    n_haplotypes: int
    n_sites: int
    waits: float = 0.0


def write_cohort(
    run: Path,
    noted: FittedModel,
    registry: Registry,
    order: Order,
    to: Path,
    tell: Callable[[str], None] = lambda text: None,
    *,
    part: Part = WHOLE,
    jobs: int = 1,
    programs: bool = False,
) -> Made:
    """Sample a run's fitted generator into a file; people are `synthetic1`, `synthetic2`, …

    What was written before a kill is not sampled again. What the generator leaves as artifacts (who
    has what from whom, say) lies in `TO.artifacts`. `part`: write only this share of the
    haplotypes; whichever comes last makes the file. `jobs`: processes that share it.
    `programs`: run the command lines that a model of `command` holds.

    Raises BenchError if the generator knows no populations but is asked for some, if `start`
    isn't a person's first haplotype, or for parts of what can't be cut by haplotypes.
    """
    first, *others = part.divided(jobs)
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="haplobench-"))
        ctx = generating_context(Path(scratch), order.seed, order.device)
        ctx = stack.enter_context(_beside(to, ctx))
        beside: list[Future[None]] = []
        if others:
            # Started before the model is read: each reads it for itself.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(len(others), context))
            beside = [
                pool.submit(_write_part, run, noted, order, to, one, programs, os.getpid())
                for one in others
            ]
        spec, fitted, prepared = open_model(run, noted, registry, ctx, programs=programs)
        cohort = _Ordered.of(run, noted, spec, fitted, prepared.train, order)
        if not spec.site_matched:
            if part.total > 1 or others:
                raise BenchError(
                    f"generator {spec.name} makes all haplotypes of a cohort together: leave out "
                    "--part and --jobs"
                )
            return cohort.write_by_sites(to, ctx)
        columns = cohort.columns(to, part)
        try:
            cohort.fill(columns, first, ctx, lambda: None, tell)
            for future in as_completed(beside):
                future.result()
        except BaseException:
            for future in beside:
                future.cancel()
            if part.total == 1 and not others:
                columns.abandon()
            raise
        waits = len(columns.missing())
        if not waits:
            tell(f"{noted.text}: writing {to}")
            columns.finish(cohort.notes)
        return Made(cohort.n, prepared.train.n_sites, waits / max(1, columns.n))


def _write_part(
    run: Path,
    noted: FittedModel,
    order: Order,
    to: Path,
    part: Part,
    programs: bool,
    parent: int,
) -> None:
    """Write a part's columns, in a process of its own, which doesn't outlive its parent."""

    def go_on() -> None:
        if os.getppid() != parent:
            raise SystemExit

    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="haplobench-"))
        ctx = generating_context(Path(scratch), order.seed, order.device)
        ctx = stack.enter_context(_beside(to, ctx))
        found = open_model(run, noted, load_registry(), ctx, programs=programs)
        spec, fitted, prepared = found
        if spec.site_matched:
            cohort = _Ordered.of(run, noted, spec, fitted, prepared.train, order)
            cohort.fill(cohort.columns(to, part), part, ctx, go_on, lambda text: None)


@dataclass(frozen=True, eq=False)
class _Ordered:
    """A cohort to be made: whose, of how many haplotypes, and what its file says of it."""

    name: str
    spec: GeneratorSpec
    fitted: Any
    train: Panel
    order: Order
    n: int
    notes: dict[str, str]

    @classmethod
    def of(
        cls,
        run: Path,
        noted: FittedModel,
        spec: GeneratorSpec,
        fitted: Any,
        train: Panel,
        order: Order,
    ) -> _Ordered:
        if order.start % train.ploidy:
            raise BenchError(
                f"--start {order.start}: expected a person's first haplotype, a multiple of "
                f"{train.ploidy}"
            )
        if order.populations and not spec.conditional:
            raise BenchError(f"generator {spec.name} isn't conditional: leave out --population")
        n = order.haplotypes + -order.haplotypes % train.ploidy
        notes = provenance(run, noted, spec, fitted, order)
        return cls(noted.text, spec, fitted, train, order, n, notes)

    @property
    def dealt(self) -> _Labels | None:
        """Labels, where the generator takes any."""
        return _Labels.of(self.order, self.train) if self.spec.conditional else None

    def write_by_sites(self, to: Path, ctx: RunContext) -> Made:
        """Write a cohort with sites of its own: block by block, where the generator can."""
        labels = None if self.dealt is None else self.dealt(0, self.n)
        request = SampleRequest(self.n, self.order.start, self.order.batch_size, labels)
        if isinstance(self.fitted, SitesStreamed) and to.name.endswith(STREAMED):
            (variants,) = _plugin(self.spec.name, _once(self.fitted.variants, request, ctx))
            write_by_sites(replace(variants, notes=self.notes), to)
            return Made(variants.n_haplotypes, variants.n_sites)
        panels = list(_plugin(self.spec.name, self.fitted.sample(request, ctx)))
        if len(panels) != 1:
            raise PluginError(
                f"generator {self.spec.name}: sample() yielded {len(panels)} panels, expected one"
            )
        (panel,) = panels
        write_panel(panel, to, {**self.notes, DIGEST: haplotypes_digest(panel)})
        return Made(panel.n_haplotypes, panel.n_sites)

    def columns(self, to: Path, part: Part) -> Columns:
        """The cohort's file, on its way, for somebody who writes a part of it."""
        people = _people(self.order.start, self.n, self.train, self.dealt)
        columns = Columns(to, self.train, people)
        drawn = {
            "populations": " ".join(self.order.populations),
            "device": self.order.device.partition(":")[0],
            "sites": self.train.select_samples(np.empty(0, np.int64)).digest,
        }
        columns.begin({**self.notes, **drawn}, part)
        return columns

    def fill(
        self,
        columns: Columns,
        part: Part,
        ctx: RunContext,
        go_on: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        """Sample a part's columns that aren't there, in one go where they follow each other."""
        missing = columns.missing(part)
        for _, run in groupby(enumerate(missing), lambda pair: pair[1] - pair[0]):
            wanted = [column for _, column in run]
            span = columns.rows(wanted[0]).start, columns.rows(wanted[-1]).stop
            batches = _plugin(self.spec.name, _batches(self, *span, ctx))
            for column, haplotypes in self._cut(batches, columns, wanted):
                columns.add(column, haplotypes)
                go_on()
                done = columns.rows(columns.n - len(columns.missing()) - 1).stop
                tell(f"{self.name}: {done:,} of {self.n:,} haplotypes")

    def _cut(
        self, batches: Iterable[Any], columns: Columns, wanted: list[int]
    ) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """Yield column by column what comes in batches of any size."""
        held = np.empty((columns.size, self.train.n_sites), np.int8)
        left, filled, done = deque(wanted), 0, 0
        expected = sum(len(columns.rows(column)) for column in wanted)
        for batch in batches:
            try:
                if batch.ndim != 2 or batch.shape[1] != self.train.n_sites:
                    raise ValueError(
                        f"batch of shape {batch.shape}, expected (n, {self.train.n_sites})"
                    )
                check_alleles(batch)
            except ValueError as error:
                raise PluginError(f"generator {self.spec.name}: {error}") from None
            done += batch.shape[0]
            if done > expected:
                break
            while batch.shape[0]:
                size = len(columns.rows(left[0]))
                taken = batch[: size - filled]
                held[filled : filled + taken.shape[0]] = taken
                filled, batch = filled + taken.shape[0], batch[taken.shape[0] :]
                if filled == size:
                    yield left.popleft(), held[:filled]
                    filled = 0
        if done != expected:
            raise PluginError(f"generator {self.spec.name}: {done} haplotypes, expected {expected}")


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


@contextmanager
def _beside(to: Path, ctx: RunContext) -> Iterator[RunContext]:
    """A context whose artifacts lie beside the cohort; what a generator leaves there stays."""
    artifacts = to.with_name(f"{to.name}.artifacts")
    artifacts.mkdir(parents=True, exist_ok=True)
    try:
        yield replace(ctx, artifacts=artifacts)
    finally:
        # Only if nothing is in it.
        with suppress(OSError):
            artifacts.rmdir()


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


def _once(
    variants: Callable[..., Variants], request: SampleRequest, ctx: RunContext
) -> Iterator[Variants]:
    yield variants(request, ctx)


def _batches(
    cohort: _Ordered, start: int, stop: int, ctx: RunContext
) -> Iterator[NDArray[np.int8]]:
    """Yield haplotypes of the order, asked for piece by piece: labels don't grow, either."""
    piece = max(1, _PIECE // cohort.train.ploidy) * cohort.train.ploidy
    for first in range(start, stop, piece):
        last, order = min(stop, first + piece), cohort.order
        labels = None if cohort.dealt is None else cohort.dealt(first, last)
        request = SampleRequest(last - first, order.start + first, order.batch_size, labels)
        yield from cohort.fitted.sample(request, ctx)
