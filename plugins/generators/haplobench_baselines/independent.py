"""Independent sites: the right allele frequencies and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, Params, RunContext, SampleRequest
from haplobench_baselines.draws import BLOCK, Bernoulli
from haplobench_baselines.storage import load_state, save_state

_NAME = "independent"


@dataclass(frozen=True, eq=False)
class FittedIndependent:
    """Training frequencies: (n_sites,) float64, of the alternate allele."""

    frequencies: NDArray[np.float64]

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8: every allele an independent draw."""
        sites = Bernoulli.of(self.frequencies)
        return request.batches(lambda block: sites.draw(BLOCK, ctx.rng("sample", block)), BLOCK)

    def save(self, directory: Path) -> None:
        """Write the frequencies."""
        save_state(directory, _NAME, {"frequencies": self.frequencies})


class Independent:
    """Bernoulli draws at the training frequencies (linkage equilibrium)."""

    def fit(self, train: Panel, params: Params, ctx: RunContext) -> FittedIndependent:
        """Count alleles; missing ones are left out of the counts."""
        return FittedIndependent(train.frequencies.copy())

    def load(self, directory: Path, ctx: RunContext) -> FittedIndependent:
        """Read what `save` wrote."""
        arrays, _ = load_state(directory, _NAME)
        return FittedIndependent(arrays["frequencies"])
