"""The window-code model: a VAE of few parameters whose posterior is exact.

It is the family that the federation trains; `ModelFamily` says what one is asked for: a loss per
person, samples, and named weights.

Each window of adjacent sites has a discrete latent code; the decoder draws the window's alleles
independently, given the code; the prior over codes is a Markov chain along the chromosome that
keeps a code or, where it recombines, draws a new one by population and window. As the chain's
posterior is computed exactly, no encoder has to be learned: all of the privacy budget goes to
the parameters that generate.

*Layers.* Every parameter lies in a layer of its own whose output is linear in it or nearly so, so
that a person's gradient is a product of small matrices and its norm needs no gradient at all (ghost
clipping: Li et al. 2022, arXiv:2110.05679). The first axis of all inputs and outputs is the person,
whose haplotypes lie along the second: what Opacus clips is a person's whole gradient.

Its hyper-parameters are constants and defaults of this package, set by hand on a region of the
1000 Genomes' chr1, whose people are public. Fidelity reported on that same region is therefore
not free of that choice, which no accountant counts; on other people's data it leaks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import register_grad_sampler, register_norm_sampler
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from haplobench import RecombinationMap
from haplobench_federated.params import ModelParams

_SMALLEST = 1e-37


class MarginalLikelihood(torch.autograd.Function):
    """Log-likelihood with the codes summed out, and its gradient by the backward recursion.

    Between windows a haplotype keeps its code with probability 1 - r or, recombining, draws a
    new one: Li & Stephens' chain (Genetics 165, 2003) over haplotype clusters (Scheet &
    Stephens, Am. J. Hum. Genet. 78, 2006). Because the new code does not depend on the old,
    both recursions (Rabiner, Proc. IEEE 77, 1989) cost one multiplication per code, not one
    per pair of codes.

    The gradient in the emissions is the posterior of the codes, which makes this the evidence
    lower bound of a variational autoencoder whose encoder is the exact posterior: bound and
    likelihood are equal.
    """

    @staticmethod
    def forward(ctx: Any, emission: Tensor, weight: Tensor, recombination: Tensor) -> Tensor:
        """Log-likelihoods (n,) float32, in nats.

        Parameters
        ----------
        emission : (n_windows, n, codes) float32
            Log-probability of a haplotype's alleles in a window, given each code.
        weight : (n_windows, n, codes) float32
            Logits of the code drawn where a haplotype begins or recombines.
        recombination : (n_windows, n) float32
            Logits of r before each window; the first row is not used.
        """
        highest = emission.amax(dim=2, keepdim=True)
        likelihood = (emission - highest).exp_()
        drawn = weight.softmax(dim=2)
        r = recombination.sigmoid()[:, :, None]
        filtered = torch.empty_like(likelihood)
        scale = torch.empty_like(likelihood[..., :1])
        for window in range(emission.shape[0]):
            if window == 0:
                state = drawn[0] * likelihood[0]
            else:
                state = torch.lerp(filtered[window - 1], drawn[window], r[window])
                state *= likelihood[window]
            # Every code may be ruled out in float32 where one before was certain.
            scale[window] = state.sum(dim=1, keepdim=True).clamp_min_(_SMALLEST)
            torch.div(state, scale[window], out=filtered[window])
        ctx.save_for_backward(likelihood, drawn, r, filtered, scale)
        return (scale.log() + highest).sum(dim=0)[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Posterior expectations times `gradient` (n,)."""
        likelihood, drawn, r, filtered, scale = ctx.saved_tensors
        n_windows = filtered.shape[0]
        outer = gradient[:, None]
        posterior = torch.empty_like(filtered)
        weight = torch.empty_like(filtered)
        recombination = torch.zeros_like(r[:, :, 0])
        later = torch.ones_like(filtered[0])
        for window in range(n_windows - 1, 0, -1):
            posterior[window] = filtered[window] * later * outer
            message = likelihood[window] * later / scale[window]
            jump = drawn[window] * message
            jump *= r[window]
            jumped = jump.sum(dim=1, keepdim=True)
            weight[window] = (jump - drawn[window] * jumped) * outer
            # Kept and jumped add up to one, so the derivative in logit r is jumped - r.
            recombination[window] = ((jumped - r[window]) * outer)[:, 0]
            later = torch.add(jumped, message * (1 - r[window]))
        posterior[0] = filtered[0] * later * outer
        weight[0] = (filtered[0] * later - drawn[0]) * outer
        return posterior, weight, recombination


Gradients = dict[nn.Parameter, Tensor]


class WindowDecoder(nn.Module):
    """Independent alleles within a window, given the window's code.

    Parameters
    ----------
    logits : (n_windows, width, codes) float32
        Of the alternate allele.
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, alleles: Tensor, observed: Tensor) -> Tensor:
        """Log-probability of each window's alleles under each code.

        `alleles` is 1 where the alternate allele is observed, else 0, and `observed` 1 where
        any is, else 0, both (people, ploidy, n_windows, width) float32. Returns (people,
        ploidy, n_windows, codes).
        """
        scores = torch.bmm(_by_window(alleles), self.logits)
        scores = scores - torch.bmm(_by_window(observed), functional.softplus(self.logits))
        return scores.transpose(0, 1).reshape(*alleles.shape[:3], -1)


class CodeWeights(nn.Module):
    """Logits of a new code: a sum of the population's and the window's preferences.

    Parameters
    ----------
    population : (n_populations, codes) float32
    window : (n_windows, codes) float32
    """

    def __init__(self, population: Tensor, window: Tensor) -> None:
        super().__init__()
        self.population = nn.Parameter(population)
        self.window = nn.Parameter(window)

    def forward(self, population: Tensor) -> Tensor:
        """(people,) int64 indices to (people, n_windows, codes)."""
        return self.population[population][:, None] + self.window


class Recombination(nn.Module):
    """Logits of the probability of recombining before each window.

    Parameters
    ----------
    logits : (n_windows,) float32
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, population: Tensor) -> Tensor:
        """(people,) of anything to (people, n_windows)."""
        return self.logits.expand(population.shape[0], -1).clone()


def _by_window(values: Tensor) -> Tensor:
    """(people, ploidy, n_windows, width) to (n_windows, people * ploidy, width)."""
    return values.flatten(0, 1).transpose(0, 1)


@register_grad_sampler(WindowDecoder)  # type: ignore[untyped-decorator]
def decoder_gradients(
    layer: WindowDecoder, activations: list[Tensor], backprops: Tensor
) -> Gradients:
    """Each person's gradient of the decoder's logits (people, n_windows, width, codes)."""
    alleles, observed = activations
    # Matrices of a person and a window: (width, ploidy) times (ploidy, codes).
    posterior = backprops.transpose(1, 2)
    alternate = alleles.permute(0, 2, 3, 1) @ posterior
    called = observed.permute(0, 2, 3, 1) @ posterior
    return {layer.logits: alternate.addcmul_(called, layer.logits.detach().sigmoid(), value=-1)}


@register_norm_sampler(WindowDecoder)  # type: ignore[untyped-decorator]
def decoder_norms(layer: WindowDecoder, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """Norm of each person's gradient of the decoder's logits (people,)."""
    alleles, observed = (_by_window(values) for values in activations)
    shape = backprops.shape[:2]
    probability = layer.logits.detach().sigmoid()
    posterior, x, o = (
        values.reshape(len(probability), *shape, -1)
        for values in (_by_window(backprops), alleles, observed)
    )
    squared = backprops.new_zeros(shape[0])
    for first in range(shape[1]):
        for second in range(first, shape[1]):
            # Sum over sites of (x - o p)(x' - o' p), for every code.
            products = (x[:, :, first] * x[:, :, second]).sum(dim=2, keepdim=True)
            mixed = x[:, :, first] * o[:, :, second] + x[:, :, second] * o[:, :, first]
            both = o[:, :, first] * o[:, :, second]
            inner = products - mixed @ probability + both @ probability.square()
            weight = posterior[:, :, first] * posterior[:, :, second]
            squared += (1 if first == second else 2) * (weight * inner).sum(dim=(0, 2))
    return {layer.logits: squared.clamp_min_(0).sqrt_()}


@register_grad_sampler(CodeWeights)  # type: ignore[untyped-decorator]
def weight_gradients(layer: CodeWeights, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """Each person's gradients of both tables."""
    (population,) = activations
    rows = functional.one_hot(population, layer.population.shape[0]).to(backprops.dtype)
    return {
        layer.population: rows[:, :, None] * backprops.sum(dim=1)[:, None],
        layer.window: backprops,
    }


@register_norm_sampler(CodeWeights)  # type: ignore[untyped-decorator]
def weight_norms(layer: CodeWeights, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """Norms of each person's gradients of both tables."""
    return {
        layer.population: backprops.sum(dim=1).norm(dim=1),
        layer.window: backprops.flatten(1).norm(dim=1),
    }


@register_grad_sampler(Recombination)  # type: ignore[untyped-decorator]
def recombination_gradients(
    layer: Recombination, activations: list[Tensor], backprops: Tensor
) -> Gradients:
    """Each person's gradient of the logits."""
    return {layer.logits: backprops}


@register_norm_sampler(Recombination)  # type: ignore[untyped-decorator]
def recombination_norms(
    layer: Recombination, activations: list[Tensor], backprops: Tensor
) -> Gradients:
    """Norm of each person's gradient of the logits."""
    return {layer.logits: backprops.norm(dim=1)}


# Morgans a code lasts at first: haplotypes are told apart before they are cut in pieces.
_FIRST_JUMPS_PER_MORGAN = 50.0
_FIRST_SPREAD = 0.2  # standard deviation of a code's logits at first


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a window-code model.

    Attributes
    ----------
    window : int
        Sites per window; the last may be shorter.
    codes : int
        Codes per window.
    """

    n_sites: int
    window: int
    codes: int
    populations: int

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return -(-self.n_sites // self.window)


class WindowCodes(nn.Module):
    """Decoder, code weights and recombination; called, it gives losses of people.

    Three layers hold all parameters, each with gradients per person registered with Opacus
    (`haplobench_federated.model`), so that plain and ghost clipping work; there are no
    buffers and nothing that mixes people.
    """

    def __init__(
        self, shape: ModelShape, logits: Tensor, window_weights: Tensor, recombination: Tensor
    ) -> None:
        super().__init__()
        self.shape = shape
        self.decoder = WindowDecoder(logits)
        self.weights = CodeWeights(torch.zeros(shape.populations, shape.codes), window_weights)
        self.recombination = Recombination(recombination)

    def forward(self, haplotypes: Tensor, population: Tensor) -> Tensor:
        """Negative log-likelihood of each person (people,) float32, in nats.

        Parameters
        ----------
        haplotypes : (people, ploidy, n_sites) int8
            0, 1 or -1 (missing); missing alleles are summed out.
        population : (people,) int64
        """
        shape = self.shape
        people, ploidy, n_sites = haplotypes.shape
        padded = haplotypes.new_full((people, ploidy, shape.n_windows * shape.window), -1)
        padded[:, :, :n_sites] = haplotypes
        cut = padded.view(people, ploidy, shape.n_windows, shape.window)
        emission = self.decoder((cut == 1).float(), (cut >= 0).float())
        weight = self.weights(population)[:, None].expand_as(emission)
        recombination = self.recombination(population)[:, None].expand(-1, ploidy, -1)
        likelihood: Tensor = MarginalLikelihood.apply(  # type: ignore[no-untyped-call]
            emission.flatten(0, 1).transpose(0, 1),
            weight.flatten(0, 1).transpose(0, 1),
            recombination.flatten(0, 1).transpose(0, 1),
        )
        return -likelihood.view(people, ploidy).sum(dim=1)


def build(
    shape: ModelShape,
    frequencies: NDArray[np.float64],
    positions: NDArray[np.int64],
    recombination_map: RecombinationMap | None,
    rng: np.random.Generator,
) -> WindowCodes:
    """A model before training: everything in it is public but `frequencies`.

    Parameters
    ----------
    frequencies : (n_sites,) float64
        Of the alternate allele: public, or released with noise and accounted for. Clamped to
        [0.005, 0.995].
    positions : (n_sites,) int64
        bp.
    recombination_map : RecombinationMap or None
        None: 1 cM/Mb.
    rng : numpy.random.Generator
        Breaks the symmetry between codes.
    """
    padded = np.full(shape.n_windows * shape.window, 0.5)
    padded[: shape.n_sites] = np.clip(frequencies, 0.005, 0.995)
    logits = np.log(padded / (1 - padded)).reshape(shape.n_windows, shape.window, 1)
    spread = _FIRST_SPREAD * rng.standard_normal((shape.n_windows, shape.window, shape.codes))
    inside = np.arange(padded.size).reshape(shape.n_windows, shape.window, 1) < shape.n_sites
    return WindowCodes(
        shape,
        torch.from_numpy((logits + spread * inside).astype(np.float32)),
        torch.zeros(shape.n_windows, shape.codes),
        torch.from_numpy(_first_recombination(shape, positions, recombination_map)),
    )


def person_losses(model: nn.Module, haplotypes: Tensor, population: Tensor) -> Tensor:
    """Losses (people,) of a model, or of what Opacus wraps around one.

    Raises ValueError if the model doesn't give one loss per person.
    """
    losses: Tensor = model(haplotypes, population)
    if losses.shape != population.shape:
        raise ValueError(
            f"model: found losses of shape {tuple(losses.shape)}, "
            f"expected one per person: {tuple(population.shape)}"
        )
    return losses


def _first_recombination(
    shape: ModelShape, positions: NDArray[np.int64], recombination_map: RecombinationMap | None
) -> NDArray[np.float32]:
    """Logits of recombining before each window, from middle to middle (n_windows,)."""
    if recombination_map is None:
        recombination_map = RecombinationMap.uniform(int(positions[0]), int(positions[-1]))
    starts = np.arange(0, shape.n_sites, shape.window)
    sizes = np.diff(np.append(starts, shape.n_sites))
    middle = np.add.reduceat(recombination_map.at(positions), starts) / sizes
    morgans = np.diff(middle, prepend=middle[0]) / 100
    r = np.clip(-np.expm1(-_FIRST_JUMPS_PER_MORGAN * morgans), 1e-3, 0.9)
    return np.asarray(np.log(r / (1 - r)), np.float32)


@torch.no_grad()
def sample(
    model: WindowCodes,
    population: NDArray[np.int64],
    rng: np.random.Generator,
    temperature: float = 0.7,
) -> NDArray[np.int8]:
    """Draw one haplotype for each entry of `population`: (n, n_sites) int8.

    Parameters
    ----------
    population : (n,) int64
    rng : numpy.random.Generator
        Gives the same numbers whatever the model, `n * n_windows * (width + 2)` of them.
    temperature : float
        Divides the decoder's logits. Noise on a logit that should be far below 0 makes its
        allele too frequent; below 1 undoes that.
    """
    shape = model.shape
    n = population.size
    device = model.decoder.logits.device
    groups, of = np.unique(population, return_inverse=True)
    of_group = torch.from_numpy(of).to(device)
    weights = model.weights(torch.from_numpy(groups).to(device))
    cumulative = weights.softmax(dim=2).cumsum(dim=2)
    recombination = model.recombination.logits.sigmoid()
    probability = torch.sigmoid(model.decoder.logits / temperature).transpose(1, 2).contiguous()
    alleles = np.empty((n, shape.n_windows, shape.window), np.int8)
    code = torch.zeros(n, dtype=torch.int64, device=device)
    for window in range(shape.n_windows):
        level = _uniform(rng, device, n, shape.window + 2)
        drawn = _inverse_cdf(cumulative[:, window][of_group], level[:, 0])
        jumps = level[:, 1] < recombination[window]
        code = drawn if window == 0 else torch.where(jumps, drawn, code)
        alternate = level[:, 2:] < probability[window].index_select(0, code)
        alleles[:, window] = alternate.cpu().numpy()
    return np.ascontiguousarray(alleles.reshape(n, -1)[:, : shape.n_sites])


def _uniform(rng: np.random.Generator, device: torch.device, n: int, columns: int) -> Tensor:
    return torch.from_numpy(rng.random((n, columns), np.float32)).to(device)


def _inverse_cdf(cumulative: Tensor, level: Tensor) -> Tensor:
    """Indices (n,) drawn by cumulative probabilities (n, codes) at uniform `level` (n,)."""
    scaled = level[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative.contiguous(), scaled, right=True)[:, 0]
    return index.clamp_max(cumulative.shape[1] - 1)


@dataclass(frozen=True, eq=False)
class PublicFacts:
    """All that a model may know before it has seen a person's data; the same at each client.

    Attributes
    ----------
    positions : (n_sites,) int64
        bp, of the common site list.
    populations : tuple[str, ...]
        Labels a model is conditioned on; one empty name where people have none.
    ploidy : int
        Haplotypes per person.
    recombination_map : RecombinationMap or None
        Published, of the region.
    frequencies : (n_sites,) float64 or None
        Alternate allele frequencies, public or released with noise and paid for.
    """

    positions: NDArray[np.int64]
    populations: tuple[str, ...]
    ploidy: int = 2
    recombination_map: RecombinationMap | None = None
    frequencies: NDArray[np.float64] | None = None

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return int(self.positions.size)


class ModelFamily(Protocol):
    """Builds models and samples from them.

    A model is a `torch.nn.Module`; called with haplotypes (people, ploidy, n_sites) int8 (0, 1 or
    -1: missing, which adds nothing) and populations (people,) int64, it gives the loss of each
    person in nats, (people,) float32: the sum over both haplotypes, all windows and all
    augmented copies.

    Opacus takes a gradient per row of that, so a row must be a person: nothing in a person's loss
    may depend on another (no batch normalisation), every parameter belongs to a module called with
    people in its inputs' first dimension and giving them in its output's first, and there is no
    buffer that is computed from people.
    """

    def build(self, facts: PublicFacts, params: Any, seed: int) -> nn.Module:
        """A new model on the CPU, its weights a function of facts, params and seed alone."""

    def sample(
        self, model: nn.Module, params: Any, population: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int8]:
        """A haplotype for each entry of `population`: (n, n_sites) int8, drawn from `rng` alone."""


class WindowCodeFamily:
    """Builds `WindowCodes` and samples from it."""

    def build(self, facts: PublicFacts, params: ModelParams, seed: int) -> nn.Module:
        """A new model, its frequencies 0.5 where no others are known."""
        shape = ModelShape(
            n_sites=facts.n_sites,
            window=min(params.window, facts.n_sites),
            codes=params.codes,
            populations=len(facts.populations),
        )
        frequencies = facts.frequencies
        if frequencies is None:
            frequencies = np.full(facts.n_sites, 0.5)
        rng = np.random.default_rng(seed)
        return build(shape, frequencies, facts.positions, facts.recombination_map, rng)

    def sample(
        self,
        model: nn.Module,
        params: ModelParams,
        population: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.int8]:
        """Haplotypes (n, n_sites) int8 for populations (n,) int64."""
        if not isinstance(model, WindowCodes):
            raise TypeError(f"model: found {type(model).__name__}, expected WindowCodes")
        return sample(model, population, rng, params.temperature)
