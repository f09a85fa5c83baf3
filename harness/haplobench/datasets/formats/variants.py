"""What writers of records need: sites, people, and alleles that come site by site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from haplobench.panel import Panel

_BLOCK_ALLELES = 1 << 23


@dataclass(frozen=True, eq=False)
class Variants:
    """A cohort that need not be in memory.

    Attributes
    ----------
    positions, contig, ref, alt, samples, population, superpopulation, ploidy, build, phased
        As in `Panel`.
    step : int
        Sites that are read at a time.
    alleles : Callable
        `alleles(start, stop)`: the alleles of these sites, (stop - start, n_haplotypes) int8.
        `start` is a multiple of `step`, `stop` at most `step` further.
    """

    positions: NDArray[np.int64]
    contig: str
    ref: NDArray[np.str_]
    alt: NDArray[np.str_]
    samples: NDArray[np.str_]
    population: NDArray[np.str_]
    superpopulation: NDArray[np.str_]
    ploidy: int
    build: str
    phased: bool
    step: int
    alleles: Callable[[int, int], NDArray[np.int8]]

    @classmethod
    def of(cls, panel: Panel) -> Self:
        """The variants of a panel."""

        def alleles(start: int, stop: int) -> NDArray[np.int8]:
            return np.ascontiguousarray(panel.haplotypes[:, start:stop].T)

        return cls.like(panel, panel, sites_at_once(panel.n_haplotypes), alleles)

    @classmethod
    def like(
        cls, sites: Panel, people: Panel, step: int, alleles: Callable[[int, int], NDArray[np.int8]]
    ) -> Self:
        """The sites of one panel, the people of another."""
        return cls(
            positions=sites.positions,
            contig=sites.contig,
            ref=sites.ref,
            alt=sites.alt,
            samples=people.samples,
            population=people.population,
            superpopulation=people.superpopulation,
            ploidy=people.ploidy,
            build=sites.build,
            phased=people.phased,
            step=step,
            alleles=alleles,
        )

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return int(self.positions.size)

    @property
    def n_samples(self) -> int:
        """Number of people."""
        return int(self.samples.size)

    @property
    def n_haplotypes(self) -> int:
        """Number of haplotypes."""
        return self.n_samples * self.ploidy

    @property
    def labelled(self) -> bool:
        """Whether every person has a population label."""
        return bool(self.n_samples and (self.population != "").all())

    def blocks(self) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """Yield (first site, alleles (sites, n_haplotypes) int8), `step` sites at a time."""
        for start in range(0, self.n_sites, self.step):
            yield start, self.alleles(start, min(self.n_sites, start + self.step))


def sites_at_once(n_haplotypes: int) -> int:
    """Sites whose alleles are held at a time, a multiple of 8: 8 MiB, or 8 sites."""
    return max(8, _BLOCK_ALLELES // max(1, n_haplotypes) // 8 * 8)
