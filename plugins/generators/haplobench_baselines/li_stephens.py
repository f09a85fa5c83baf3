"""Li-Stephens mosaic: haplotypes copied from training haplotypes, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PluginError, RecombinationMap, RunContext, SampleRequest
from haplobench_baselines.draws import block_size, cut, refuse_missing
from haplobench_baselines.groups import Groups
from haplobench_baselines.specs import LiStephensParams
from haplobench_baselines.storage import load_state, save_state

_NAME = "li-stephens"
_CELLS = 1 << 22  # alleles gathered at once


@dataclass(frozen=True, eq=False)
class FittedLiStephens:
    """Haplotypes to copy, and how often copying switches and errs.

    Attributes
    ----------
    haplotypes : (n_haplotypes, n_sites) int8
    morgans : (n_sites,) float64
        Genetic position of each site, in Morgans from the first.
    groups : Groups
        Whom a haplotype of each population copies.
    switches : (n_groups,) float64
        Switches per Morgan: 4 Ne / n, n the haplotypes of the group.
    mutations : (n_groups,) float64
        Probability that a copied allele is changed.
    ploidy : int
    """

    haplotypes: NDArray[np.int8]
    morgans: NDArray[np.float64]
    groups: Groups
    switches: NDArray[np.float64]
    mutations: NDArray[np.float64]
    ploidy: int

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8.

        Where no populations are asked for, each person's is drawn by its share of the
        training people.
        """
        wanted = None if request.populations is None else self.groups.find(request.populations)
        size = block_size(self.ploidy)
        for block, rows, into in request.blocks(size):
            draws = _Draws(ctx.rng("sample", block), size, self)
            groups = draws.groups[rows] if wanted is None else wanted[into]
            yield from cut(self._mosaics(draws, rows, groups), request.batch_size)

    def _mosaics(self, draws: _Draws, rows: slice, groups: NDArray[np.int64]) -> NDArray[np.int8]:
        """The block's `rows`, of `groups`: (rows, n_sites) int8."""
        n_rows, n_sites = groups.size, self.morgans.size
        # A Poisson process of switches along the map: one or more between two sites with
        # probability 1 - exp(-4 Ne d / n).
        at = draws.arrivals[rows] / self.switches[groups].reshape(-1, 1)
        bounds = np.zeros((n_rows, draws.choices.shape[1] + 1), np.int64)
        bounds[:, 1:-1] = np.searchsorted(self.morgans, at)
        bounds[:, -1] = n_sites
        lengths = np.diff(bounds, axis=1)
        sources = self._sources(draws.choices[rows], groups)
        mosaics = np.empty((n_rows, n_sites), np.int8)
        flat = self.haplotypes.reshape(-1)
        step = max(1, _CELLS // max(1, n_sites))
        for start in range(0, n_rows, step):
            part = slice(start, start + step)
            cells = np.repeat(sources[part].ravel() * n_sites, lengths[part].ravel())
            cells = cells.reshape(-1, n_sites) + np.arange(n_sites)
            np.take(flat, cells, out=mosaics[part], mode="clip")
        row, site = draws.mutated(rows, self.mutations[groups])
        mosaics[row, site] ^= 1
        return mosaics

    def _sources(
        self, choices: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Training haplotypes that uniform `choices` (rows, segments) pick, each from its group."""
        n = self.groups.sizes[groups].reshape(-1, 1) * self.ploidy
        person, strand = np.divmod((choices * n).astype(np.int64), self.ploidy)
        members = self.groups.members[self.groups.offsets[groups].reshape(-1, 1) + person]
        return np.asarray(members * self.ploidy + strand)

    def save(self, directory: Path) -> None:
        """Write the haplotypes, the map and the rates."""
        arrays: dict[str, NDArray[Any]] = {
            "haplotypes": self.haplotypes,
            "morgans": self.morgans,
            "switches": self.switches,
            "mutations": self.mutations,
            **self.groups.arrays(),
        }
        save_state(directory, _NAME, arrays, ploidy=self.ploidy)


class _Draws:
    """The randomness of one block; what is drawn never depends on the populations asked for.

    Attributes
    ----------
    groups : (size,) int64
        A group for each haplotype, the same for both of a person.
    arrivals : (size, n_segments - 1) float64
        Arrival times of a Poisson process of rate 1, beyond the longest map of any group.
    choices : (size, n_segments) float64
        Uniform in [0, 1): which haplotype each segment copies.
    """

    def __init__(self, rng: np.random.Generator, size: int, fitted: FittedLiStephens) -> None:
        people = fitted.groups.members.size
        person = rng.integers(people, size=size // fitted.ploidy)
        group = np.searchsorted(fitted.groups.offsets, person, side="right") - 1
        self.groups = np.repeat(group, fitted.ploidy)
        expected = float(fitted.switches.max() * fitted.morgans[-1])
        columns = int(expected + 6 * expected**0.5) + 8
        arrivals = np.cumsum(rng.standard_exponential((size, columns)), axis=1)
        while arrivals[:, -1].min() < expected:
            more = np.cumsum(rng.standard_exponential((size, 8)), axis=1)
            arrivals = np.concatenate([arrivals, arrivals[:, -1:] + more], axis=1)
        self.arrivals = arrivals
        self.choices = rng.random((size, arrivals.shape[1] + 1))
        # Points of a Poisson process over all alleles, thinned to each row's own rate.
        self._most = -np.log1p(-fitted.mutations.max())
        n_points = rng.poisson(self._most * size * fitted.morgans.size)
        self._row = rng.integers(size, size=n_points)
        self._site = rng.integers(fitted.morgans.size, size=n_points)
        self._level = rng.random(n_points) * self._most

    def mutated(
        self, rows: slice, probability: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row (counted from `rows.start`) and site of mutations, each of a row's probability."""
        inside = (self._row >= rows.start) & (self._row < rows.stop)
        row, site, level = self._row[inside] - rows.start, self._site[inside], self._level[inside]
        kept = level < -np.log1p(-probability)[row]
        return row[kept], site[kept]


class LiStephens:
    """The copying model of Li & Stephens (2003), run forwards."""

    def fit(self, train: Panel, params: LiStephensParams, ctx: RunContext) -> FittedLiStephens:
        """Take rates from the recombination map and the number of haplotypes copied from.

        Raises PanelError if alleles are missing, PluginError for mixed superpopulations.
        """
        refuse_missing(train, _NAME)
        groups = Groups.of(train, params.within)
        n = groups.sizes * train.ploidy
        if (n < 2).any():
            raise PluginError(
                f"generator {_NAME}: a group of one haplotype can't be copied into a mosaic",
                hint="set within: superpopulation or all",
            )
        recombination_map = ctx.recombination_map
        if recombination_map is None:
            ctx.log.info("%s: no recombination map: %g cM/Mb", _NAME, params.cm_per_mb)
            start, end = int(train.positions[0]), int(train.positions[-1])
            recombination_map = RecombinationMap.uniform(start, end, params.cm_per_mb)
        centimorgans = recombination_map.at(train.positions)
        theta = np.array([watterson_theta(int(k)) for k in n])
        if params.theta is not None:
            theta[:] = params.theta
        return FittedLiStephens(
            haplotypes=np.ascontiguousarray(train.haplotypes),
            morgans=(centimorgans - centimorgans[0]) / 100,
            groups=groups,
            switches=4 * params.ne / n,
            # A mutation, with probability theta / (n + theta), draws the allele anew.
            mutations=theta / (2 * (n + theta)),
            ploidy=train.ploidy,
        )

    def load(self, directory: Path, ctx: RunContext) -> FittedLiStephens:
        """Read what `save` wrote; the haplotypes stay on disk, mapped into memory."""
        arrays, facts = load_state(directory, _NAME)
        return FittedLiStephens(
            haplotypes=arrays["haplotypes"],
            morgans=arrays["morgans"],
            groups=Groups.load(arrays),
            switches=arrays["switches"],
            mutations=arrays["mutations"],
            ploidy=facts["ploidy"],
        )


def watterson_theta(n: int) -> float:
    """Scaled mutation rate per site at which n haplotypes expect one mutation.

    1 / (1 + 1/2 + … + 1/(n - 1)), n at least 2: Li & Stephens (2003), appendix A.
    """
    return float(1 / np.sum(1 / np.arange(1, n)))
