"""Generators with a latent space that can be looked into: an optional protocol of `Fitted`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from haplobench.plugin.context import RunContext

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from haplobench.panel import Panel


@runtime_checkable
class Explorable(Protocol):
    """What `bench explore` asks of a fitted generator, beside `Fitted`.

    Panels handed in have the sites of the training panel. Nothing is drawn at random: the
    same haplotypes give the same answers.
    """

    def encode(self, panel: Panel, ctx: RunContext) -> NDArray[np.generic]:
        """Latents of real haplotypes: (n_haplotypes, n_latents)."""

    def interpolate(
        self, first: Panel, second: Panel, steps: int, ctx: RunContext
    ) -> NDArray[np.int8]:
        """Haplotypes on the way from each of `first` to its like in `second`, both ends included.

        (steps, n_haplotypes, n_sites) int8 of 0 and 1. Ends are the model's reconstructions.
        """

    def traverse(
        self, panel: Panel, dimension: int, steps: int, ctx: RunContext
    ) -> NDArray[np.int8]:
        """The haplotypes with one latent changed from end to end of its range, the others kept.

        (steps, n_haplotypes, n_sites) int8. Raises BenchError if there is no such latent.
        """
