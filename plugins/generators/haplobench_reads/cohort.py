"""People by site frequency: every allele drawn on its own, without LD."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from haplobench import BenchError, Panel

BLOCK = 256


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites of a panel and how frequent their alternate alleles are.

    Attributes
    ----------
    contig : str
    ploidy : int
    positions : (n_sites,) int64
        bp, 1-based.
    ref, alt : (n_sites,) str
    frequencies : (n_sites,) float64
        Of the alternate allele.
    """

    contig: str
    ploidy: int
    positions: NDArray[np.int64]
    ref: NDArray[np.str_]
    alt: NDArray[np.str_]
    frequencies: NDArray[np.float64]

    @classmethod
    def of(cls, panel: Panel) -> Self:
        """The sites of a panel, with its allele frequencies."""
        return cls(
            panel.contig, panel.ploidy, panel.positions, panel.ref, panel.alt, panel.frequencies
        )

    def draw(self, rng: np.random.Generator) -> NDArray[np.int8]:
        """One block: (BLOCK, n_sites) int8, alleles Bernoulli(frequency).

        A person's alleles are independent, so genotypes are in Hardy-Weinberg proportions.
        """
        drawn = rng.random((BLOCK, self.frequencies.size), np.float32)
        return (drawn < self.frequencies.astype(np.float32)).view(np.int8)

    def save(self, path: Path) -> None:
        """Write as npz, without pickle."""
        np.savez_compressed(
            path,
            contig=np.array(self.contig),
            ploidy=np.array(self.ploidy),
            positions=self.positions,
            ref=self.ref,
            alt=self.alt,
            frequencies=self.frequencies,
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; BenchError if it isn't that."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(
                    str(file["contig"]),
                    int(file["ploidy"]),
                    *(file[name] for name in ("positions", "ref", "alt", "frequencies")),
                )
        except (OSError, ValueError, KeyError) as error:
            raise BenchError(f"{path}: not the saved sites of a panel: {error}") from None
