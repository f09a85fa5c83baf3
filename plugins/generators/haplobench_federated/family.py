"""The window-code model as the federation's model family."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from haplobench_federated.contract import PublicFacts
from haplobench_federated.model import ModelShape, WindowCodes, build
from haplobench_federated.model_params import ModelParams
from haplobench_federated.sampling import sample


class WindowCodeFamily:
    """Builds `WindowCodes` and samples from it; see `haplobench_federated.contract`."""

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
