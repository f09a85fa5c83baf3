"""`latent-diffusion`: noise turned into principal components of windows of sites, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench import Panel, RunContext, SampleRequest
from haplobench_peers import DiffusionParams
from haplobench_peers.common import Checkpoint, Frame, Strata, Tiling, refuse_unfit
from haplobench_peers.networks import Learner, torch_threads

Floats = NDArray[np.float32]
_NAME = "latent-diffusion"
_FILE = "network.npz"  # of a fit in progress
_CHECKPOINT = 50  # updates
_MOMENTS = (0.9, 0.99)  # Adam's
_WARM_UP = 50  # updates
_LEAST_RATE = 0.02
_ALL_UPDATES, _FEWEST, _MOST = 30_000, 300, 3_000
# Noise in standard deviations of a latent: the logarithm's mean and deviation in training, and
# from and to where samples are denoised. Most alleles are decided where it is 1 to 5.
_LOG_MEAN, _LOG_DEVIATION = 1.3, 1.0
_MOST_NOISE, _LEAST_NOISE, _CURVE = 40.0, 0.15, 5
_WAVES = 8  # by which a network is told the noise


class LatentDiffusion:
    """A latent diffusion model: haplotypes are made from noise in a space of few dimensions.

    The latents of a window of sites are its first principal components. A network, dense, with
    skip connections, is trained to tell the latents from latents with Gaussian noise added, at all
    levels of noise; a sample starts as noise, and follows the network's estimates to no noise on
    the deterministic path (Song et al. 2021), with the weights, scales and second-order steps of
    Karras et al. (2022). Alleles are 1 where the components add up to more than a half.

    After Kenneweg et al. (2025), whose latents are principal components of genes, and SNPgen
    (Lampis et al. 2026), whose are a variational autoencoder's. Departures: these denoise all
    windows of a genotype at once, by networks of many million parameters on GPUs; here each window
    has a small network of its own, which is given the alleles of the `overlap` sites before and the
    superpopulation, and windows are drawn one after the other. Haplotypes, not genotypes; no
    phenotype.
    """

    def fit(self, train: Panel, params: DiffusionParams, ctx: RunContext) -> FittedDiffusion:
        """Find the components, then train the networks of all windows together.

        Raises PanelError if alleles are missing, or if there are none.
        """
        refuse_unfit(train, _NAME)
        strata = Strata.of(train, params.within)
        tiling = Tiling.of(train.n_sites, params.window, params.overlap)
        updates = params.updates or min(max(_ALL_UPDATES // tiling.n_windows, _FEWEST), _MOST)
        padded = tiling.pad(np.asarray(train.haplotypes))
        labels = np.eye(strata.n, dtype=np.float32)[strata.index(train)]
        space = Latents.of(padded, tiling, min(params.latents, tiling.width))
        ctx.progress(0.0, "principal components")
        checkpoint = Checkpoint.of(_NAME, train, params, ctx)
        inputs = space.components + tiling.overlap + strata.n + 2 * _WAVES
        with torch_threads(ctx.threads):
            network = _start(tiling.n_windows, inputs, space.components, params, ctx)
            learner = Learner(network.values(), params.learning_rate, _MOMENTS)
            done = 0
            if arrays := checkpoint.read(_FILE):
                learner.restore(arrays, "network")
                done = int(arrays["done"])
            size = min(params.batch_size, train.n_haplotypes)
            for update in range(done, updates):
                # Keyed by the update: a fit that goes on draws what it would have drawn.
                seed = np.random.SFC64(ctx.seed_for(_NAME, "train", update))
                rng = np.random.Generator(seed)
                rows = rng.integers(0, train.n_haplotypes, size)
                left = 2 * (1 - (update + 1) / updates)
                rate = min(1, (update + 1) / _WARM_UP, max(_LEAST_RATE, left))
                learner.set_rate(params.learning_rate * rate)
                loss = _loss(network, space, tiling, padded[rows], labels[rows], rng)
                learner.descend(loss)
                learner.follow(min(params.averaging, (update + 1) / (update + 10)))
                if (update + 1) % _CHECKPOINT == 0:
                    state = {"done": np.array(update + 1), **learner.arrays("network")}
                    checkpoint.write(_FILE, state)
                ctx.progress((update + 1) / updates, f"loss {float(loss.detach()):.3f}")
        weights = dict(zip(network, (part.numpy() for part in learner.average), strict=True))
        return FittedDiffusion(weights, space, Frame.of(train, tiling, strata, params.steps))

    def load(self, directory: Path, ctx: RunContext) -> FittedDiffusion:
        """Read what `save` wrote."""
        arrays, frame = Frame.load(directory, _NAME)
        space = Latents(**{name: np.array(arrays.pop(name)) for name in _SPACE})
        network = {name: np.array(values) for name, values in arrays.items()}
        return FittedDiffusion(network, space, frame)


@dataclass(frozen=True, eq=False)
class Latents:
    """Principal components of each window's alleles, T windows, s sites, k components, float32.

    `mean` (T, 1, s): allele frequencies. `basis` (T, s, k): orthonormal, zeros where there are
    fewer. `scale` (T, 1, 1): by which components are divided, so that their mean square is 1.
    `given_mean` (T, 1, overlap): frequencies at the sites before.
    """

    mean: Floats
    basis: Floats
    scale: Floats
    given_mean: Floats

    @classmethod
    def of(cls, padded: NDArray[np.int8], tiling: Tiling, components: int) -> Latents:
        """Of haplotypes (n, tiling.padded)."""
        n_windows, width = tiling.n_windows, tiling.width
        mean = np.zeros((n_windows, 1, width), np.float32)
        basis = np.zeros((n_windows, width, components), np.float32)
        scale = np.ones((n_windows, 1, 1), np.float32)
        given_mean = np.zeros((n_windows, 1, tiling.overlap), np.float32)
        for window in range(n_windows):
            alleles = tiling.inside(padded, window).astype(np.float64)
            mean[window] = alleles.mean(axis=0)
            given_mean[window] = tiling.given(padded, window).mean(axis=0)
            values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(alleles.T, bias=True)))
            basis[window] = vectors[:, ::-1][:, :components]
            variance = values[::-1][:components].clip(0).mean()
            scale[window] = math.sqrt(variance) if variance > 1e-9 else 1
        return cls(mean, basis, scale, given_mean)

    @property
    def components(self) -> int:
        """Of each window."""
        return int(self.basis.shape[2])

    def encode(self, padded: NDArray[np.int8], tiling: Tiling) -> tuple[Floats, Floats]:
        """Latents (T, n, k), and centred alleles at the sites before (T, n, overlap)."""
        windows = range(tiling.n_windows)
        alleles = np.stack([tiling.inside(padded, w) for w in windows]) - self.mean
        given = np.stack([tiling.given(padded, w) for w in windows]) - self.given_mean
        return alleles @ self.basis / self.scale, given

    def decode(self, latents: Floats, window: int) -> NDArray[np.int8]:
        """Alleles (n, s) int8 of latents (n, k)."""
        sums: Floats = latents * self.scale[window] @ self.basis[window].T + self.mean[window]
        return np.asarray(sums > 0.5, np.int8)


_SPACE = tuple(Latents.__dataclass_fields__)


def _start(
    n_windows: int, inputs: int, components: int, params: DiffusionParams, ctx: RunContext
) -> dict[str, Tensor]:
    """The networks before training: weights (T, inputs, outputs) and biases (T, 1, outputs)."""
    rng = ctx.rng(_NAME, "start")
    network: dict[str, Tensor] = {}
    widths = [(inputs, params.hidden)] + params.layers * [(params.hidden, params.hidden)]
    for at, shape in enumerate(widths):
        weights = rng.standard_normal((n_windows, *shape), np.float32) / math.sqrt(shape[0])
        network[f"weights-{at}"] = torch.from_numpy(weights.astype(np.float32))
        network[f"biases-{at}"] = torch.zeros(n_windows, 1, params.hidden)
    network["weights-out"] = torch.zeros(n_windows, params.hidden, components)
    network["biases-out"] = torch.zeros(n_windows, 1, components)
    return {name: part.requires_grad_() for name, part in network.items()}


def denoised(network: dict[str, Tensor], noisy: Tensor, given: Tensor, noise: Tensor) -> Tensor:
    """The networks' estimates of latents (T, n, k) that have noise added.

    `given` (T, n, overlap + n_strata); `noise` (T, n, 1): standard deviations.
    """
    inside = 1 / torch.sqrt(noise**2 + 1)
    waves = torch.exp(torch.linspace(-1, 2, _WAVES)) * torch.log(noise)
    units = torch.cat([noisy * inside, given, torch.sin(waves), torch.cos(waves)], 2)
    for at in range(len(network) // 2 - 1):
        linear = torch.baddbmm(network[f"biases-{at}"], units, network[f"weights-{at}"])
        active = torch.nn.functional.silu(linear)
        units = units + active if at else active
    out = torch.baddbmm(network["biases-out"], units, network["weights-out"])
    estimate: Tensor = noisy * inside**2 + out * noise * inside
    return estimate


def _loss(
    network: dict[str, Tensor],
    space: Latents,
    tiling: Tiling,
    padded: NDArray[np.int8],
    labels: Floats,
    rng: np.random.Generator,
) -> Tensor:
    """Mean square error of the estimates, weighted so that all levels of noise count alike."""
    latents, given = space.encode(padded, tiling)
    n_windows, n, _ = latents.shape
    level = _LOG_MEAN + _LOG_DEVIATION * rng.standard_normal((n_windows, n, 1), np.float32)
    noise = torch.from_numpy(np.exp(level).astype(np.float32))
    clean = torch.from_numpy(latents)
    noisy = clean + noise * torch.from_numpy(rng.standard_normal(latents.shape, np.float32))
    label = np.broadcast_to(labels, (n_windows, *labels.shape))
    pinned = torch.from_numpy(np.concatenate([given, label], 2))
    error = denoised(network, noisy, pinned, noise) - clean
    return (error**2 * (1 + 1 / noise**2)).mean()


@dataclass(frozen=True, eq=False)
class FittedDiffusion:
    """Trained networks.

    `network`: weights and biases, float32, see `_start`. A sample is the frame's steps from noise.
    """

    network: dict[str, Floats]
    space: Latents
    frame: Frame

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; the labels asked for may be superpopulations, too."""

        def draw(rng: np.random.Generator, stratum: NDArray[np.int64]) -> NDArray[np.int8]:
            with torch_threads(ctx.threads), torch.no_grad():
                return self._draw(rng, stratum)

        return self.frame.sample(request, ctx, _NAME, draw)

    def _draw(self, rng: np.random.Generator, stratum: NDArray[np.int64]) -> NDArray[np.int8]:
        """Haplotypes of the strata (n,) int64, window after window: padded."""
        tiling, space, n = self.frame.tiling, self.space, stratum.size
        labels = np.eye(self.frame.strata.n, dtype=np.float32)[stratum]
        padded = np.zeros((n, tiling.padded), np.int8)
        for window in range(tiling.n_windows):
            part = {
                name: torch.from_numpy(values[window : window + 1])
                for name, values in self.network.items()
            }
            before = tiling.given(padded, window) - space.given_mean[window]
            given = torch.from_numpy(np.hstack([before, labels])[None])
            start = rng.standard_normal((1, n, space.components), np.float32)
            latents = self._path(part, torch.from_numpy(start), given)
            tiling.inside(padded, window)[:] = space.decode(latents[0].numpy(), window)
        return padded

    def _path(self, network: dict[str, Tensor], start: Tensor, given: Tensor) -> Tensor:
        """Latents from standard normal noise, by Heun's method (Karras et al. 2022)."""
        most, least = _MOST_NOISE ** (1 / _CURVE), _LEAST_NOISE ** (1 / _CURVE)
        levels = [float(level**_CURVE) for level in np.linspace(most, least, self.frame.steps)]
        latents = start * levels[0]

        def slope(latents: Tensor, level: float) -> Tensor:
            noise = torch.full((1, latents.shape[1], 1), level)
            return (latents - denoised(network, latents, given, noise)) / level

        for level, following in zip(levels, [*levels[1:], 0.0], strict=True):
            here = slope(latents, level)
            moved = latents + (following - level) * here
            if following:
                here = (here + slope(moved, following)) / 2
                moved = latents + (following - level) * here
            latents = moved
        return latents

    def save(self, directory: Path) -> None:
        """Write the networks and the components."""
        self.frame.save(directory, _NAME, {**self.network, **vars(self.space)})
