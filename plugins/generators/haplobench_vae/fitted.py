"""A fitted `vae`: sampling, probabilities, encoding, storage."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from haplobench import BenchError, Panel, Populations, RunContext, SampleRequest
from haplobench_vae.codebooks import Codebooks
from haplobench_vae.params import VAEParams
from haplobench_vae.prior import WindowPrior
from haplobench_vae.sampling import (
    Drawn,
    Halves,
    SeededLevels,
    block_sampler,
    block_size,
)
from haplobench_vae.storage import write_model
from haplobench_vae.training import reproducible
from haplobench_vae.windows import WindowTiling

_Item = TypeVar("_Item")
_HALF = 0.5
_GOLDEN = (5**0.5 - 1) / 2
_SPREAD = 3.0


@dataclass(frozen=True, eq=False)
class FittedVAE:
    """Trained codebooks, prior and decoder.

    Attributes
    ----------
    params : VAEParams
        Its temperature is the calibrated one.
    tiling : WindowTiling
    populations : Populations
    ploidy : int
    model : WindowPrior
    books : Codebooks
        They encode haplotypes; on the CPU.
    """

    params: VAEParams
    tiling: WindowTiling
    populations: Populations
    ploidy: int
    model: WindowPrior = field(repr=False)
    books: Codebooks = field(repr=False)

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
        for _, found in self._batches(request, ctx, probabilities=True):
            yield found

    def encode(self, panel: Panel, ctx: RunContext) -> NDArray[np.int64]:
        """Codes of real haplotypes: (n_haplotypes, n_windows) int64, the most probable of each.

        Raises BenchError if the panel hasn't the sites of the training panel.
        """
        with reproducible(ctx.threads):
            return self.books.encode(self._cut(panel)).t().contiguous().numpy()

    def interpolate(
        self, first: Panel, second: Panel, steps: int, ctx: RunContext
    ) -> NDArray[np.int8]:
        """Haplotypes on the way from each haplotype of `first` to its like in `second`.

        (steps, n_haplotypes, n_sites) int8. Each window has the most probable code under the
        geometric mixture p(code | first)^(1 - t) p(code | second)^t of both haplotypes'
        posteriors, t its own share of the way from 0 to 1: windows set out one after the other,
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
            start, end = (self.books.joint(self._cut(panel)) for panel in (first, second))
            # The golden ratio's multiples: any run of windows sets out evenly over time.
            waits = (torch.arange(self.tiling.n_windows) * _GOLDEN % 1)[:, None, None]
            labels = self._population(first), self._population(second)
            made = []
            for share in np.linspace(0, 1, steps).tolist():
                own = ((1 + _SPREAD) * share - _SPREAD * waits).clamp(0, 1)
                codes = torch.lerp(start, end, own).argmax(-1)
                made.append(self._decoded(codes, labels[share >= _HALF]))
        return np.stack(made)

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
            codes = self.books.encode(self._cut(panel))
            order = self.books.order(dimension)
            made = []
            for visited in np.linspace(0, order.numel() - 1, steps).round().astype(np.int64):
                codes[dimension] = int(order[visited])
                made.append(self._decoded(codes, self._population(panel)))
        return np.stack(made)

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
        state = {**self.model.state_dict(), "log_weights": self.books.log_weights}
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
        if labels is not None:
            population[wanted] = self.populations.draw(labels, level[wanted])
        return population

    def _decoded(self, codes: torch.Tensor, population: NDArray[np.int64]) -> NDArray[np.int8]:
        """The likelier alleles of codes (n_windows, n) int64: (n, n_sites) int8."""
        sampler = block_sampler(self.model, codes.shape[1], self._temperature)
        drawn = sampler.draw(population, Halves(), self.tiling.n_sites, codes=codes.numpy())
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
