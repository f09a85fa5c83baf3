"""`wgan`: a network that makes haplotypes, trained against one that judges them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from haplobench import Panel, RunContext, SampleRequest
from haplobench.model_state import load_state, save_state
from haplobench_peers.common import Checkpoint, Strata, refuse_unfit, sample_blocks
from haplobench_peers.networks import Learner, torch_threads
from haplobench_peers.specs import WGANParams

Floats = NDArray[np.float32]
_NAME = "wgan"
_FILE = "networks.npz"  # of a fit in progress
_SLOPE = 0.01  # of a leaky unit below 0
_BLUR = 0.1  # by which real alleles, 1 and -1, are moved towards 0 at most
_RAREST = 1e-3  # allele frequency that the maker starts from, at least
_MOMENTS = (0.5, 0.9)  # Adam's
_LEAST_RATE = 0.05
_CHECKPOINT = 50  # updates


class WGAN:
    """Wasserstein GAN with a penalty on gradients, after Yelmen et al. (2023).

    A maker turns Gaussian noise into alleles between -1 and 1; a critic, whose slope is held near
    1 (Gulrajani et al. 2017), tells by how much real ones score higher; either is trained
    against the other. Alleles of samples are 1 where the maker's are above 0.

    Departures: layers are dense, where the paper's are convolutions with a variable for every
    place, for up to 65,535 sites on GPUs. Cost is linear in the number of sites, since the hidden
    layers keep their width. The superpopulation is given to both networks. The maker starts from
    the training frequencies. What is kept is the moving average of its weights.
    """

    def fit(self, train: Panel, params: WGANParams, ctx: RunContext) -> FittedWGAN:
        """Train both networks.

        Raises PanelError if alleles are missing, or if there are none.
        """
        refuse_unfit(train, _NAME)
        strata = Strata.of(train, params.within)
        labels = np.eye(strata.n, dtype=np.float32)[strata.index(train)]
        checkpoint = Checkpoint.of(_NAME, train, params, ctx)
        with torch_threads(ctx.threads):
            match = _Match.start(train, strata.n, params, ctx)
            if arrays := checkpoint.read(_FILE):
                match.restore(arrays)
            while match.done < params.updates:
                # Keyed by the update: a fit that goes on draws what it would have drawn.
                seed = np.random.SFC64(ctx.seed_for(_NAME, "train", match.done))
                distance = match.update(train.haplotypes, labels, params, np.random.Generator(seed))
                if match.done % _CHECKPOINT == 0:
                    checkpoint.write(_FILE, match.arrays())
                ctx.progress(match.done / params.updates, f"distance {distance:.2f}")
        fixed = np.where(train.maf == 0, train.frequencies, -1).astype(np.int8)
        average = match.making.average
        weights = {f"layer-{at}": part.numpy() for at, part in enumerate(average)}
        return FittedWGAN(weights, strata, train.ploidy, fixed)

    def load(self, directory: Path, ctx: RunContext) -> FittedWGAN:
        """Read what `save` wrote."""
        arrays, facts = load_state(directory, _NAME)
        fixed = arrays.pop("fixed")
        return FittedWGAN(arrays, Strata.from_facts(facts["strata"]), facts["ploidy"], fixed)


def dense(widths: Sequence[int], rng: np.random.Generator) -> nn.Sequential:
    """Linear layers with leaky units between them; weights as PyTorch starts them, from `rng`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layer = nn.Linear(inputs, outputs)
        bound = 1 / math.sqrt(inputs)
        for part in (layer.weight, layer.bias):
            start = rng.uniform(-bound, bound, tuple(part.shape)).astype(np.float32)
            part.data = torch.from_numpy(start)
        layers += [layer, nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*layers[:-1])


@dataclass(eq=False)
class _Match:
    """Maker and critic, what moves them, and updates done."""

    maker: nn.Sequential
    critic: nn.Sequential
    making: Learner
    judging: Learner
    done: int = 0

    @classmethod
    def start(cls, train: Panel, n_strata: int, params: WGANParams, ctx: RunContext) -> _Match:
        rng = ctx.rng(_NAME, "start")
        maker = dense((params.latents + n_strata, *params.maker, train.n_sites), rng)
        critic = dense((train.n_sites + n_strata, *params.critic, 1), rng)
        frequency = np.clip(train.frequencies, _RAREST, 1 - _RAREST)
        # Where tanh of it is the mean allele.
        last: Any = maker[-1]
        last.bias.data = torch.from_numpy(np.arctanh(2 * frequency - 1).astype(np.float32))
        making, judging = (
            Learner(network.parameters(), params.learning_rate, _MOMENTS)
            for network in (maker, critic)
        )
        return cls(maker, critic, making, judging)

    def update(
        self,
        haplotypes: NDArray[np.int8],
        labels: Floats,
        params: WGANParams,
        rng: np.random.Generator,
    ) -> float:
        """Some updates of the critic, one of the maker; the Wasserstein distance as seen last."""
        left = 2 * (1 - self.done / params.updates)
        for learner in (self.making, self.judging):
            learner.set_rate(params.learning_rate * min(1, max(_LEAST_RATE, left)))
        size = params.batch_size
        distance = 0.0
        for _ in range(params.critic_updates):
            rows = rng.integers(0, len(haplotypes), size)
            label = torch.from_numpy(labels[rows])
            blur = 1 - _BLUR * rng.random((size, haplotypes.shape[1]), np.float32)
            real = torch.from_numpy((2 * haplotypes[rows].astype(np.float32) - 1) * blur)
            with torch.no_grad():
                made = self._make(label, params.latents, rng)
            mix = torch.from_numpy(rng.random((size, 1), np.float32))
            between = (mix * real + (1 - mix) * made).requires_grad_()
            score = self.critic(torch.cat([between, label], 1)).sum()
            (slope,) = torch.autograd.grad(score, between, create_graph=True)
            penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
            gap = self._score(real, label) - self._score(made, label)
            self.judging.descend(params.penalty * penalty - gap)
            distance = float(gap.detach())
        rows = rng.integers(0, len(haplotypes), size)
        label = torch.from_numpy(labels[rows])
        self.making.descend(-self._score(self._make(label, params.latents, rng), label))
        self.done += 1
        self.making.follow(min(params.averaging, self.done / (self.done + 9)))
        return distance

    def _make(self, label: Tensor, latents: int, rng: np.random.Generator) -> Tensor:
        noise = torch.from_numpy(rng.standard_normal((len(label), latents), np.float32))
        made: Tensor = torch.tanh(self.maker(torch.cat([noise, label], 1)))
        return made

    def _score(self, alleles: Tensor, label: Tensor) -> Tensor:
        score: Tensor = self.critic(torch.cat([alleles, label], 1)).mean()
        return score

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that a fit in progress is made of, and updates done."""
        return {
            "done": np.array(self.done),
            **self.making.arrays("maker"),
            **self.judging.arrays("critic"),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what `arrays` gave."""
        self.making.restore(arrays, "maker")
        self.judging.restore(arrays, "critic")
        self.done = int(arrays["done"])


@dataclass(frozen=True, eq=False)
class FittedWGAN:
    """The maker: `weights` are of its layers in turn, weight (outputs, inputs) and bias (outputs,).

    `fixed` (n_sites,) int8: the allele of sites that don't vary in training, -1 elsewhere.
    """

    weights: dict[str, NDArray[Any]]
    strata: Strata
    ploidy: int
    fixed: NDArray[np.int8]

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; the labels asked for may be superpopulations, too."""
        layers = [np.asarray(self.weights[f"layer-{at}"]) for at in range(len(self.weights))]
        latents = layers[0].shape[1] - self.strata.n

        def draw(block: int, stratum: NDArray[np.int64]) -> NDArray[np.int8]:
            seed = np.random.SFC64(ctx.seed_for(_NAME, "sample", block))
            noise = np.random.Generator(seed).standard_normal((stratum.size, latents), np.float32)
            units = np.hstack([noise, np.eye(self.strata.n, dtype=np.float32)[stratum]])
            for at in range(0, len(layers), 2):
                if at:
                    units = np.where(units > 0, units, np.float32(_SLOPE) * units)
                units = units @ layers[at].T + layers[at + 1]
            return np.where(self.fixed < 0, units > 0, self.fixed).astype(np.int8)

        return sample_blocks(request, ctx, self.strata, self.ploidy, draw)

    def save(self, directory: Path) -> None:
        """Write the maker."""
        arrays = {**self.weights, "fixed": self.fixed}
        save_state(directory, _NAME, arrays, strata=self.strata.facts(), ploidy=self.ploidy)
