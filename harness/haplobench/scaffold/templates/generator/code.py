"""How $name learns and samples: put your method in place of the frequencies."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from haplobench import Panel, Params, RunContext, SampleRequest


class Fitted:
    """What was learnt: the frequency of the alternate allele at each site, (n_sites,) float64."""

    def __init__(self, frequencies: np.ndarray) -> None:
        self.frequencies = frequencies

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[np.ndarray]:
        """Yield haplotypes, (batch, n_sites) int8, 0 the reference and 1 the alternate allele."""

        def draw(block: int) -> np.ndarray:  # the same block always gives the same 256 haplotypes
            draws = ctx.rng("sample", block).random((256, self.frequencies.size))
            return (draws < self.frequencies).astype(np.int8)

        return request.batches(draw)

    def save(self, directory: Path) -> None:
        """Write what `load` needs; sampling runs in another process than fitting."""
        np.save(directory / "frequencies.npy", self.frequencies)


class $title:
    """Fits to the training people, whose `train.haplotypes` are (n_haplotypes, n_sites) int8."""

    def fit(self, train: Panel, params: Params, ctx: RunContext) -> Fitted:
        """Learn. Draw random numbers from `ctx.rng("what", "for")` alone."""
        return Fitted(train.frequencies)

    def load(self, directory: Path, ctx: RunContext) -> Fitted:
        """Read what `save` wrote."""
        return Fitted(np.load(directory / "frequencies.npy"))
