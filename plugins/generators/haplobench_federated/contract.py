"""What the federation asks of a model: a loss per person, samples, and named weights.

`haplobench_federated.model` fills it with `build`; its parameters are
`haplobench_federated.model_params.ModelParams`, which imports no torch.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class PublicFacts:
    """All that a model may know before it has seen a person's data: it is the same at each client.

    Attributes
    ----------
    positions : (n_sites,) int64
        bp, of the common site list.
    populations : tuple[str, ...]
        Labels a model is conditioned on; one empty name where people have none.
    superpopulations : tuple[str, ...]
        Of each population; its own name where it has none.
    ploidy : int
        Haplotypes per person.
    centimorgans : (n_sites,) float64 or None
        Position of each site on a published recombination map.
    frequencies : (n_populations, n_sites) float64 or None
        Alternate allele frequencies from a public source, never from the training people.
    """

    positions: NDArray[np.int64]
    populations: tuple[str, ...]
    superpopulations: tuple[str, ...]
    ploidy: int = 2
    centimorgans: NDArray[np.float64] | None = None
    frequencies: NDArray[np.float64] | None = None

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return int(self.positions.size)


class PersonModel(nn.Module):
    """A generator of haplotypes whose loss is that of a person.

    Opacus takes a gradient per row of `forward`, so a row must be a person: nothing in a
    person's loss may depend on another (no batch normalisation, no statistics of the batch), and
    every parameter belongs to a module called with people in its inputs' first dimension and
    giving them in its output's first. State that is no parameter (buffers) must not be
    computed from people.
    """

    @abstractmethod
    def forward(self, haplotypes: Tensor, population: Tensor) -> Tensor:
        """Loss of each person in nats: (people,) float32.

        The sum over both haplotypes, all windows and all augmented copies. Randomness comes from
        torch's default generator, which the client seeds before every step.

        Parameters
        ----------
        haplotypes : (people, ploidy, n_sites) int8
            0, 1, or -1: missing, which adds nothing to the loss.
        population : (people,) int64
            Index into `PublicFacts.populations`.
        """

    @abstractmethod
    def sample(self, population: Tensor, generator: torch.Generator) -> Tensor:
        """Haplotypes (n, n_sites) int8 of 0 and 1 for populations (n,) int64.

        Draws only from `generator`; the model is in evaluation mode, without gradients.
        """


class ModelFactory(Protocol):
    """`build` of `haplobench_federated.model`."""

    def __call__(self, facts: PublicFacts, params: Any, seed: int) -> PersonModel:
        """A new model on the CPU, its weights a function of facts, params and seed alone."""


def person_losses(model: nn.Module, haplotypes: Tensor, population: Tensor) -> Tensor:
    """Losses (people,) of a `PersonModel`, or of what Opacus wraps around one.

    Raises ValueError if the model doesn't give one loss per person.
    """
    losses: Tensor = model(haplotypes, population)
    if losses.shape != population.shape:
        raise ValueError(
            f"model: found losses of shape {tuple(losses.shape)}, "
            f"expected one per person: {tuple(population.shape)}"
        )
    return losses
