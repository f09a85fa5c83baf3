"""`random-sequence`: uniform bases under uniform alleles, the strawman still met in print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, Panel, ReferenceSequence, RunContext, SampleRequest
from haplobench.data.genome import BASES
from haplobench_reads.genome import BLOCK
from haplobench_reads.specs import RandomSequenceParams

_FILE = "region.json"


class RandomSequence:
    """Nothing of the training people is used but where their sites are."""

    def fit(
        self, train: Panel, params: RandomSequenceParams, ctx: RunContext
    ) -> FittedRandomSequence:
        """Take over the region: of the dataset's sequence, or of the sites without one.

        Raises BenchError if the panel has no sites.
        """
        if not train.n_sites:
            raise BenchError("training panel: found 0 sites, expected at least 1")
        start, length = int(train.positions[0]), train.span
        if ctx.sequence is not None:
            start, length = ctx.sequence.start, int(ctx.sequence.bases.size)
        return FittedRandomSequence(
            train.n_sites, start, length, ctx.seed_for("random-sequence", "reference")
        )

    def load(self, directory: Path, ctx: RunContext) -> FittedRandomSequence:
        """Read what `FittedRandomSequence.save` wrote; BenchError if it isn't that."""
        path = directory / _FILE
        try:
            return FittedRandomSequence(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise BenchError(f"{path}: not a saved random sequence: {error}") from None


@dataclass(frozen=True)
class FittedRandomSequence:
    """The region to be filled.

    `start`, `length`: of the region, bp, 1-based.
    `seed`: of the background sequence.
    """

    n_sites: int
    start: int
    length: int
    seed: int

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, reference or alternate with equal probability."""

        def draw(block: int) -> NDArray[np.int8]:
            rng = ctx.rng("random-sequence", "sample", block)
            return rng.integers(0, 2, (BLOCK, self.n_sites), np.int8)

        return request.batches(draw, BLOCK)

    def reference_sequence(self) -> ReferenceSequence:
        """The background under its haplotypes: uniform A, C, G and T over the region."""
        rng = np.random.default_rng(self.seed)
        return ReferenceSequence(
            BASES[rng.integers(0, 4, self.length, np.int8)], self.start, surrogate=True
        )

    def save(self, directory: Path) -> None:
        """Write `region.json`."""
        (directory / _FILE).write_text(json.dumps(asdict(self)) + "\n")
