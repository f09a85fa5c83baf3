"""Recombination augmentation: training haplotypes recombined within their population."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import RecombinationMap


@dataclass(frozen=True, eq=False)
class Mosaics:
    """Li-Stephens mosaics (Li & Stephens 2003) of training haplotypes, without mutation.

    Attributes
    ----------
    haplotypes : (n, n_sites) int8
        The training haplotypes.
    group : (n,) int64
        Whom each haplotype recombines with: those of its own group.
    morgans : (n_sites,) float64
        Genetic distance from the first site, never falling.
    rate : (n_groups,) float64
        Switches per Morgan of a haplotype that recombines.
    """

    haplotypes: NDArray[np.int8]
    group: NDArray[np.int64]
    morgans: NDArray[np.float64]
    rate: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        haplotypes: NDArray[np.int8],
        group: NDArray[np.int64],
        positions: NDArray[np.int64],
        recombination_map: RecombinationMap | None,
        ne: float,
    ) -> Mosaics:
        """Switch at a rate of 4 Ne / n per Morgan (1 cM/Mb where there is no map)."""
        if recombination_map is None:
            start, end = int(positions[0]), int(positions[-1])
            recombination_map = RecombinationMap.uniform(start, end)
        morgans = recombination_map.at(positions) / 100
        sizes = np.bincount(group)
        return cls(haplotypes, group, morgans - morgans[0], 4 * ne / np.maximum(sizes, 1))

    def draw(
        self,
        rows: NDArray[np.int64],
        share: float,
        rng: np.random.Generator,
        part: slice = slice(None),
    ) -> NDArray[np.int8]:
        """Haplotypes (n, n_sites) int8 that begin as `rows` do; a `share` of them recombines.

        Only those of a `part` of the rows, which are the same whatever the part.
        """
        n, n_sites = rows.size, self.haplotypes.shape[1]
        group = self.group[rows]
        recombines = rng.random(n) < share
        length = self.morgans[-1]
        # A Poisson process: an interval has a switch with 1 - exp(-rate × Morgans).
        counts = rng.poisson(self.rate[group] * length * recombines)
        row = np.repeat(np.arange(n), counts)
        where, whom = rng.random((2, row.size))
        mine = np.arange(n)[part]
        chosen = np.isin(row, mine)
        row, where, whom = row[chosen], where[chosen], whom[chosen]
        site = np.searchsorted(self.morgans, where * length, side="right").clip(max=n_sites - 1)
        order = np.argsort(self.group, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.group))])
        sizes = np.diff(starts)[group[row]]
        partner = order[starts[group[row]] + (whom * sizes).astype(np.int64)]
        # A source stays until the next switch of its row.
        begins = np.concatenate([mine * n_sites, row * n_sites + site])
        in_order = np.argsort(begins, kind="stable")
        until = np.append(begins[in_order][1:], 0)
        ends = np.where(until // n_sites == begins[in_order] // n_sites, until, 0)
        own = begins[in_order] // n_sites
        lengths = np.where(ends > 0, ends, (own + 1) * n_sites) - begins[in_order]
        sources = np.repeat(np.concatenate([rows[mine], partner])[in_order], lengths)
        drawn = self.haplotypes[sources.reshape(mine.size, n_sites), np.arange(n_sites)]
        return np.asarray(drawn)
