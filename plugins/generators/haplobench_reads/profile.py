"""Built-in Illumina-like profile: Phred qualities by cycle, and what errors look like.

Curves drawn for the shape of 2 × 150 bp HiSeq 2500 data: a few poor first cycles, a plateau
near 39, and a slow decline towards the 3' end, steeper in second reads. Qualities lie below
the instrument's top quality by a gamma-distributed amount, which gives the long lower tail
that base callers show and a normal distribution would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOP_QUALITY = 41
LOWEST_QUALITY = 2
N_CODE = 4

# (fraction of the read, mean Phred quality, standard deviation), first and second reads.
_CURVES = (
    ((0.0, 33.0, 3.3), (0.03, 36.5, 3.6), (0.13, 39.0, 3.9), (0.3, 38.6, 4.3),
     (0.55, 36.2, 4.7), (0.95, 35.4, 4.6), (1.0, 34.4, 4.8)),
    ((0.0, 32.7, 4.0), (0.03, 36.7, 4.1), (0.13, 38.6, 4.8), (0.3, 37.9, 5.1),
     (0.55, 35.6, 5.2), (0.95, 35.0, 5.1), (1.0, 33.8, 5.2)),
)  # fmt: skip

# P(called | true base), given that the call is wrong. Rows and columns A, C, G, T. Dyes read
# with one laser (A and C, G and T) are confused most (Kircher et al. 2009, Genome Biol 10:R83).
SUBSTITUTIONS = np.array(
    [
        [0.00, 0.50, 0.25, 0.25],
        [0.50, 0.00, 0.25, 0.25],
        [0.25, 0.25, 0.00, 0.50],
        [0.25, 0.25, 0.50, 0.00],
    ]
)
_CUMULATIVE = SUBSTITUTIONS.cumsum(axis=1)

# P(wrong) at Phred quality Q (Ewing & Green 1998).
ERROR_RATES = (10.0 ** (-np.arange(TOP_QUALITY + 1) / 10)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class QualityProfile:
    """Qualities of one mate by cycle.

    Attributes
    ----------
    mean, sd : (read_length,) float64
        Of the Phred quality before rounding and clipping to 2..41.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @classmethod
    def illumina(cls, read_length: int, mate: int, shift: float = 0.0) -> QualityProfile:
        """The built-in curves of first (`mate` 0) or second reads, stretched to a read length.

        `shift` is added to the mean; means stay within 2 and just below the top quality.
        """
        fractions, means, deviations = np.array(_CURVES[mate]).T
        cycles = np.linspace(0, 1, read_length)
        mean = np.interp(cycles, fractions, means) + shift
        return cls(
            np.clip(mean, LOWEST_QUALITY, TOP_QUALITY - 0.1),
            np.interp(cycles, fractions, deviations),
        )

    @property
    def gamma(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shape and scale by cycle of the gamma-distributed amount below the top quality."""
        below = TOP_QUALITY - self.mean
        return (below / self.sd) ** 2, self.sd**2 / below

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Qualities of `n` reads: (n, read_length) uint8."""
        shape, scale = self.gamma
        below = rng.standard_gamma(shape, (n, shape.size)) * scale
        quality = np.rint(TOP_QUALITY - below)
        return np.clip(quality, LOWEST_QUALITY, TOP_QUALITY).astype(np.uint8)


def substitute(
    codes: NDArray[np.uint8], qualities: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    """Write substitution errors into reads, in place.

    `codes` (n, read_length) uint8, 0-3 for A, C, G, T and 4 for N, which stays; a base of
    quality Q is wrong with probability 10^(-Q/10).
    """
    wrong = rng.random(codes.shape, np.float32) < ERROR_RATES[qualities]
    rows, cycles = np.nonzero(wrong & (codes < N_CODE))
    true = codes[rows, cycles]
    drawn = rng.random(true.size)
    codes[rows, cycles] = (drawn[:, None] >= _CUMULATIVE[true]).sum(axis=1)
