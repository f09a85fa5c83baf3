"""The only source of protective noise, and of batches whose members have to stay secret.

Nothing here takes a seed. Every draw is the keystream of AES-256 in counter mode under a key of
its own from the operating system (256 bits of entropy): nothing is kept between draws, so that no
restart, fork or copy of a process can draw the same noise twice.

Noise is discrete Gaussian: integers, which sums on a grid are added to exactly. Continuous
Gaussian noise in floating point has gaps that tell the value under it (Mironov 2012, On
Significance of the Least Significant Bits for Differential Privacy, doi:10.1145/2382196.2382264).

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
import os
from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

_KEY_BYTES = 32
_BLOCK = 2**16  # values drawn at a time: they stay in the cache
_WORD = 64
_GUIDE_BITS = 14
_GREATEST = 2.0**54  # deviation: 14 of them, and twice that, fit into 64 bits
# Where the table ends: a mass below 2^-128.
_DEVIATIONS = 13.5


class NoiseSource:
    """Noise and secret batches of the operating system's entropy."""

    def random_bytes(self, n: int) -> bytes:
        """Bytes that nothing else was or will be drawn from."""
        return keystream(os.urandom(_KEY_BYTES), n)

    def batch(self, people: int, rate: float) -> NDArray[np.int64]:
        """Indices of a Poisson sample: each of `people` by itself with probability `rate`."""
        return np.flatnonzero(_uniform(self._words(people)) < rate)

    def discrete_gaussian(self, deviation: float, n: int) -> NDArray[np.int64]:
        """Integers (n,) with probabilities proportional to exp(-x² / (2 deviation²)).

        By rejection: a bin from a table of 128-bit thresholds, a place in it, uniform, and a test
        of what the bin's left edge claims too much. Every probability is right to a factor of
        1 ± 2^-49 (rounding of the test), but for a statistical distance of 2^-118 (the table's
        rounding, and values beyond 13.5 deviations, which are never drawn). A factor adds to ε,
        a distance to δ, each once per value: nothing that an accountant shows.

        Raises ValueError for a deviation that isn't positive or is beyond 2^54.
        """
        if not 0 < deviation < _GREATEST:
            raise ValueError(f"deviation: found {deviation}, expected above 0 and below 2^54")
        table = _table(deviation)
        out = np.empty(n, np.int64)
        done = 0
        while done < n:
            values = self._drawn(table, min(_BLOCK, n - done))
            out[done : done + values.size] = values
            done += values.size
        return out

    def _drawn(self, table: _Table, n: int) -> NDArray[np.int64]:
        """Some of n values: those that pass the test."""
        words = self._words(3 * n).reshape(3, n)
        bins = table.bins(words[0], self)
        place = (words[1] & np.uint64(table.width - 1)).astype(np.int64)
        left = bins * table.width
        excess = place.astype(np.float64) * (2 * left + place) / (2 * table.deviation**2)
        negative = words[1] >> np.uint64(_WORD - 1) == 1
        value = left + place
        kept = _uniform(words[2]) < np.exp(-excess)
        kept &= ~(negative & (value == 0))  # 0 has one sign
        return np.asarray(np.where(negative, -value, value)[kept], np.int64)

    def _words(self, n: int) -> NDArray[np.uint64]:
        return np.frombuffer(self.random_bytes(8 * n), np.uint64)


def keystream(key: bytes, n: int) -> bytes:
    """The first n bytes of AES-256's keystream in counter mode."""
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(n))


@dataclass(frozen=True, eq=False)
class _Table:
    """Bins of |x|, `width` integers each, drawn by the density at their left edges.

    `thresholds` are cumulative probabilities times 2^128, but for the last bin's; `high` their
    upper words. `guide` has the bin of all words that begin with the index's bits, or -1 where
    that leaves it open.
    """

    deviation: float
    width: int
    thresholds: tuple[int, ...]
    high: NDArray[np.uint64]
    guide: NDArray[np.int16]

    def bins(self, words: NDArray[np.uint64], source: NoiseSource) -> NDArray[np.int64]:
        """Bins (n,) by the upper words of 128-bit numbers; `source` gives the lower, if needed."""
        bins = self.guide[words >> np.uint64(_WORD - _GUIDE_BITS)].astype(np.int64)
        unsure = np.flatnonzero(bins < 0)
        bins[unsure] = np.searchsorted(self.high, words[unsure], side="right")
        for index in unsure[np.isin(words[unsure], self.high)]:
            whole = int(words[index]) << _WORD | int.from_bytes(source.random_bytes(8), "little")
            bins[index] = bisect_right(self.thresholds, whole)
        return np.asarray(bins, np.int64)


@lru_cache(maxsize=64)
def _table(deviation: float) -> _Table:
    # Bins of at most a sixteenth of a deviation: 97 % or more of what is drawn is kept.
    width = 2 ** max(0, math.floor(math.log2(deviation / 16)))
    with localcontext(prec=60):
        scale = Decimal(width) ** 2 / (2 * Decimal(deviation) ** 2)
        n_bins = math.ceil(_DEVIATIONS * deviation / width) + 1
        weights = [(-scale * i * i).exp() for i in range(n_bins)]
        unit = Decimal(2 ** (2 * _WORD)) / sum(weights)
        thresholds, total = [], Decimal(0)
        for weight in weights[:-1]:
            total += weight
            thresholds.append(min(round(total * unit), 2 ** (2 * _WORD) - 1))
    high = np.array([one >> _WORD for one in thresholds], np.uint64)
    first = np.arange(2**_GUIDE_BITS, dtype=np.uint64) << np.uint64(_WORD - _GUIDE_BITS)
    last = first | np.uint64(2 ** (_WORD - _GUIDE_BITS) - 1)
    least = np.searchsorted(high, first, side="left")
    guide = np.where(np.searchsorted(high, last, side="right") == least, least, -1)
    return _Table(deviation, width, tuple(thresholds), high, guide.astype(np.int16))


def _uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Multiples of 2^-53 from 0 to below 1, of the words' upper bits."""
    return np.asarray((words >> np.uint64(11)) * 2.0**-53, np.float64)


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
