"""What several privacy metrics share: parameters and needs."""

from __future__ import annotations

from pydantic import Field

from haplobench import Module, Params

NUMBA = Module("numba", "haplobench[metrics]")
SCIPY = Module("scipy", "haplobench[metrics]")


class DistanceParams(Params):
    """Parameters of the metrics on all pairs of haplotypes.

    `max_haplotypes`: a larger synthetic cohort is subsampled to so many haplotypes, whole
    people, seeded; what a metric costs grows with the square.
    """

    max_haplotypes: int = Field(default=10_000, ge=2)
