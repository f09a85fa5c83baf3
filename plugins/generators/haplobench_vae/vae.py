"""`vae`: discrete window codes with a causal prior along the chromosome.

Fitting (codebooks, prior, the temperature of samples), then the fitted model: sampling,
probabilities, encoding, walks through the latent space.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils import deterministic

from haplobench import (
    BenchError,
    Panel,
    Populations,
    RunContext,
    SampleRequest,
)
from haplobench.data.genome import estimate_map
from haplobench.data.split import take_families
from haplobench.distributed import shard
from haplobench_vae import VAEParams
from haplobench_vae.calibration import USUAL, calibrate
from haplobench_vae.codebooks import (
    Codebooks,
    CodebookSettings,
    WindowTiling,
    all_windows,
    fit_codebooks,
)
from haplobench_vae.prior import PriorShape, WindowPrior
from haplobench_vae.prior_training import Mosaics, train_prior
from haplobench_vae.sampling import (
    ArgmaxLevels,
    BlockSampler,
    DeviceSampler,
    Drawn,
    SeededLevels,
    block_size,
)
from haplobench_vae.storage import CheckpointFile, reading_model, write_model
from haplobench_vae.structure import with_clusters

# Its one setting is set by the module's own __class__: type checkers can't see it.
_DETERMINISTIC: Any = deterministic


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Fix what floating-point results depend on, and put it back afterwards.

    `threads` PyTorch threads, deterministic algorithms only (on CUDA too).
    """
    before = (
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        _DETERMINISTIC.fill_uninitialized_memory,
    )
    # cuBLAS reads it when its handle is made; without it PyTorch refuses matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(max(1, threads))
    # The same switch as use_deterministic_algorithms, which would import the compiler (1 s).
    torch.set_deterministic_debug_mode("error")
    # Nothing here reads uninitialised memory; filling it costs a twentieth of the time.
    _DETERMINISTIC.fill_uninitialized_memory = False
    try:
        yield
    finally:
        _DETERMINISTIC.fill_uninitialized_memory = before[2]
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])


def cpu_generator(seed: int) -> torch.Generator:
    """A torch generator on the CPU: all noise is drawn there, so that devices agree on it."""
    return torch.Generator().manual_seed(seed)


def validation_haplotypes(
    train: Panel, share: float, rng: np.random.Generator, given: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Choose people for validation: (n_haplotypes,) bool, all haplotypes of a person alike.

    `given` are people that the suite set apart, by index; where it set none apart, `share` of
    all are drawn, families whole.

    Raises BenchError if the panel has no sites or fewer than two people.
    """
    if not train.n_sites:
        raise BenchError("training panel: found 0 sites, expected at least 1")
    if train.n_samples < 2:
        raise BenchError(
            f"training panel: found {train.n_samples} people, expected at least 2 "
            "(one to train on, one to validate on)",
            hint="use a larger dataset",
        )
    chosen = np.zeros(train.n_samples, np.bool_)
    if given is not None and given.size:
        chosen[given] = True
    else:
        n = min(max(1, round(share * train.n_samples)), train.n_samples - 1)
        order = rng.permutation(train.n_samples)
        whole = take_families(train, order, n)
        # Where no family is so small, some of one is better than nobody.
        chosen[whole if whole.size else order[:n]] = True
    return np.repeat(chosen, train.ploidy)


_Item = TypeVar("_Item")
_CODEBOOK_SHARE = 0.05
_HALF = 0.5
_GOLDEN = (5**0.5 - 1) / 2
_SPREAD = 3.0
_MOST_HAPLOTYPES = 512


class VAE:
    """A windowed VAE with discrete latents (van den Oord et al. 2017), over any number of ranks.

    Each window of adjacent sites has a codebook; a causal transformer with local attention is
    the prior over the codes, conditioned on the population; the decoder adds to a code's table
    of allele probabilities what the windows before tell beyond the code.
    """

    def fit(self, train: Panel, params: VAEParams, ctx: RunContext) -> FittedVAE:
        """Fit codebooks, then the prior; writes `training.json` (losses) to the artifacts.

        Raises BenchError if the panel has no sites or fewer than two people.
        """
        held = validation_haplotypes(
            train, params.validation, ctx.rng("vae", "validation"), ctx.validation
        )
        train = with_clusters(train, params.clusters, ctx.seed_for("vae", "clusters"))
        populations = Populations.of(train)
        population = populations.index(train.haplotype_populations)
        haplotypes = np.asarray(train.haplotypes)
        fitting, groups = haplotypes[~held], population[~held]
        params = params.for_haplotypes(groups.size)
        assert params.codes is not None
        assert params.smoothing is not None
        tiling = WindowTiling(train.n_sites, min(params.window, train.n_sites))
        settings = CodebookSettings(
            codes=params.codes, iterations=params.iterations, smoothing=params.smoothing
        )
        known = ctx.recombination_map
        if known is None:
            related = np.array(populations.superpopulation_of)[population]
            known = estimate_map(train, related, params.ne, ctx.rng("vae", "map"))
        mosaics = Mosaics.of(fitting, groups, train.positions, known, params.ne)
        validation = haplotypes[held], population[held]
        with reproducible(ctx.threads):
            ctx.progress(0.0, f"codebooks of {tiling.n_windows} windows")
            on_cpu = _codebooks(fitting, tiling, settings, ctx)
            codebooks = Codebooks(on_cpu.logits.to(ctx.device), on_cpu.log_weights.to(ctx.device))
            shape = _shape(params, tiling, settings.codes, populations)
            generator = cpu_generator(ctx.seed_for("vae", "weights"))
            model = WindowPrior(shape, on_cpu, generator)
            if not params.sharded:
                model.to(ctx.device)

            def report(epoch: int, epochs: int, loss: float) -> None:
                ctx.progress(
                    _CODEBOOK_SHARE + (1 - _CODEBOOK_SHARE) * (epoch + 1) / epochs,
                    f"epoch {epoch + 1} of {epochs}: validation loss {loss:.2f} nats",
                )

            model, history = train_prior(
                model,
                codebooks,
                tiling,
                mosaics,
                validation,
                params,
                ctx,
                report,
                _checkpoint(train, params, ctx),
            )
            model.to(ctx.device)
        fitted = FittedVAE(params, tiling, populations, train.ploidy, model, on_cpu)
        excess: dict[str, float] = {}
        if params.temperature is None:
            fitted, excess = calibrated(fitted, fitting, groups, ctx)
        if ctx.group.rank == 0:
            record = {
                **history,
                "temperature": fitted.params.temperature,
                **excess,
                "populations": dict(zip(populations.names, populations.people, strict=True)),
                "recombination_map": "given" if ctx.recombination_map else "estimated",
                "centimorgans": float(np.ptp(known.at(train.positions))),
            }
            (ctx.artifacts / "training.json").write_text(json.dumps(record) + "\n")
        return fitted

    def load(self, directory: Path, ctx: RunContext) -> FittedVAE:
        """Read what `FittedVAE.save` wrote.

        Raises BenchError if the folder isn't such a model.
        """
        with reading_model(directory, "vae") as (head, state):
            params = VAEParams.of_saved(head["params"])
            tiling = WindowTiling(head["n_sites"], head["width"])
            populations = Populations(**{k: tuple(v) for k, v in head["populations"].items()})
            shape = _shape(params, tiling, head["codes"], populations)
            codebooks = Codebooks(state["logits"].clone(), state.pop("log_weights"))
            model = WindowPrior(shape, codebooks, cpu_generator(0))
            model.load_state_dict(state)
            ploidy = int(head["ploidy"])
        if torch.device(ctx.device).type == "cpu":
            from haplobench_vae.sampling_compiled import load_kernels

            load_kernels()
        return FittedVAE(
            params, tiling, populations, ploidy, model.eval().to(ctx.device), codebooks
        )


def _codebooks(
    haplotypes: NDArray[np.int8], tiling: WindowTiling, settings: CodebookSettings, ctx: RunContext
) -> Codebooks:
    """Codebooks of all windows, each fitted by one rank; on the CPU."""
    n, group = tiling.n_windows, ctx.group
    part = shard(n, group.rank, group.size)
    windows = range(part.start, part.stop)
    cut = torch.from_numpy(tiling.cut(haplotypes, windows)).to(ctx.device)
    seeds = [ctx.seed_for("vae", "codebooks", window) for window in windows]
    codebooks = fit_codebooks(cut, settings, seeds)
    logits, log_weights = (
        all_windows(values, part, n, group) for values in (codebooks.logits, codebooks.log_weights)
    )
    return Codebooks(logits, log_weights)


def _shape(
    params: VAEParams, tiling: WindowTiling, codes: int, populations: Populations
) -> PriorShape:
    network = {"dimension", "layers", "heads", "feed_forward", "reach", "residual"}
    return PriorShape(
        n_windows=tiling.n_windows,
        sites=tiling.padded,
        codes=codes,
        populations=len(populations.names),
        superpopulation=populations.superpopulation_of,
        **params.model_dump(include=network),
    )


def _checkpoint(train: Panel, params: VAEParams, ctx: RunContext) -> CheckpointFile | None:
    if ctx.checkpoint is None:
        return None
    identity = {
        "generator": "vae",
        "params": params.model_dump(),
        "seed": ctx.seed,
        "train": train.digest,
        "validation": None if ctx.validation is None else ctx.validation.tolist(),
    }
    return CheckpointFile(ctx.checkpoint / "prior.safetensors", identity)


def calibrated(
    fitted: FittedVAE, haplotypes: NDArray[np.int8], population: NDArray[np.int64], ctx: RunContext
) -> tuple[FittedVAE, dict[str, float]]:
    """The model with the temperature at which samples are most like `haplotypes`: see `calibrate`.

    Samples have the number and populations of up to 512 of the training haplotypes (n, n_sites)
    int8, whose populations (n,) int64 are given; ranks share them among them. A warning says where
    the end of what is tried is taken. Returned with it are facts of what samples have in excess.
    """
    rows = ctx.rng("vae", "calibration").permutation(haplotypes.shape[0])[:_MOST_HAPLOTYPES]
    labels = np.array(fitted.populations.names)[population[rows]]
    # Even, as requests are; other random numbers than those of samples.
    even = rows.size + rows.size % 2
    group = ctx.group
    part = shard(even, group.rank, group.size, align=fitted.block)
    request = SampleRequest(
        part.stop - part.start, part.start, populations=np.resize(labels, even)[part]
    )
    quiet = replace(
        ctx, seed=ctx.seed_for("vae", "calibration"), progress=lambda fraction, message: None
    )

    def cohort(temperature: float) -> NDArray[np.int8]:
        sampled = np.zeros((even, haplotypes.shape[1]), np.int8)
        if request.n_haplotypes:
            sampled[part] = np.concatenate(list(_at(fitted, temperature).sample(request, quiet)))
        return group.all_reduce(sampled)[: rows.size]

    found = calibrate(haplotypes[rows], cohort)
    if found is None:
        return _at(fitted, USUAL), {}
    if found.at_end and group.rank == 0:
        ctx.log.warning(
            "vae: temperature %.2f is the last that is tried, and samples have %+.1f %% LD and "
            "%+.1f %% distinct haplotypes beside training haplotypes: train longer, or give a "
            "temperature",
            found.temperature,
            100 * found.ld_excess,
            100 * found.distinct_excess,
        )
    facts = {"ld_excess": found.ld_excess, "distinct_excess": found.distinct_excess}
    return _at(fitted, found.temperature), facts


def _at(fitted: FittedVAE, temperature: float) -> FittedVAE:
    params = fitted.params.model_copy(update={"temperature": temperature})
    return replace(fitted, params=params)


@dataclass(frozen=True, eq=False)
class FittedVAE:
    """Trained codebooks, prior and decoder.

    `params`: its temperature is the calibrated one.
    `codebooks`: they encode haplotypes; on the CPU.
    """

    params: VAEParams
    tiling: WindowTiling
    populations: Populations
    ploidy: int
    model: WindowPrior = field(repr=False)
    codebooks: Codebooks = field(repr=False)

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; the labels asked for may be superpopulations, too.

        Where no populations are asked for, each person's is drawn by its share of the
        training people.
        """
        for alleles, _ in self._batches(request, ctx, probabilities=False):
            yield alleles

    def probabilities(
        self, request: SampleRequest, ctx: RunContext
    ) -> Iterator[NDArray[np.float32]]:
        """Yield (batch, n_sites) float32: the probabilities that `sample` drew its alleles with.

        Of the alternate allele, given the haplotype's population, its codes up to and with
        the site's window, and its alleles in the windows before.
        """
        for _, probability in self._batches(request, ctx, probabilities=True):
            yield probability

    def encode(self, panel: Panel, ctx: RunContext) -> NDArray[np.int64]:
        """Codes of real haplotypes: (n_haplotypes, n_windows) int64, the most probable of each.

        Raises BenchError if the panel hasn't the sites of the training panel.
        """
        with reproducible(ctx.threads):
            return self.codebooks.encode(self._cut(panel)).t().contiguous().numpy()

    def interpolate(
        self, first: Panel, second: Panel, steps: int, ctx: RunContext
    ) -> NDArray[np.int8]:
        """Haplotypes on the path from each haplotype of `first` to its like in `second`.

        (steps, n_haplotypes, n_sites) int8. Each window has the most probable code under the
        geometric mixture p(code | first)^(1 - t) p(code | second)^t of both haplotypes'
        posteriors, t its own place on the path from 0 to 1: windows set out one after the other,
        evenly spread along the region, since a posterior is sharp and most would otherwise
        change halfway, all at once. Both ends are reconstructions: each site has the likelier
        allele, given the codes and the windows before.

        Raises BenchError if the panels differ in size or in sites.
        """
        if first.n_haplotypes != second.n_haplotypes:
            raise BenchError(
                f"interpolation: {first.n_haplotypes} haplotypes on one side, "
                f"{second.n_haplotypes} on the other; expected as many"
            )
        with reproducible(ctx.threads):
            start, end = (self.codebooks.joint(self._cut(panel)) for panel in (first, second))
            # The golden ratio's multiples: any run of windows sets out evenly over time.
            waits = (torch.arange(self.tiling.n_windows) * _GOLDEN % 1)[:, None, None]
            labels = self._population(first), self._population(second)
            points = []
            for share in np.linspace(0, 1, steps).tolist():
                places = ((1 + _SPREAD) * share - _SPREAD * waits).clamp(0, 1)
                codes = torch.lerp(start, end, places).argmax(-1)
                points.append(self._decoded(codes, labels[share >= _HALF]))
        return np.stack(points)

    def traverse(
        self, panel: Panel, dimension: int, steps: int, ctx: RunContext
    ) -> NDArray[np.int8]:
        """The haplotypes of `panel` with other codes in one window: a walk along its codebook.

        (steps, n_haplotypes, n_sites) int8. `dimension` is the window, from 0. Its codes are
        put in the order of the first principal component of their allele probabilities and
        visited from end to end, evenly; the other windows keep their codes.

        Raises BenchError if there is no such window, or the panel hasn't the sites.
        """
        if not 0 <= dimension < self.tiling.n_windows:
            raise BenchError(
                f"traversal: there is no window {dimension}; expected 0 to "
                f"{self.tiling.n_windows - 1}"
            )
        with reproducible(ctx.threads):
            codes = self.codebooks.encode(self._cut(panel))
            order = self.codebooks.order(dimension)
            points = []
            for visited in np.linspace(0, order.numel() - 1, steps).round().astype(np.int64):
                codes[dimension] = int(order[visited])
                points.append(self._decoded(codes, self._population(panel)))
        return np.stack(points)

    def save(self, directory: Path) -> None:
        """Write `model.json` and `model.safetensors`."""
        head = {
            "n_sites": self.tiling.n_sites,
            "width": self.tiling.width,
            "codes": self.model.shape.codes,
            "ploidy": self.ploidy,
            "populations": asdict(self.populations),
            "params": self.params.model_dump(),
        }
        state = {**self.model.state_dict(), "log_weights": self.codebooks.log_weights}
        write_model(directory, head, state)

    @property
    def block(self) -> int:
        """Haplotypes that are sampled at a time, whole: see `sampling.block_size`."""
        return block_size(self.model.logits.device, self.tiling.n_sites)

    @property
    def _lead(self) -> int:
        """Blocks queued before one is waited for, so that a GPU never idles."""
        return 0 if self.model.logits.device.type == "cpu" else 1

    @property
    def _temperature(self) -> float:
        return 1.0 if self.params.temperature is None else self.params.temperature

    def _batches(
        self, request: SampleRequest, ctx: RunContext, *, probabilities: bool
    ) -> Iterator[tuple[NDArray[np.int8], NDArray[np.float32]]]:
        """Yield alleles and their probabilities (with no rows where they aren't wanted)."""
        done = 0
        for wanted, drawn in _ahead(self._blocks(request, ctx, probabilities), self._lead):
            drawn.wait()
            n = wanted.stop - wanted.start
            for first in range(0, n, request.batch_size):
                batch = slice(first, min(first + request.batch_size, n))
                yield drawn.alleles[wanted][batch], drawn.probabilities[wanted][batch]
            done += n
            ctx.progress(done / request.n_haplotypes, f"{done} haplotypes")

    def _blocks(
        self, request: SampleRequest, ctx: RunContext, probabilities: bool
    ) -> Iterator[tuple[slice, Drawn]]:
        """Yield the rows wanted of each block, and the block."""
        with reproducible(ctx.threads):
            sampler = block_sampler(self.model, self.block, self._temperature)
        for block, wanted, into in request.blocks(self.block):
            labels = None if request.populations is None else request.populations[into]
            population = self._people(block, wanted, labels, ctx)
            levels = SeededLevels(ctx.seed_for("vae", "sample", block), self.model.logits.device)
            with reproducible(ctx.threads):
                drawn = sampler.draw(
                    population, levels, self.tiling.n_sites, probabilities=probabilities
                )
            yield wanted, drawn

    def _people(
        self, block: int, wanted: slice, labels: NDArray[np.str_] | None, ctx: RunContext
    ) -> NDArray[np.int64]:
        """Populations of a whole block; rows nobody wants are of any."""
        people = ctx.rng("vae", "people", block).random(-(-self.block // self.ploidy))
        level = np.repeat(people, self.ploidy)[: self.block]
        population = self.populations.draw(None, level)
        if labels is not None and (labels != "").any():
            population[wanted] = self.populations.draw(labels, level[wanted])
        return population

    def _decoded(self, codes: torch.Tensor, population: NDArray[np.int64]) -> NDArray[np.int8]:
        """The likelier alleles of codes (n_windows, n) int64: (n, n_sites) int8."""
        sampler = block_sampler(self.model, codes.shape[1], self._temperature)
        drawn = sampler.draw(population, ArgmaxLevels(), self.tiling.n_sites, codes=codes.numpy())
        drawn.wait()
        return drawn.alleles

    def _cut(self, panel: Panel) -> torch.Tensor:
        if panel.n_sites != self.tiling.n_sites:
            raise BenchError(
                f"panel: found {panel.n_sites} sites, expected the {self.tiling.n_sites} of the "
                "training panel"
            )
        haplotypes = np.asarray(panel.haplotypes)
        return torch.from_numpy(self.tiling.cut(haplotypes, range(self.tiling.n_windows)))

    def _population(self, panel: Panel) -> NDArray[np.int64]:
        level = np.full(panel.n_haplotypes, _HALF)
        labels = panel.haplotype_populations
        return self.populations.draw(labels if (labels != "").all() else None, level)


def _ahead(items: Iterable[_Item], lead: int) -> Iterator[_Item]:
    """Yield the items, each when `lead` more have been made."""
    waiting: deque[_Item] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > lead:
            yield waiting.popleft()
    yield from waiting


def block_sampler(model: WindowPrior, size: int, temperature: float) -> BlockSampler:
    """The sampler of blocks of `size` for the model's device; alleles' logits / `temperature`."""
    if model.logits.device.type == "cpu":
        from haplobench_vae.sampling_compiled import CompiledSampler

        return CompiledSampler(model, size, temperature)
    return DeviceSampler(model, size, temperature)
