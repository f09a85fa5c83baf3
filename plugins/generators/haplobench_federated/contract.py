"""What the federation asks of a model: a loss per person, samples, and named weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from haplobench import RecombinationMap


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
