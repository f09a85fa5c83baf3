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
    switch : (n_groups, n_sites) float32
        Probability that copying switches between the site before and this one.
    """

    haplotypes: NDArray[np.int8]
    group: NDArray[np.int64]
    switch: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        haplotypes: NDArray[np.int8],
        group: NDArray[np.int64],
        positions: NDArray[np.int64],
        recombination_map: RecombinationMap | None,
        ne: float,
    ) -> Mosaics:
        """Switch at 1 - exp(-4 Ne d / n), d in Morgans (1 cM/Mb where there is no map)."""
        if recombination_map is None:
            start, end = int(positions[0]), int(positions[-1])
            recombination_map = RecombinationMap.uniform(start, end)
        morgans = np.diff(recombination_map.at(positions), prepend=np.nan) / 100
        sizes = np.bincount(group)
        switch = -np.expm1(-4 * ne * morgans[None] / np.maximum(sizes, 1)[:, None])
        switch[:, 0] = 0.0
        return cls(haplotypes, group, switch.astype(np.float32))

    def draw(
        self, rows: NDArray[np.int64], share: float, rng: np.random.Generator
    ) -> NDArray[np.int8]:
        """Haplotypes (rows, n_sites) int8 that begin as `rows` do; a `share` of them recombines."""
        n, n_sites = rows.size, self.haplotypes.shape[1]
        group = self.group[rows]
        switches = rng.random((n, n_sites), np.float32) < self.switch[group]
        switches &= (rng.random(n) < share)[:, None]
        row, site = np.nonzero(switches)
        order = np.argsort(self.group, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.group))])
        sizes = np.diff(starts)[group[row]]
        partner = (rng.random(row.size) * sizes).astype(np.int64)
        # A source stays until the next switch of its row.
        since = np.zeros((n, n_sites), np.int32)
        since[row, site] = np.arange(1, row.size + 1)
        since[:, 0] = 0
        latest = np.maximum.accumulate(since, axis=1)
        sources = np.concatenate([[-1], order[starts[group[row]] + partner]])[latest]
        sources = np.where(latest == 0, rows[:, None], sources)
        return np.asarray(self.haplotypes[sources, np.arange(n_sites)])
