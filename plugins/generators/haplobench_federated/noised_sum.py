"""How much noise a sum on a grid gets, so that the accountants' Gaussian bounds what it tells.

A sum of vectors of norm C at most, one a person, is written in whole steps of a grid and gets
discrete Gaussian noise. Three arguments lead from that to the continuous Gaussian mechanism of
noise multiplier z that the accountants compose; none needs the accountants to change.

1. **Sensitivity.** Where every vector is cut to whole steps by itself, towards 0, the sum of
   integers is exact and one person moves it by C / step at most. Where only the sum is at hand
   (ghost clipping), rounding it to the nearest step moves the difference of two sums by less than
   1 in each of d coordinates, √d together; and float32 arithmetic adds `ARITHMETIC` of C: at most
   2 (m - 1) m 2^-24 C in a sum of m = 128 people (Higham 2002, Accuracy and Stability of
   Numerical Algorithms, §4.2), a half of it, and the same again for norms and factors of clipping.
   Sums of 128 are added up in float64. That holds where a person who leaves leaves a gap; where
   others move up to other groups of 128, rounding errors of both signs remain uncounted.
2. **From discrete to continuous.** Discrete Gaussian noise of variance s² + r² around an integer
   is, but for a factor of 1 ± 4 exp(-2 π² r²), what randomised rounding (discrete Gaussian noise
   of variance r² around a real number) makes of continuous Gaussian noise of variance s² (Peikert
   2010, An Efficient and Parallel Gaussian Sampler for Lattices, thm 3.1). So it tells no more
   than that does, subsampled or not, for every accountant; with r = 4 the factor is 1 ± 1e-136.
3. **Sums of shares.** Discrete Gaussian noise of k clients adds up to discrete Gaussian noise of
   the sum of their variances, but for a factor exp(±τ), τ = 10 Σ_j exp(-2 π² σ² j / (j + 1)) for
   j = 1 to k - 1 and each client's σ (Kairouz, Liu & Steinke 2021, arXiv:2102.06387). With σ of
   8 steps or more, which clients insist on, τ is below 1e-270.

Factors add to ε once for a coordinate of a step: too little for any float to show.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from haplobench_federated.noise import NoiseSource

GROUP = 128
"""People whose gradients are added up in float32."""
ARITHMETIC = 2.0**-8
_FINE = 2.0**-20
_ROUNDING = 4.0  # r above, in steps


def fine_step(norm: float, size: int) -> float:
    """A step so fine that rounding a vector (size,) moves it by a millionth of `norm` at most."""
    return _FINE * norm / math.sqrt(size)


def rounded_sensitivity(norm: float, step: float, size: int) -> float:
    """By how many steps a person moves a sum (size,) that is rounded as a whole, in L2."""
    return (1 + ARITHMETIC) * norm / step + math.sqrt(size)


def deviation(noise_multiplier: float, sensitivity: float) -> float:
    """Of discrete Gaussian noise on a sum of integers, in steps as its `sensitivity`."""
    return math.hypot(noise_multiplier * sensitivity, _ROUNDING)


def rounded(total: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    """A sum in whole steps, to the nearest."""
    return np.rint(total / step).astype(np.int64)


def cut(vectors: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    """Vectors in whole steps, towards 0, so that none gets longer."""
    return np.trunc(vectors / step).astype(np.int64)


def noised(
    total: NDArray[np.int64], noise_multiplier: float, sensitivity: float, source: NoiseSource
) -> NDArray[np.int64]:
    """A sum of integers (size,) with noise."""
    return total + source.discrete_gaussian(deviation(noise_multiplier, sensitivity), total.size)
