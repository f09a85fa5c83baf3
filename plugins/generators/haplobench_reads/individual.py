"""A person to be sequenced, and the names of their files and reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Individual:
    """A person to be sequenced.

    Attributes
    ----------
    index : int
        Absolute index of the person, from 0: all randomness is keyed by it.
    haplotypes : (ploidy, n_sites) int8
    """

    index: int
    haplotypes: NDArray[np.int8]

    @property
    def ploidy(self) -> int:
        """Number of haplotypes."""
        return int(self.haplotypes.shape[0])

    @property
    def name(self) -> str:
        """Name of the person's files; counted from 1, as synthetic samples are."""
        return f"synthetic{self.index + 1}"

    def haplotype_name(self, haplotype: int) -> str:
        """Name of one haplotype in FASTA and read names; counted from 1."""
        return f"{self.name}_h{haplotype + 1}"
