"""`wgan` and `gan`: a network that makes haplotypes, trained against one that judges them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from haplobench import Panel, RunContext, SampleRequest
from haplobench.plugin.generators import load_state, save_state
from haplobench_peers import GANParams, WGANParams
from haplobench_peers.common import Checkpoint, Strata, refuse_unfit, sample_blocks
from haplobench_peers.networks import Learner, torch_threads

Floats = NDArray[np.float32]
P = TypeVar("P", WGANParams, GANParams)
_FILE = "networks.npz"  # of a fit in progress
_SLOPE = 0.01  # of a leaky unit below 0
_BLUR = 0.1  # by which real alleles, and the labels of real ones, are moved at most
_RAREST = 1e-3  # allele frequency that the maker starts from, at least
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

    def fit(self, train: Panel, params: WGANParams, ctx: RunContext) -> FittedMaker:
        """Train both networks.

        Raises PanelError if alleles are missing, or if there are none.
        """
        refuse_unfit(train, "wgan")
        strata = Strata.of(train, params.within)
        start = ctx.rng("wgan", "start")
        return _train("wgan", train, strata, _Wasserstein.start(train, strata, params, start), ctx)

    def load(self, directory: Path, ctx: RunContext) -> FittedMaker:
        """Read what `save` wrote."""
        return FittedMaker.load(directory, "wgan")


class GAN:
    """GAN of Yelmen et al. (2021), which the paper has for 805 and for 10,000 sites.

    A maker turns Gaussian noise into alleles; a critic tells the chance that alleles are real;
    either is trained by the critic's cross-entropy. Alleles of samples are 1 where the maker's are
    above a half. The paper's are the widths of the layers, their leaky units, the L2 penalty of
    the hidden ones, both learning rates, the batch, and the noise that is taken off real alleles
    and off their labels.

    Departures: the paper trains for up to 20,000 epochs on GPUs, until principal components look
    right; here for as many updates as some minutes of a CPU allow. Batches are drawn with
    replacement, noise anew for each; weights start as PyTorch starts them, the maker's last ones
    from the training frequencies. What is kept is the moving average of the maker's weights.
    Weights, and time with them, grow with the square of the number of sites.
    """

    def fit(self, train: Panel, params: GANParams, ctx: RunContext) -> FittedMaker:
        """Train both networks.

        Raises PanelError if alleles are missing, or if there are none.
        """
        refuse_unfit(train, "gan")
        strata = Strata.of(train, "all")
        start = ctx.rng("gan", "start")
        return _train("gan", train, strata, _Classic.start(train, strata, params, start), ctx)

    def load(self, directory: Path, ctx: RunContext) -> FittedMaker:
        """Read what `save` wrote."""
        return FittedMaker.load(directory, "gan")


def _train(
    name: str, train: Panel, strata: Strata, match: _Match[Any], ctx: RunContext
) -> FittedMaker:
    """Play a match to its end, from the last checkpoint on if there is one."""
    params = match.params
    labels = np.eye(strata.n, dtype=np.float32)[strata.index(train)]
    checkpoint = Checkpoint.of(name, train, params, ctx)
    with torch_threads(ctx.threads):
        if arrays := checkpoint.read(_FILE):
            match.restore(arrays)
        while match.done < params.updates:
            # Keyed by the update: a fit that goes on draws what it would have drawn.
            seed = np.random.SFC64(ctx.seed_for(name, "train", match.done))
            state = match.update(train.haplotypes, labels, np.random.Generator(seed))
            match.done += 1
            match.making.follow(min(params.averaging, match.done / (match.done + 9)))
            if match.done % _CHECKPOINT == 0:
                checkpoint.write(_FILE, match.arrays())
            ctx.progress(match.done / params.updates, state)
    weights = {f"layer-{at}": part.numpy() for at, part in enumerate(match.making.average)}
    weights[f"layer-{len(weights) - 1}"] -= np.float32(math.atanh(match.midpoint))
    fixed = np.where(train.maf == 0, train.frequencies, -1).astype(np.int8)
    return FittedMaker(name, weights, strata, train.ploidy, fixed)


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
class _Match(ABC, Generic[P]):
    """Maker and critic, what moves them, and updates done.

    `midpoint`: between what is made of alleles 0 and 1.
    """

    params: P
    maker: nn.Sequential
    critic: nn.Sequential
    making: Learner
    judging: Learner
    done: int = 0
    midpoint: ClassVar[float]

    @abstractmethod
    def update(self, haplotypes: NDArray[np.int8], labels: Floats, rng: np.random.Generator) -> str:
        """Move the critic, then the maker; says how they stand."""

    def draw(
        self, haplotypes: NDArray[np.int8], labels: Floats, rng: np.random.Generator
    ) -> tuple[NDArray[np.int8], Tensor]:
        """Real haplotypes of a batch, with replacement, and their labels."""
        rows = rng.integers(0, len(haplotypes), self.params.batch_size)
        return haplotypes[rows], torch.from_numpy(labels[rows])

    def make(self, label: Tensor, rng: np.random.Generator) -> Tensor:
        """Made alleles, between -1 and 1: (len(label), n_sites)."""
        shape = len(label), self.params.latents
        noise = torch.from_numpy(rng.standard_normal(shape, np.float32))
        made: Tensor = torch.tanh(self.maker(torch.cat([noise, label], 1)))
        return made

    def score(self, alleles: Tensor, label: Tensor) -> Tensor:
        """What the critic says of haplotypes: (len(label), 1)."""
        score: Tensor = self.critic(torch.cat([alleles, label], 1))
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


class _Wasserstein(_Match[WGANParams]):
    """Of alleles -1 and 1, with the critic's slope held near 1."""

    midpoint = 0.0

    @classmethod
    def start(
        cls, train: Panel, strata: Strata, params: WGANParams, rng: np.random.Generator
    ) -> _Wasserstein:
        maker = dense((params.latents + strata.n, *params.maker, train.n_sites), rng)
        critic = dense((train.n_sites + strata.n, *params.critic, 1), rng)
        frequency = np.clip(train.frequencies, _RAREST, 1 - _RAREST)
        _start_from(maker, 2 * frequency - 1)
        making, judging = (
            Learner(network.parameters(), params.learning_rate, (0.5, 0.9))
            for network in (maker, critic)
        )
        return cls(params, maker, critic, making, judging)

    def update(self, haplotypes: NDArray[np.int8], labels: Floats, rng: np.random.Generator) -> str:
        """Some updates of the critic, one of the maker; says the distance as seen last."""
        params = self.params
        left = 2 * (1 - self.done / params.updates)
        for learner in (self.making, self.judging):
            learner.set_rate(params.learning_rate * min(1, max(_LEAST_RATE, left)))
        distance = 0.0
        for _ in range(params.critic_updates):
            alleles, label = self.draw(haplotypes, labels, rng)
            blur = 1 - _BLUR * rng.random(alleles.shape, np.float32)
            real = torch.from_numpy((2 * alleles.astype(np.float32) - 1) * blur)
            with torch.no_grad():
                made = self.make(label, rng)
            mix = torch.from_numpy(rng.random((len(alleles), 1), np.float32))
            between = (mix * real + (1 - mix) * made).requires_grad_()
            score = self.score(between, label).sum()
            (slope,) = torch.autograd.grad(score, between, create_graph=True)
            penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
            gap = self.score(real, label).mean() - self.score(made, label).mean()
            self.judging.descend(params.penalty * penalty - gap)
            distance = float(gap.detach())
        _, label = self.draw(haplotypes, labels, rng)
        self.making.descend(-self.score(self.make(label, rng), label).mean())
        return f"distance {distance:.2f}"


class _Classic(_Match[GANParams]):
    """Of alleles 0 and 1, with a critic that tells chances."""

    midpoint = 0.5

    @classmethod
    def start(
        cls, train: Panel, strata: Strata, params: GANParams, rng: np.random.Generator
    ) -> _Classic:
        n = train.n_sites
        hidden = params.maker or (max(1, int(n / 1.2)), max(1, int(n / 1.1)))
        maker = dense((params.latents + strata.n, *hidden, n), rng)
        critic = dense((n + strata.n, *(params.critic or (max(1, n // 2), max(1, n // 3))), 1), rng)
        _start_from(maker, np.clip(train.frequencies, _RAREST, 1 - _BLUR))
        making, judging = (
            Learner(network.parameters(), rate, (0.9, 0.999))
            for network, rate in (
                (maker, params.learning_rate),
                (critic, params.critic_learning_rate),
            )
        )
        return cls(params, maker, critic, making, judging)

    def update(self, haplotypes: NDArray[np.int8], labels: Floats, rng: np.random.Generator) -> str:
        """Two updates of the critic, by real and made haplotypes, one of the maker; says losses."""
        alleles, label = self.draw(haplotypes, labels, rng)
        real = torch.from_numpy(alleles - _BLUR * rng.random(alleles.shape, np.float32))
        surely = torch.ones(len(alleles), 1)
        told = torch.from_numpy(1 - _BLUR * rng.random((len(alleles), 1), np.float32))
        made = self.make(label, rng)
        judged = 0.0
        for kind, chance in ((real, told), (made.detach(), torch.zeros_like(surely))):
            loss = cross_entropy(self.score(kind, label), chance)
            self.judging.descend(loss + self._shrinkage(self.critic))
            judged += float(loss.detach())
        loss = cross_entropy(self.score(made, label), surely)
        self.making.descend(loss + self._shrinkage(self.maker))
        return f"losses {judged:.2f} and {float(loss.detach()):.2f}"

    def _shrinkage(self, network: nn.Sequential) -> Tensor:
        """L2 penalty of the weights of hidden layers."""
        hidden = [layer.weight for layer in list(network)[:-1] if isinstance(layer, nn.Linear)]
        return self.params.shrinkage * torch.stack([w.square().sum() for w in hidden]).sum()


def _start_from(maker: nn.Sequential, alleles: NDArray[np.float64]) -> None:
    """Let a maker begin with these mean alleles, (n_sites,), between -1 and 1."""
    last: Any = maker[-1]
    last.bias.data = torch.from_numpy(np.arctanh(alleles).astype(np.float32))


@dataclass(frozen=True, eq=False)
class FittedMaker:
    """The maker: `weights` are of its layers in turn, weight (outputs, inputs) and bias (outputs,).

    `fixed` (n_sites,) int8: the allele of sites that don't vary in training, -1 elsewhere.
    """

    name: str
    weights: dict[str, NDArray[Any]]
    strata: Strata
    ploidy: int
    fixed: NDArray[np.int8]

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; the labels asked for may be superpopulations, too."""
        layers = [np.asarray(self.weights[f"layer-{at}"]) for at in range(len(self.weights))]
        latents = layers[0].shape[1] - self.strata.n

        def draw(block: int, stratum: NDArray[np.int64]) -> NDArray[np.int8]:
            seed = np.random.SFC64(ctx.seed_for(self.name, "sample", block))
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
        save_state(directory, self.name, arrays, strata=self.strata.facts(), ploidy=self.ploidy)

    @classmethod
    def load(cls, directory: Path, name: str) -> FittedMaker:
        """Read what `save` wrote of the generator `name`.

        Raises PluginError if the folder doesn't hold one.
        """
        arrays, facts = load_state(directory, name)
        fixed = arrays.pop("fixed")
        return cls(name, arrays, Strata.from_facts(facts["strata"]), facts["ploidy"], fixed)
