"""Li-Stephens mosaic: haplotypes copied from training haplotypes, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PluginError, RecombinationMap, RunContext, SampleRequest
from haplobench.data.genome import estimate_map, expected_switches
from haplobench.plugin.generators import load_state, save_state
from haplobench_baselines import LiStephensParams
from haplobench_baselines.common import Groups, block_size, cut, refuse_missing

_NAME = "li-stephens"
_ARRAYS = ("haplotypes", "morgans", "switches", "mutations")
_CELLS = 1 << 22  # alleles gathered at once
_NE = 10_000.0  # from which one is fitted
_TARGETS, _SOURCES = 32, 1_000  # haplotypes explained, and copied by each, where rates are fitted
_RUNS, _RUN = 4, 250  # runs of neighbouring sites that they are fitted to
_ROUNDS, _STEADY = 30, 0.01
_LEAST_ERROR, _MOST_ERROR = 1e-6, 0.4


class LiStephens:
    """The copying model of Li & Stephens (2003), run forwards."""

    def fit(self, train: Panel, params: LiStephensParams, ctx: RunContext) -> FittedLiStephens:
        """Take rates from the recombination map and the number of haplotypes copied from.

        Or, where they are to be fitted, the likeliest ones, see `likeliest_rates`.

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
        recombination_map = ctx.recombination_map or self._unknown_map(train, params, ctx)
        centimorgans = recombination_map.at(train.positions)
        morgans = (centimorgans - centimorgans[0]) / 100
        theta = np.array([watterson_theta(int(k)) for k in n])
        if isinstance(params.theta, float):
            theta[:] = params.theta
        ne = _NE if params.ne == "fitted" else params.ne
        if "fitted" in (params.ne, params.theta):
            rng = ctx.rng(_NAME, "copying")
            copies = copying_pairs(train, groups, rng)
            ne, scale = likeliest_rates(
                copies,
                morgans,
                ne,
                float(theta.mean()),
                fit_ne=params.ne == "fitted",
                fit_theta=params.theta == "fitted",
            )
            theta[:] = scale if params.theta == "fitted" else theta
            ctx.log.info("%s: ne %.4g, theta %.3g", _NAME, ne, theta.mean())
        return FittedLiStephens(
            haplotypes=np.ascontiguousarray(train.haplotypes),
            morgans=morgans,
            groups=groups,
            switches=4 * ne / n,
            # A mutation, with probability theta / (n + theta), draws the allele anew.
            mutations=theta / (2 * (n + theta)),
            ploidy=train.ploidy,
        )

    def _unknown_map(
        self, train: Panel, params: LiStephensParams, ctx: RunContext
    ) -> RecombinationMap:
        """What stands for a map where the dataset has none; its mean rate is logged."""
        start, end = int(train.positions[0]), int(train.positions[-1])
        ne = _NE if params.ne == "fitted" else params.ne
        if params.cm_per_mb is None:
            related = np.unique(train.haplotype_superpopulations, return_inverse=True)[1]
            found = estimate_map(train, related, ne, ctx.rng("li-stephens", "map"))
        else:
            found = RecombinationMap.uniform(start, end, params.cm_per_mb)
        rate = float(found.at(end) - found.at(start)) / train.span * 1e6
        ctx.log.info("%s: no recombination map is given; mean %.3g cM/Mb", _NAME, rate)
        return found

    def load(self, directory: Path, ctx: RunContext) -> FittedLiStephens:
        """Read what `save` wrote; the haplotypes stay on disk, mapped into memory."""
        arrays, facts = load_state(directory, _NAME)
        saved = {name: arrays[name] for name in _ARRAYS}
        return FittedLiStephens(**saved, groups=Groups.load(arrays), ploidy=facts["ploidy"])


@dataclass(frozen=True, eq=False)
class FittedLiStephens:
    """Haplotypes to copy, and how often copying switches and errs.

    `haplotypes` (n_haplotypes, n_sites) int8.
    `morgans` (n_sites,) float64: genetic position of each site, in Morgans from the first.
    `groups`: whom a haplotype of each population copies.
    `switches` (n_groups,) float64: switches per Morgan: 4 Ne / n, n the haplotypes of the group.
    `mutations` (n_groups,) float64: probability that a copied allele is changed.
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
            if wanted is None:
                groups = self._groups(ctx.rng("sample", "people", block), size)[rows]
            else:
                groups = wanted[into]
            # What is drawn for a row never depends on which rows, or which populations, are
            # asked for: every draw is for the whole block.
            bounds, sources = self._segments(ctx.rng("sample", "copies", block), size, rows, groups)
            mosaics = self._copy(bounds, sources)
            row, site = self._mutations(ctx.rng("sample", "mutations", block), size, rows, groups)
            mosaics[row, site] ^= 1
            yield from cut(mosaics, request.batch_size)

    def _groups(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """A group for each haplotype of a block, the same for both of a person: (size,) int64."""
        person = rng.integers(self.groups.members.size, size=size // self.ploidy)
        group = np.searchsorted(self.groups.offsets, person, side="right") - 1
        return np.repeat(group, self.ploidy)

    def _segments(
        self, rng: np.random.Generator, size: int, rows: slice, groups: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where copying switches, and what is copied from there on.

        Bounds (rows, n_segments + 1) int64 in sites, from 0 to n_sites, and training
        haplotypes (rows, n_segments) int64. Rows that need fewer segments than others end in
        empty ones.
        """
        n_sites = self.morgans.size
        rates = self.switches[groups]
        at = np.zeros(groups.size)
        bounds, sources = [np.zeros(groups.size, np.int64)], []
        while (bounds[-1] < n_sites).any():
            sources.append(self._sources(rng.random(size)[rows], groups))
            # Switches are a Poisson process along the map: one or more between two sites with
            # probability 1 - exp(-4 Ne d / n). The first in an interval decides, and what
            # follows starts afresh at the next site.
            at += rng.standard_exponential(size)[rows] / rates
            bounds.append(np.searchsorted(self.morgans, at, side="right"))
            at = self.morgans[np.minimum(bounds[-1], n_sites - 1)]
        return np.stack(bounds, axis=1), np.stack(sources, axis=1)

    def _copy(self, bounds: NDArray[np.int64], sources: NDArray[np.int64]) -> NDArray[np.int8]:
        """The mosaics that `_segments` describes: (rows, n_sites) int8."""
        n_rows, n_sites = bounds.shape[0], self.morgans.size
        mosaics = np.empty((n_rows, n_sites), np.int8)
        flat = self.haplotypes.reshape(-1)
        lengths = np.diff(bounds, axis=1)
        step = max(1, _CELLS // max(1, n_sites))
        for start in range(0, n_rows, step):
            part = slice(start, start + step)
            cells = np.repeat(sources[part].ravel() * n_sites, lengths[part].ravel())
            cells = cells.reshape(-1, n_sites) + np.arange(n_sites)
            np.take(flat, cells, out=mosaics[part], mode="clip")
        return mosaics

    def _sources(
        self, choices: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Training haplotypes that uniform `choices` (rows,) pick, each from its row's group."""
        n = self.groups.sizes[groups] * self.ploidy
        person, strand = np.divmod((choices * n).astype(np.int64), self.ploidy)
        members = self.groups.members[self.groups.offsets[groups] + person]
        return np.asarray(members * self.ploidy + strand)

    def _mutations(
        self, rng: np.random.Generator, size: int, rows: slice, groups: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows (counted from `rows.start`) and sites of the alleles to change.

        Points of a Poisson process over all alleles of the block, thinned to each row's own
        rate: an allele has one or more with the probability of its group.
        """
        n_sites = self.morgans.size
        rates = -np.log1p(-self.mutations)
        n_points = rng.poisson(rates.max() * size * n_sites)
        row = rng.integers(size, size=n_points)
        site = rng.integers(n_sites, size=n_points)
        level = rng.random(n_points) * rates.max()
        inside = (row >= rows.start) & (row < rows.stop)
        row, site, level = row[inside] - rows.start, site[inside], level[inside]
        changed = level < rates[groups[row]]
        return row[changed], site[changed]

    def save(self, directory: Path) -> None:
        """Write the haplotypes, the map and the rates."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        save_state(directory, _NAME, arrays | self.groups.arrays(), ploidy=self.ploidy)


def watterson_theta(n: int) -> float:
    """Scaled mutation rate per site at which n haplotypes expect one mutation.

    1 / (1 + 1/2 + … + 1/(n - 1)), n at least 2: Li & Stephens (2003), appendix A.
    """
    return float(1 / np.sum(1 / np.arange(1, n)))


@dataclass(frozen=True, eq=False)
class Copies:
    """Haplotypes to explain, and those that each may copy, at some of the panel's sites.

    `sites` (s,): in runs of neighbours. `starts` (s - 1,): whether a run starts after this site.
    `targets` (s, t), `sources` (s, t, k) int8.
    """

    sites: NDArray[np.int64]
    starts: NDArray[np.bool_]
    targets: NDArray[np.int8]
    sources: NDArray[np.int8]


def copying_pairs(train: Panel, groups: Groups, rng: np.random.Generator) -> list[Copies]:
    """Of each group some haplotypes, 32 in all or one of each, and up to 1,000 others of the group.

    Of more than 1,000 sites four runs of 250 neighbours.
    """
    sites = np.arange(train.n_sites)
    starts = np.zeros(train.n_sites - 1, np.bool_)
    if train.n_sites > _RUNS * _RUN:
        first = np.linspace(0, train.n_sites - _RUN, _RUNS).astype(np.int64)
        sites = (first[:, None] + np.arange(_RUN)).ravel()
        starts = np.arange(1, sites.size) % _RUN == 0
    alleles = train.site_rows(sites)
    copies = []
    for start, stop in pairwise(groups.offsets.tolist()):
        members = groups.members[start:stop, None] * train.ploidy + np.arange(train.ploidy)
        rows = rng.permutation(members.ravel())
        share = rows.size / train.n_haplotypes
        chosen = rows[: max(1, round(_TARGETS * share))]
        others = [rng.permutation(rows[rows != row])[:_SOURCES] for row in chosen]
        copies.append(Copies(sites, starts, alleles[:, chosen], alleles[:, np.array(others)]))
    return copies


def likeliest_rates(
    copies: list[Copies],
    morgans: NDArray[np.float64],
    ne: float,
    theta: float,
    *,
    fit_ne: bool = True,
    fit_theta: bool = True,
) -> tuple[float, float]:
    """Ne and theta under which haplotypes are likeliest as mosaics of others, from those given.

    Expectation maximisation of 4 Ne d / k switches and theta / (2 (k + theta)) errors, k the
    haplotypes copied; at most 30 rounds, fewer where both change by less than 1 %. One Ne and one
    theta for all groups. `morgans` (n_sites,): of all sites of the panel.
    """
    for _ in range(_ROUNDS):
        switches = exposure = errors = 0.0
        n_targets = sum(part.targets.shape[1] for part in copies)
        for part in copies:
            k = part.sources.shape[2]
            steps = np.where(part.starts, np.inf, np.diff(morgans[part.sites]) * 4 * ne / k)
            share = theta / (2 * (k + theta))
            seen, wrong = expected_switches(part.targets, part.sources, steps, share)
            switches += seen[~part.starts].sum()
            exposure += steps[~part.starts].sum() * part.targets.shape[1]
            wrong = min(max(wrong, _LEAST_ERROR), _MOST_ERROR)
            errors += 2 * wrong * k / (1 - 2 * wrong) * part.targets.shape[1] / n_targets
        before = ne, theta
        if fit_ne and exposure > 0:
            ne *= max(switches / exposure, _LEAST_ERROR)
        if fit_theta:
            theta = errors
        if np.allclose((ne, theta), before, rtol=_STEADY, atol=0):
            break
    return ne, theta
