"""Random draws and cuts that the baselines share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PanelError

BLOCK = 256  # haplotypes whose randomness is drawn together


def block_size(ploidy: int) -> int:
    """Haplotypes of an absolute block: about `BLOCK`, whole people only."""
    return max(1, BLOCK // ploidy) * ploidy


def cut(rows: NDArray[np.int8], batch_size: int) -> Iterator[NDArray[np.int8]]:
    """Yield `rows` in pieces of at most `batch_size`."""
    for start in range(0, rows.shape[0], batch_size):
        yield rows[start : start + batch_size]


@dataclass(frozen=True, eq=False)
class Bernoulli:
    """Independent draws of 0 and 1 with a probability for each column.

    A 16-bit number decides all but one draw in 65,536, where it ties with the probability's
    first 16 bits; a second number then decides. So the draws have the probabilities exactly,
    at a quarter of the random bits.

    Attributes
    ----------
    high : (n_columns,) uint16
        First 16 bits of the probabilities.
    rest : (n_columns,) float64
        What follows them, in [0, 1].
    """

    high: NDArray[np.uint16]
    rest: NDArray[np.float64]

    @classmethod
    def of(cls, probabilities: NDArray[np.float64]) -> Bernoulli:
        """Draws with `probabilities`: (n_columns,) float64 in [0, 1]."""
        scaled = probabilities * 65536.0
        high = np.minimum(np.floor(scaled), 65535)
        return cls(high.astype(np.uint16), scaled - high)

    def draw(self, n_rows: int, rng: np.random.Generator) -> NDArray[np.int8]:
        """(n_rows, n_columns) int8 of 0 and 1."""
        bits = rng.integers(0, 65536, (n_rows, self.high.size), dtype=np.uint16)
        ones = bits < self.high
        row, column = np.nonzero(bits == self.high)
        ones[row, column] = rng.random(row.size) < self.rest[column]
        return ones.view(np.int8)


def refuse_missing(train: Panel, name: str) -> None:
    """PanelError if the training panel has missing alleles."""
    if train.has_missing:
        raise PanelError(
            f"generator {name}: the training panel has missing alleles, expected 0 and 1 only",
            hint="set the dataset's filter max_missing to 0",
        )
