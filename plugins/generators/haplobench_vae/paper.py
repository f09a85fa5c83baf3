"""`vae-paper`: the published design, windows sampled independently and put side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench import BenchError, Panel, RunContext, SampleRequest
from haplobench.distributed import shard
from haplobench_vae.paper_model import STRIDE, Shape, WindowVAEs
from haplobench_vae.params import PaperVAEParams
from haplobench_vae.ranks import all_windows
from haplobench_vae.storage import reading_model, write_model
from haplobench_vae.training import (
    WindowHistory,
    cpu_generator,
    reproducible,
    train_windows,
    validation_haplotypes,
)
from haplobench_vae.windows import WindowTiling

_BLOCK = 128


class PaperVAE:
    """The windowed convolutional VAE of GenSynthVAE, over any number of ranks.

    Each window of adjacent sites has its own encoder and decoder and a prior N(0, I); windows
    are sampled independently, so that LD across a window border is lost by design. Each rank
    trains some of the windows, without communication.
    """

    def fit(self, train: Panel, params: PaperVAEParams, ctx: RunContext) -> FittedPaperVAE:
        """Train all windows; writes `training.json` (best epoch and loss) to the artifacts.

        Raises BenchError if the panel has no sites or fewer than two people.
        """
        if not train.n_sites:
            raise BenchError("training panel: found 0 sites, expected at least 1")
        tiling = WindowTiling(train.n_sites, min(params.window, train.n_sites), STRIDE)
        held = validation_haplotypes(
            train, params.validation, ctx.rng("vae", "validation"), ctx.validation
        )
        groups = list(tiling.groups(params.windows_per_group))
        own = shard(len(groups), ctx.group.rank, ctx.group.size)
        models: list[WindowVAEs] = []
        histories: list[WindowHistory] = []
        with reproducible(ctx.threads):
            for number, windows in enumerate(groups[own]):

                def report(
                    epoch: int, loss: float, windows: range = windows, k: int = number
                ) -> None:
                    ctx.progress(
                        (k + (epoch + 1) / params.epochs) / (own.stop - own.start),
                        f"windows {windows.start + 1}-{windows.stop} of {tiling.n_windows}, "
                        f"epoch {epoch + 1} of {params.epochs}: validation loss {loss:.2f} nats",
                    )

                model, history = _fit_windows(train, tiling, windows, held, params, ctx, report)
                models.append(model)
                histories.append(history)
        found = ctx.group.gather(histories)
        if ctx.group.rank == 0:
            everyone = [history for rank in found for history in cast("list[WindowHistory]", rank)]
            _write_history(ctx.artifacts / "training.json", everyone)
        if ctx.group.size > 1:
            models = _of_all_ranks(models, groups, own, tiling, params, ctx)
        return FittedPaperVAE(params, tiling, models)

    def load(self, directory: Path, ctx: RunContext) -> FittedPaperVAE:
        """Read what `FittedPaperVAE.save` wrote.

        Raises BenchError if the folder isn't such a model.
        """
        with reading_model(directory, "vae-paper") as (head, state):
            params = PaperVAEParams.model_validate(head["params"])
            tiling = WindowTiling(head["n_sites"], head["width"], STRIDE)
            models = [
                _restored(state, windows, tiling, params, ctx.device)
                for windows in tiling.groups(params.windows_per_group)
            ]
        return FittedPaperVAE(params, tiling, models)


@dataclass(frozen=True, eq=False)
class FittedPaperVAE:
    """Trained windows.

    Attributes
    ----------
    params : PaperVAEParams
    tiling : WindowTiling
    models : Sequence[WindowVAEs]
        One per group of windows, in order, all on one device.
    """

    params: PaperVAEParams
    tiling: WindowTiling
    models: Sequence[WindowVAEs] = field(repr=False)

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8: z of each window from N(0, I), then Bernoulli alleles."""

        def draw(block: int) -> NDArray[np.int8]:
            with reproducible(ctx.threads):
                return self._block(ctx.rng("vae", "sample", block))

        done = 0
        for batch in request.batches(draw, _BLOCK):
            yield batch
            done += batch.shape[0]
            ctx.progress(done / request.n_haplotypes, f"{done} haplotypes")

    def save(self, directory: Path) -> None:
        """Write `model.json` and `model.safetensors` (all windows stacked)."""
        states = [model.state_dict() for model in self.models]
        stacked = {name: torch.cat([state[name].cpu() for state in states]) for name in states[0]}
        head = {
            "n_sites": self.tiling.n_sites,
            "width": self.tiling.width,
            "params": self.params.model_dump(),
        }
        write_model(directory, head, stacked)

    @torch.no_grad()
    def _block(self, rng: np.random.Generator) -> NDArray[np.int8]:
        """One whole block: (_BLOCK, n_sites) int8."""
        alleles = np.empty((_BLOCK, self.tiling.n_sites), np.int8)
        groups = self.tiling.groups(self.params.windows_per_group)
        for windows, model in zip(groups, self.models, strict=True):
            shape = len(windows), _BLOCK, self.params.latent
            z = torch.from_numpy(rng.standard_normal(shape, np.float32))
            logits = model.decode(z.to(model.site_bias.device))
            if self.params.output == "bernoulli":
                drawn = rng.random(tuple(logits.shape), np.float32)
                # Strictly below: probability 0 never gives the allele.
                cut = drawn < torch.sigmoid(logits).cpu().numpy()
            else:
                cut = (logits > 0).cpu().numpy()
            alleles[:, self.tiling.sites(windows)] = self.tiling.join(cut.view(np.int8), windows)
        return alleles


def _untrained(tiling: WindowTiling, windows: range, params: PaperVAEParams) -> WindowVAEs:
    shape = _shape(tiling, windows, params)
    return WindowVAEs(shape, torch.zeros(len(windows), tiling.padded), cpu_generator(0))


def _restored(
    state: Mapping[str, Tensor],
    windows: range,
    tiling: WindowTiling,
    params: PaperVAEParams,
    device: str,
) -> WindowVAEs:
    """The model of a run of windows, of all windows' weights."""
    model = _untrained(tiling, windows, params)
    model.load_state_dict(
        {name: values[windows.start : windows.stop] for name, values in state.items()}
    )
    return model.to(device)


def _of_all_ranks(
    models: Sequence[WindowVAEs],
    groups: Sequence[range],
    own: slice,
    tiling: WindowTiling,
    params: PaperVAEParams,
    ctx: RunContext,
) -> list[WindowVAEs]:
    """Every rank's models, of which this rank trained those of `groups[own]`."""
    mine = groups[own]
    windows = slice(mine[0].start, mine[-1].stop) if mine else slice(0, 0)
    # A rank without windows hands over none, of the same shapes.
    empty = _untrained(tiling, range(0), params)
    state = {
        name: all_windows(
            torch.cat([like[:0].cpu(), *(model.state_dict()[name].cpu() for model in models)]),
            windows,
            tiling.n_windows,
            ctx.group,
        )
        for name, like in empty.state_dict().items()
    }
    return [_restored(state, run, tiling, params, ctx.device) for run in groups]


def _fit_windows(
    train: Panel,
    tiling: WindowTiling,
    windows: range,
    held: NDArray[np.bool_],
    params: PaperVAEParams,
    ctx: RunContext,
    report: Callable[[int, float], None],
) -> tuple[WindowVAEs, WindowHistory]:
    """Train one run of windows; its randomness is keyed by its first window."""
    cut = tiling.cut(train.haplotypes, windows)
    frequencies = _frequencies(cut[:, ~held])
    generator = cpu_generator(ctx.seed_for("vae", "fit", windows.start))
    model = WindowVAEs(_shape(tiling, windows, params), torch.from_numpy(frequencies), generator)
    model.to(ctx.device)
    alleles = torch.from_numpy(cut).to(ctx.device)
    return model, train_windows(model, alleles, held, params, generator, report)


def _frequencies(cut: NDArray[np.int8]) -> NDArray[np.float32]:
    """Alternate allele frequency among the called: (n_windows, sites) float32; 0 where none."""
    called = (cut >= 0).sum(axis=1)
    frequencies: NDArray[np.float64] = (cut == 1).sum(axis=1) / np.maximum(called, 1)
    return frequencies.astype(np.float32)


def _shape(tiling: WindowTiling, windows: range, params: PaperVAEParams) -> Shape:
    return Shape(len(windows), tiling.padded, params.latent, params.channels)


def _write_history(path: Path, histories: Sequence[WindowHistory]) -> None:
    """The best epoch and validation loss of every window, in order."""
    record = {
        "epochs": [history.epochs for history in histories],
        "best_epoch": np.concatenate([h.best_epoch for h in histories]).tolist(),
        "validation_loss_nats": np.concatenate([h.validation_loss for h in histories]).tolist(),
    }
    path.write_text(json.dumps(record) + "\n")
