"""Updates as integers that can be summed under masks, and how exact their average is.

A value x, clipped to ± R, becomes round(n x / step) for a client's n people, step = 2 R / (2^bits -
1), modulo 2^32 or 2^64, so that a negative value is a great one; the sum over clients, divided by
all people, is the average. Rounding is to the nearest and comes after the weight: n times a rounded
value would show it modulo what the others' numbers of people have in common. Each value times its
weight is wrong by at most step / 2; the average by no more than that over a client's mean number
of people. Noise that is whole steps already (`haplobench_federated.shared_noise`) isn't rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Quantisation:
    """How an update is written as integers.

    Attributes
    ----------
    bits : int
    clipping_range : float
        R: values beyond are clipped, which the error bound doesn't cover.
    people : int
        Of all clients of a round at most; gives the modulus.

    Raises ValueError if a sum could exceed 2^64.
    """

    bits: int
    clipping_range: float
    people: int

    def __post_init__(self) -> None:
        if self.people * self.levels >= 2**64:
            raise ValueError(f"{self.people} people of {self.bits} bits exceed 64 bits")

    @property
    def levels(self) -> int:
        """Greatest quantised value."""
        return int(2**self.bits - 1)

    @property
    def step(self) -> float:
        """Between neighbouring values."""
        return 2 * self.clipping_range / self.levels

    @property
    def error_bound(self) -> float:
        """Greatest error of a value of the average, of updates within the clipping range."""
        return self.step / 2

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of masked vectors: the modulus is that of its overflow."""
        return np.dtype(np.uint32 if self.people * self.levels < 2**32 else np.uint64)

    def quantise(self, vector: NDArray[np.float64], people: int) -> NDArray[np.unsignedinteger]:
        """`people` times the values, quantised (n_parameters,), uint32 or uint64.

        Raises ValueError for values that aren't finite or more people than announced.
        """
        if not np.isfinite(vector).all():
            raise ValueError("update: found values that aren't finite")
        if not 0 < people <= self.people:
            raise ValueError(f"people: found {people}, expected 1 to {self.people}")
        bound = self.clipping_range
        weighted = np.clip(vector, -bound, bound).astype(np.longdouble) * people
        index = np.rint(weighted / self.step).astype(np.int64)
        return np.asarray(index.astype(self.dtype))

    def average(self, total: NDArray[np.unsignedinteger], people: int) -> NDArray[np.float64]:
        """Average by people of the updates whose sum `total` is, (n_parameters,) float64."""
        signed = total.view(np.int32 if total.dtype == np.uint32 else np.int64)
        # Longer than float64's 53 bits at 64: long double holds the sums exactly on x86.
        return np.asarray(signed.astype(np.longdouble) / people * self.step, np.float64)
