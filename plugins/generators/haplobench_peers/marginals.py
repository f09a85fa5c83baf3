"""`dp-marginals`: noisy marginals of neighbouring sites, drawn one window after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PrivacyStatement, RunContext, SampleRequest
from haplobench.plugin.generators import load_state, save_state
from haplobench_peers import MarginalsParams
from haplobench_peers.common import BLOCK, Budget, refuse_unfit

_NAME = "dp-marginals"
Counts = NDArray[np.int64]
Reals = NDArray[np.float64]

_LADDER = ((0.004, 8, 4), (0.01, 6, 4), (0.02, 4, 4), (0.1, 1, 1), (math.inf, 0, 1))
"""Noise of a table of windows of four sites, as a share of its haplotypes, and up to that how many
sites are given and drawn: chosen on simulated people (OutOfAfrica_3G09) alone."""


class DPMarginals:
    """A chain of windows: the next sites' alleles given those before, from noisy counts.

    PrivBayes (Zhang et al. 2017) with a network that costs no budget, because the order of sites is
    public: each window's parents are the sites before it. Differs from the paper in noise (one
    Gaussian mechanism over all tables in place of Laplace's), in joint tables for several sites at
    once, and in how tables are made counts again (`nearest_counts`).
    """

    def fit(self, train: Panel, params: MarginalsParams, ctx: RunContext) -> FittedMarginals:
        """Count the alleles of every window, add noise, and make them probabilities.

        The unit is a person: with all haplotypes, each changes so many cells of every table by one,
        so all tables together by ploidy × √tables at most. Raises PanelError if alleles are
        missing, if there are none, or if δ isn't below 1 / people.
        """
        refuse_unfit(train, _NAME)
        budget = Budget.of(train, params, _NAME)
        haplotypes = np.asarray(train.haplotypes)
        given, drawn = _widths(params, budget.multiplier * train.ploidy, haplotypes.shape)
        counts = window_counts(haplotypes, given, drawn)
        counts = budget.noised(counts, train.ploidy * math.sqrt(len(counts)))
        statement = budget.statement(
            "counts of windows",
            {"widths of windows": "public: by the noise, on simulated people"},
        )
        cumulative = probabilities(counts, len(haplotypes), train.n_sites)
        return FittedMarginals(cumulative, train.n_sites, statement)

    def load(self, directory: Path, ctx: RunContext) -> FittedMarginals:
        """Read what `save` wrote."""
        arrays, facts = load_state(directory, _NAME)
        statement = PrivacyStatement.from_json(facts["privacy"])
        return FittedMarginals(arrays["cumulative"], facts["n_sites"], statement)


def _widths(params: MarginalsParams, per_table: float, shape: tuple[int, ...]) -> tuple[int, int]:
    """Sites that windows are given and draw, of a panel of (n_haplotypes, n_sites)."""
    n_haplotypes, n_sites = shape
    noise = per_table * math.sqrt(math.ceil(n_sites / 4)) / max(1, n_haplotypes)
    given, drawn = next((given, drawn) for most, given, drawn in _LADDER if noise <= most)
    given = given if params.given is None else params.given
    return min(given, n_sites - 1), min(params.drawn or drawn, n_sites)


def window_counts(haplotypes: NDArray[np.int8], given: int, drawn: int) -> Counts:
    """Haplotypes by their alleles in each window and before it: (n_windows, 2^given, 2^drawn).

    A window of `drawn` sites follows `given` sites; the first site is the highest bit. Where fewer
    are before it, or in the last one, the other cells stay 0.
    """
    n_sites = haplotypes.shape[1]
    firsts = range(0, n_sites, drawn)
    counts = np.zeros((len(firsts), 1 << given, 1 << drawn), np.int64)
    for at, first in enumerate(firsts):
        before = _codes(haplotypes[:, max(0, first - given) : first])
        here = _codes(haplotypes[:, first : first + drawn])
        np.add.at(counts[at], (before, here), 1)
    return counts


def _codes(alleles: NDArray[np.int8]) -> Counts:
    """Rows as binary numbers, the first site the highest bit: (n,)."""
    weights = 1 << np.arange(alleles.shape[1])[::-1]
    return np.asarray(alleles.astype(np.int64) @ weights)


def nearest_counts(noisy: Reals, total: float) -> Reals:
    """The counts of 0 or more with this total that are nearest to noisy ones, (n_cells,).

    The projection on a simplex (Held, Wolfe & Crowder 1974), as post-processing of noisy counts:
    what is least surely there goes to 0, and no total is made up of noise.
    """
    falling = np.sort(noisy)[::-1]
    over = (np.cumsum(falling) - total) / np.arange(1, noisy.size + 1)
    return np.asarray(np.maximum(noisy - over[np.flatnonzero(falling > over)[-1]], 0))


def probabilities(counts: Counts, total: int, n_sites: int) -> NDArray[np.float32]:
    """Noisy counts (n_windows, 2^given, 2^drawn) as probabilities, added up along the last axis.

    Alleles before that nobody has borrow from shorter ones: the same table's, with the first site
    left out, then the second, and so on.
    """
    given, drawn = (size.bit_length() - 1 for size in counts.shape[1:])
    cumulative = np.ones(counts.shape, np.float32)
    for at, first in enumerate(range(0, n_sites, drawn)):
        shape = 1 << min(given, first), 1 << min(drawn, n_sites - first)
        cells = counts[at, : shape[0], : shape[1]].astype(np.float64)
        table = nearest_counts(cells.ravel(), total).reshape(shape)
        filled, shorter = table.copy(), table
        while not (full := filled.sum(axis=1) > 0).all():
            shorter = shorter.reshape(2, -1, shape[1]).sum(axis=0)
            borrowed = np.tile(shorter, (shape[0] // len(shorter), 1))
            filled[~full] = borrowed[~full]
        sums = np.cumsum(filled, axis=1)
        cumulative[at, : shape[0], : shape[1]] = sums / sums[:, -1:]
    return cumulative


@dataclass(frozen=True, eq=False)
class FittedMarginals:
    """How windows follow each other, and what may be claimed of it.

    `cumulative` (n_windows, 2^given, 2^drawn) float32: see `probabilities`.
    """

    cumulative: NDArray[np.float32]
    n_sites: int
    statement: PrivacyStatement

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, populations as they come."""

        def draw(block: int) -> NDArray[np.int8]:
            shape = BLOCK, len(self.cumulative)
            return self._draw(ctx.rng("sample", block).random(shape, np.float32))

        return request.batches(draw, BLOCK)

    def _draw(self, uniform: NDArray[np.float32]) -> NDArray[np.int8]:
        given, drawn = (size.bit_length() - 1 for size in self.cumulative.shape[1:])
        alleles = np.zeros((len(uniform), self.n_sites), np.int8)
        for at, table in enumerate(self.cumulative):
            first = at * drawn
            here = alleles[:, first : first + drawn]
            before = _codes(alleles[:, max(0, first - given) : first])
            cells = table[before, : 1 << here.shape[1]]
            cell = (cells[:, :-1] <= uniform[:, at : at + 1]).sum(axis=1)
            here[:] = cell[:, None] >> np.arange(here.shape[1])[::-1] & 1
        return alleles

    def privacy_statement(self) -> PrivacyStatement:
        """What is claimed for everything that is drawn."""
        return self.statement

    def save(self, directory: Path) -> None:
        """Write the probabilities."""
        facts = {"n_sites": self.n_sites, "privacy": self.statement.to_json()}
        save_state(directory, _NAME, {"cumulative": self.cumulative}, **facts)
