"""What writers of records need: sites, people, and alleles that come site by site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from haplobench.panel import Panel

_BLOCK_ALLELES = 1 << 23
_PART = 8192  # people

Labels = tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.str_]]


class Texts(Protocol):
    """Names or labels of people, in order; an array (n_samples,) of str is one."""

    @property
    def size(self) -> int:
        """How many."""

    def __getitem__(self, rows: slice, /) -> NDArray[np.str_]:
        """Some of them."""


@dataclass(frozen=True)
class TextsMade:
    """Names or labels that are made when they are needed: memory doesn't grow with people.

    Attributes
    ----------
    size : int
    made : Callable
        `made(start, stop)`: (stop - start,) str.
    """

    size: int
    made: Callable[[int, int], NDArray[np.str_]]

    def __getitem__(self, rows: slice, /) -> NDArray[np.str_]:
        start, stop, _ = rows.indices(self.size)
        return self.made(start, stop)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Who is in a cohort: what a panel says of people, which may be more than fit in memory.

    Attributes
    ----------
    samples, population, superpopulation, ploidy, phased
        As in `Panel`, see `Texts`.
    """

    samples: Texts
    population: Texts
    superpopulation: Texts
    ploidy: int
    phased: bool = True


@dataclass(frozen=True, eq=False)
class Variants:
    """A cohort that need not be in memory.

    Attributes
    ----------
    positions, contig, ref, alt, samples, population, superpopulation, ploidy, build, phased
        As in `Panel`, but for people see `Texts`.
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
    samples: Texts
    population: Texts
    superpopulation: Texts
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
        cls,
        sites: Panel,
        people: Panel | Cohort,
        step: int,
        alleles: Callable[[int, int], NDArray[np.int8]],
    ) -> Self:
        """The sites of a panel, the people of another or of a cohort."""
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
        return bool(self.n_samples) and all(
            bool((population != "").all()) for _, population, _ in parts(self)
        )

    def blocks(self) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """Yield (first site, alleles (sites, n_haplotypes) int8), `step` sites at a time."""
        for start in range(0, self.n_sites, self.step):
            yield start, self.alleles(start, min(self.n_sites, start + self.step))


def sites_at_once(n_haplotypes: int) -> int:
    """Sites whose alleles are held at a time, a multiple of 8: 8 MiB, or 8 sites."""
    return max(8, _BLOCK_ALLELES // max(1, n_haplotypes) // 8 * 8)


def parts(people: Panel | Cohort | Variants) -> Iterator[Labels]:
    """Yield names, populations and superpopulations of 8,192 people at a time."""
    for start in range(0, people.samples.size, _PART):
        rows = slice(start, start + _PART)
        yield people.samples[rows], people.population[rows], people.superpopulation[rows]
