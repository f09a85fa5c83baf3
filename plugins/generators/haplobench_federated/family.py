"""What the federation asks of a model: a loss per person, samples, and named weights.

The window-code model (`haplobench_federated.model`) is the family that it trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from haplobench import RecombinationMap
from haplobench_federated.model import ModelShape, WindowCodes, build, sample
from haplobench_federated.params import ModelParams


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
    """Builds `WindowCodes` and samples from it; see `haplobench_federated.family`."""

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
