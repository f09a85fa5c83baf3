"""Layers of the window-code model, and their gradients per person for Opacus.

Every parameter lies in a layer of its own whose output is linear in it or nearly so, so that a
person's gradient is a product of small matrices and its norm needs no gradient at all (ghost
clipping: Li et al. 2022, arXiv:2110.05679). The first axis of all inputs and outputs is the
person, whose haplotypes lie along the second: what Opacus clips is a person's whole gradient.
"""

from __future__ import annotations

import torch
from opacus.grad_sample import register_grad_sampler, register_norm_sampler
from torch import Tensor, nn
from torch.nn import functional

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


def weight_gradients(layer: CodeWeights, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """Each person's gradients of both tables."""
    (population,) = activations
    rows = functional.one_hot(population, layer.population.shape[0]).to(backprops.dtype)
    return {
        layer.population: rows[:, :, None] * backprops.sum(dim=1)[:, None],
        layer.window: backprops,
    }


def weight_norms(layer: CodeWeights, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """Norms of each person's gradients of both tables."""
    return {
        layer.population: backprops.sum(dim=1).norm(dim=1),
        layer.window: backprops.flatten(1).norm(dim=1),
    }


def recombination_gradients(
    layer: Recombination, activations: list[Tensor], backprops: Tensor
) -> Gradients:
    """Each person's gradient of the logits."""
    return {layer.logits: backprops}


def recombination_norms(
    layer: Recombination, activations: list[Tensor], backprops: Tensor
) -> Gradients:
    """Norm of each person's gradient of the logits."""
    return {layer.logits: backprops.norm(dim=1)}


register_grad_sampler(WindowDecoder)(decoder_gradients)
register_norm_sampler(WindowDecoder)(decoder_norms)
register_grad_sampler(CodeWeights)(weight_gradients)
register_norm_sampler(CodeWeights)(weight_norms)
register_grad_sampler(Recombination)(recombination_gradients)
register_norm_sampler(Recombination)(recombination_norms)
