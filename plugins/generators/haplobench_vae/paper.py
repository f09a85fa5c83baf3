"""`vae-paper`: the published design, windows sampled independently and put side by side.

No window shares a parameter with another: every weight of the network has a leading window
axis, and every layer is one batched matrix product over it. So windows stop early one by one,
and ranks train disjoint ones without communication.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from haplobench import Panel, RunContext, SampleRequest
from haplobench.distributed import shard
from haplobench_vae import PaperVAEParams
from haplobench_vae.codebooks import WindowTiling, all_windows
from haplobench_vae.storage import reading_model, write_model
from haplobench_vae.vae import cpu_generator, reproducible, validation_haplotypes

STRIDES = (4, 2)
STRIDE = math.prod(STRIDES)
_FREQUENCY_FLOOR = 1e-3
_DEVIATION_FLOOR = 0.05
_LOG_VARIANCE = 8.0
_VALIDATION_BATCH = 1024
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
        held = validation_haplotypes(
            train, params.validation, ctx.rng("vae", "validation"), ctx.validation
        )
        tiling = WindowTiling(train.n_sites, min(params.window, train.n_sites), STRIDE)
        groups = list(tiling.groups(params.windows_per_group))
        groups_here = groups[shard(len(groups), ctx.group.rank, ctx.group.size)]
        models: list[WindowVAEs] = []
        histories: list[WindowHistory] = []

        def report(windows: range, epoch: int, loss: float) -> None:
            ctx.progress(
                (len(models) + (epoch + 1) / params.epochs) / len(groups_here),
                f"windows {windows.start + 1}-{windows.stop} of {tiling.n_windows}, "
                f"epoch {epoch + 1} of {params.epochs}: validation loss {loss:.2f} nats",
            )

        with reproducible(ctx.threads):
            for windows in groups_here:
                cut = tiling.cut(train.haplotypes, windows)
                # Randomness is keyed by the first window.
                generator = cpu_generator(ctx.seed_for("vae", "fit", windows.start))
                model = _network(tiling, params, _frequencies(cut[:, ~held]), generator)
                model.to(ctx.device)
                alleles = torch.from_numpy(cut).to(ctx.device)
                report_epoch = partial(report, windows)
                histories.append(
                    train_windows(model, alleles, held, params, generator, report_epoch)
                )
                models.append(model)
        by_rank = cast("list[list[WindowHistory]]", ctx.group.gather(histories))
        if ctx.group.rank == 0:
            _write_history(ctx.artifacts / "training.json", list(chain.from_iterable(by_rank)))
        if ctx.group.size > 1:
            models = _of_all_ranks(models, groups_here, tiling, params, ctx)
        return FittedPaperVAE(params, tiling, models)

    def load(self, directory: Path, ctx: RunContext) -> FittedPaperVAE:
        """Read what `FittedPaperVAE.save` wrote.

        Raises BenchError if the folder isn't such a model.
        """
        with reading_model(directory, "vae-paper") as (head, state):
            params = PaperVAEParams.model_validate(head["params"])
            tiling = WindowTiling(head["n_sites"], head["width"], STRIDE)
            models = _restored(state, tiling, params, ctx.device)
        return FittedPaperVAE(params, tiling, models)


@dataclass(frozen=True, eq=False)
class FittedPaperVAE:
    """Trained windows.

    `models`: one per group of windows, in order, all on one device.
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


def _frequencies(cut: NDArray[np.int8]) -> Tensor:
    """Alternate allele frequency among the called: (n_windows, sites) float32; 0 where none."""
    called = (cut >= 0).sum(axis=1)
    frequencies: NDArray[np.float64] = (cut == 1).sum(axis=1) / np.maximum(called, 1)
    return torch.from_numpy(frequencies.astype(np.float32))


def _network(
    tiling: WindowTiling, params: PaperVAEParams, frequencies: Tensor, generator: torch.Generator
) -> WindowVAEs:
    shape = PaperShape(len(frequencies), tiling.padded, params.latent, params.channels)
    return WindowVAEs(shape, frequencies, generator)


def _untrained(tiling: WindowTiling, n_windows: int, params: PaperVAEParams) -> WindowVAEs:
    return _network(tiling, params, torch.zeros(n_windows, tiling.padded), cpu_generator(0))


def _restored(
    state: Mapping[str, Tensor], tiling: WindowTiling, params: PaperVAEParams, device: str
) -> list[WindowVAEs]:
    """The models of all groups of windows, of all windows' weights."""
    models = []
    for windows in tiling.groups(params.windows_per_group):
        model = _untrained(tiling, len(windows), params)
        part = slice(windows.start, windows.stop)
        model.load_state_dict({name: values[part] for name, values in state.items()})
        models.append(model.to(device))
    return models


def _of_all_ranks(
    models: Sequence[WindowVAEs],
    groups: Sequence[range],
    tiling: WindowTiling,
    params: PaperVAEParams,
    ctx: RunContext,
) -> list[WindowVAEs]:
    """Every rank's models, of which this rank trained those of `groups`."""
    windows = slice(groups[0].start, groups[-1].stop) if groups else slice(0, 0)
    states = [model.state_dict() for model in models]
    # A rank without windows hands over none, of the same shapes.
    empty = _untrained(tiling, 0, params).state_dict()
    whole = {}
    for name, like in empty.items():
        values = torch.cat([like[:0].cpu(), *(state[name].cpu() for state in states)])
        whole[name] = all_windows(values, windows, tiling.n_windows, ctx.group)
    return _restored(whole, tiling, params, ctx.device)


def _write_history(path: Path, histories: Sequence[WindowHistory]) -> None:
    """The best epoch and validation loss of every window, in order."""
    record = {
        "epochs": [history.epochs for history in histories],
        "best_epoch": np.concatenate([h.best_epoch for h in histories]).tolist(),
        "validation_loss_nats": np.concatenate([h.validation_loss for h in histories]).tolist(),
    }
    path.write_text(json.dumps(record) + "\n")


def train_windows(
    model: WindowVAEs,
    alleles: Tensor,
    validation: NDArray[np.bool_],
    params: PaperVAEParams,
    generator: torch.Generator,
    report: Callable[[int, float], None],
) -> WindowHistory:
    """Minimise reconstruction loss + β KL of each window with Adam; keep each window's best.

    `model`: trained in place, on the device of `alleles`.
    `alleles` (n_windows, n_haplotypes, sites) int8: -1 where missing or padded.
    `validation` (n_haplotypes,) bool.
    `generator`: of batches and latent noise.
    `report`: told the epoch (from 0) and the mean validation loss over windows, nats per haplotype.
    """
    held = torch.from_numpy(validation).to(alleles.device)
    fitted, held_out = alleles[:, ~held], alleles[:, held]
    n = fitted.shape[1]
    n_batches = max(1, n // params.batch_size)

    def noise_of(n: int) -> Tensor:
        # On the CPU, so that devices agree.
        shape = model.shape.n_windows, n, model.shape.latent
        return torch.randn(shape, generator=generator).to(alleles.device)

    # The same noise in every epoch: epochs are compared, not draws.
    held_noise = noise_of(held_out.shape[1])
    optimiser = torch.optim.Adam(model.parameters(), lr=params.learning_rate, fused=True)
    steps = params.epochs * n_batches
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
    )
    best = BestByWindow(model, model.shape.n_windows)
    for epoch in range(params.epochs):
        beta = params.beta * min(1.0, (epoch + 1) / max(1, params.warm_up))
        for rows in torch.randperm(n, generator=generator).tensor_split(n_batches):
            batch = fitted[:, rows.to(alleles.device)].float()
            reconstruction, kl = model.negative_elbo_terms(batch, noise_of(rows.numel()))
            optimiser.zero_grad()
            (reconstruction + beta * kl).mean(dim=1).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        loss = _validation_loss(model, held_out, held_noise, params.beta)
        report(epoch, float(loss.mean()))
        # While the KL weight rises, the posterior isn't yet the one asked for.
        if epoch + 1 >= min(params.warm_up, params.epochs):
            best.update(epoch, loss, model)
            if epoch - int(best.epoch.max()) >= params.patience:
                break
    best.restore(model)
    return WindowHistory(epoch + 1, best.epoch.numpy(), best.loss.numpy())


@dataclass(frozen=True)
class WindowHistory:
    """How training of some windows ended.

    `epochs`: epochs trained.
    `best_epoch` (n_windows,) int64: the epoch, from 0, whose parameters were kept.
    `validation_loss` (n_windows,) float32: reconstruction loss + β KL on the validation people
    then, nats per haplotype.
    """

    epochs: int
    best_epoch: NDArray[np.int64]
    validation_loss: NDArray[np.float32]


class BestByWindow:
    """The best parameters of each window so far: windows stop early one by one.

    Since windows share no parameters, this equals training each with early stopping of its own.
    """

    def __init__(self, model: nn.Module, n_windows: int) -> None:
        self.loss = torch.full((n_windows,), math.inf)
        self.epoch = torch.zeros(n_windows, dtype=torch.int64)
        self._state = {name: value.clone() for name, value in model.state_dict().items()}

    def update(self, epoch: int, loss: Tensor, model: nn.Module) -> None:
        """Keep `model`'s parameters of the windows whose `loss` (n_windows,) is the lowest yet."""
        improved = loss < self.loss
        self.loss = torch.where(improved, loss, self.loss)
        self.epoch = torch.where(improved, epoch, self.epoch)
        for name, value in model.state_dict().items():
            mask = improved.to(value.device).view(-1, *(1,) * (value.dim() - 1))
            self._state[name] = torch.where(mask, value, self._state[name])

    def restore(self, model: nn.Module) -> None:
        """Put the kept parameters back into `model`."""
        model.load_state_dict(self._state)


@torch.no_grad()
def _validation_loss(model: WindowVAEs, alleles: Tensor, noise: Tensor, beta: float) -> Tensor:
    """Mean loss per haplotype of each window: (n_windows,) float32 on the CPU."""
    total = torch.zeros(alleles.shape[0], device=alleles.device)
    for start in range(0, alleles.shape[1], _VALIDATION_BATCH):
        rows = slice(start, start + _VALIDATION_BATCH)
        reconstruction, kl = model.negative_elbo_terms(alleles[:, rows].float(), noise[:, rows])
        total += (reconstruction + beta * kl).sum(dim=1)
    return (total / alleles.shape[1]).cpu()


@dataclass(frozen=True)
class PaperShape:
    """PaperShape of the network: windows, padded sites per window, latent dimensions, channels."""

    n_windows: int
    sites: int
    latent: int
    channels: tuple[int, ...]

    @property
    def length(self) -> int:
        """Positions left after the convolutions."""
        return self.sites // STRIDE

    def layers(self) -> Iterator[tuple[int, int, int]]:
        """Yield (channels in, channels out, stride) of the encoder's convolutions."""
        yield from zip((1, *self.channels), self.channels, STRIDES, strict=False)


class WindowVAEs(nn.Module):
    """A convolutional VAE per window (Kingma & Welling 2014), all evaluated together.

    Encoder: two strided 1-D convolutions, fully connected μ and log σ². Decoder: fully
    connected, two transposed convolutions, Bernoulli logits. Inputs are standardised by the
    training frequencies and the logits start from them, so that training begins at
    independent sites.

    `frequencies` (n_windows, sites) float32: alternate allele frequency of each site in the
    training people.
    `generator`: of the initial weights (on the CPU, so that devices agree).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: PaperShape, frequencies: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        windows, flat = shape.n_windows, shape.length * shape.channels[-1]

        def weight(rows: int, columns: int, gain: float = 2.0) -> nn.Parameter:
            # He et al. 2015: keeps the variance through a ReLU.
            drawn = torch.randn(windows, rows, columns, generator=generator)
            return nn.Parameter(drawn * math.sqrt(gain / rows))

        def bias(columns: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(windows, 1, columns))

        layers = list(shape.layers())
        self.down = nn.ParameterList(weight(2 * s * i, o) for i, o, s in layers)
        self.down_bias = nn.ParameterList(bias(o) for _, o, _ in layers)
        self.posterior = weight(flat, 2 * shape.latent, gain=0.2)
        self.posterior_bias = bias(2 * shape.latent)
        self.expand = weight(shape.latent, flat)
        self.expand_bias = bias(flat)
        mirrored = layers[::-1]
        self.up = nn.ParameterList(
            # The last starts near 0: the logits are then those of the frequencies.
            weight(2 * o, s * i, gain=2.0 if i > 1 else 0.02)
            for i, o, s in mirrored
        )
        self.up_bias = nn.ParameterList(bias(s * i) for i, _, s in mirrored)
        self.site_bias = nn.Parameter(
            torch.logit(frequencies, eps=_FREQUENCY_FLOOR)[:, None, :].clone()
        )
        deviation = (frequencies * (1 - frequencies)).sqrt().clamp_min(_DEVIATION_FLOOR)
        self.register_buffer("mean", frequencies[:, None, :].clone())
        self.register_buffer("scale", 1 / deviation[:, None, :])

    def encode(self, alleles: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of the posterior, each (n_windows, n, latent).

        `alleles` is (n_windows, n, sites): 0, 1, or negative where missing (taken as average).
        """
        standard = torch.where(alleles >= 0, (alleles - self.mean) * self.scale, 0.0)
        hidden = standard[..., None]
        for weight, bias in zip(self.down, self.down_bias, strict=True):
            hidden = functional.relu(convolve(hidden, weight, bias))
        flat = hidden.flatten(start_dim=2)
        mu, log_variance = torch.baddbmm(self.posterior_bias, flat, self.posterior).chunk(2, -1)
        # Keeps exp() finite on the way; a trained posterior stays well inside.
        return mu, log_variance.clamp(-_LOG_VARIANCE, _LOG_VARIANCE)

    def decode(self, z: Tensor) -> Tensor:
        """Bernoulli logits (n_windows, n, sites) of latents (n_windows, n, latent)."""
        windows, n, _ = z.shape
        hidden = functional.relu(torch.baddbmm(self.expand_bias, z, self.expand))
        hidden = hidden.view(windows, n, self.shape.length, self.shape.channels[-1])
        *inner, last = zip(
            self.up, self.up_bias, [s for _, _, s in self.shape.layers()][::-1], strict=True
        )
        for weight, bias, stride in inner:
            hidden = functional.relu(transposed_convolve(hidden, weight, bias, stride))
        weight, bias, stride = last
        return transposed_convolve(hidden, weight, bias, stride)[..., 0] + self.site_bias

    def negative_elbo_terms(self, alleles: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction loss and KL to N(0, I), nats, each (n_windows, n).

        `noise` is standard normal (n_windows, n, latent): z = μ + σ · noise. Missing alleles
        cost nothing.
        """
        mu, log_variance = self.encode(alleles)
        logits = self.decode(mu + noise * (0.5 * log_variance).exp())
        reconstruction = functional.binary_cross_entropy_with_logits(
            logits, alleles.clamp_min(0), weight=(alleles >= 0).float(), reduction="none"
        ).sum(-1)
        kl = 0.5 * (mu.square() + log_variance.exp() - 1 - log_variance).sum(-1)
        return reconstruction, kl


def convolve(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A strided 1-D convolution per window, kernel twice the stride, padded at the right end.

    `hidden` (windows, n, length, channels); `weight` (windows, 2 · stride · channels, out),
    rows in the order (kernel position, channel); `bias` (windows, 1, out).
    Returns (windows, n, length / stride, out).
    """
    windows, n, length, channels = hidden.shape
    stride = weight.shape[1] // (2 * channels)
    patches = hidden.reshape(windows, n, length // stride, stride * channels)
    following = functional.pad(patches[:, :, 1:], (0, 0, 0, 1))
    rows = torch.cat((patches, following), -1).flatten(1, 2)
    return torch.baddbmm(bias, rows, weight).view(windows, n, length // stride, -1)


def transposed_convolve(hidden: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """The transposed convolution of kernel 2 · stride, cropped at the right end.

    `hidden` (windows, n, length, channels); `weight` (windows, 2 · channels, stride · out),
    the first rows for the position before; `bias` (windows, 1, stride · out).
    Returns (windows, n, length · stride, out).
    """
    windows, n, length, _ = hidden.shape
    before = functional.pad(hidden[:, :, :-1], (0, 0, 1, 0))
    rows = torch.cat((before, hidden), -1).flatten(1, 2)
    return torch.baddbmm(bias, rows, weight).view(windows, n, length * stride, -1)
