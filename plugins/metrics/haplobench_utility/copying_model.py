"""Imputation by the copying model of Li & Stephens, exact, of many haplotypes side by side.

A haplotype is a mosaic of the panel's n haplotypes (Li & Stephens 2003, Genetics 165:2213-2233).
Over d Morgans it starts afresh from any of them, itself included, with probability
1 - exp(-4 Ne d / n), and an allele is another than the copied one with the probability `error`.
What is imputed is the probability of the alternate allele given everything that is typed, by
forward and backward probabilities. Untyped sites between two typed ones have states of their own:
nothing is interpolated.

Haplotypes that are equal in a block of sites have the same probabilities there but for what they
bring into it, so that a block's classes stand for them (Das et al. 2016, Nature Genetics
48:1284-1287, who call it state space reduction); it gives what all states would.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench_utility import copying_kernels as kernels
from haplobench_utility.copying_kernels import LANES, Classes, Knots

_WORK_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class CopyingModel:
    """A reference panel, ready to impute from.

    Attributes
    ----------
    untyped : (n_untyped,) int64
        Indices of the sites that are imputed, increasing.
    error : float
        Probability that an allele is another than the copied one.
    """

    untyped: NDArray[np.int64]
    error: float
    _classes: Classes
    _knots: Knots

    @classmethod
    def of(
        cls,
        haplotypes: NDArray[np.int8],
        typed: NDArray[np.int64],
        morgans: NDArray[np.float64],
        *,
        ne: float = 20_000,
        error: float = 0.001,
    ) -> CopyingModel:
        """The model of a panel.

        Parameters
        ----------
        haplotypes : (n_haplotypes, n_sites) int8
            0 or 1; one haplotype and two sites or more.
        typed : (n_typed,) int64
            Indices of the sites that are seen in those to impute, increasing; one or more.
        morgans : (n_sites,) float64
            Genetic position of each site, not decreasing.
        ne : float
            Effective population size.
        error : float
            Probability that a copied allele is changed.

        Raises ValueError if shapes contradict this or an allele is missing.
        """
        n, n_sites = haplotypes.shape
        if n < 1 or n_sites < 2 or typed.size < 1 or morgans.shape != (n_sites,):
            raise ValueError(
                "copying model: a haplotype, a typed site, two sites and a genetic position of "
                f"each expected, found {haplotypes.shape} alleles, {typed.size} typed sites and "
                f"{morgans.size} positions"
            )
        alleles = np.ascontiguousarray(haplotypes.T).view(np.uint8)
        if alleles.max() > 1:
            raise ValueError("copying model: alleles 0 and 1 expected, found missing ones")
        untyped = np.setdiff1d(np.arange(n_sites), typed)
        knots = _knots(typed, morgans, n_sites, 4 * ne / n)
        return cls(untyped, error, _classes(alleles, knots.sites), knots)

    def impute(self, typed_alleles: NDArray[np.int8], threads: int = 1) -> NDArray[np.float32]:
        """Probability of the alternate allele at untyped sites: (n, n_untyped) float32.

        `typed_alleles` (n, n_typed) int8: 0, 1, or -1 where it isn't known.
        """
        out = np.empty((typed_alleles.shape[0], self.untyped.size), np.float32)
        batches = list(range(0, typed_alleles.shape[0], LANES))
        threads = max(1, min(threads, len(batches)))

        def work(which: int) -> None:
            space = self._space()
            dosages = np.zeros((self._classes.at.size, LANES), np.float32)
            for start in batches[which::threads]:
                rows = typed_alleles[start : start + LANES]
                seen = np.full((typed_alleles.shape[1], LANES), -1, np.int8)
                seen[:, : len(rows)] = rows.T
                kernels.impute(self._classes, self._knots, seen, self.error, space, dosages)
                out[start : start + LANES] = dosages[self.untyped, : len(rows)].T

        if threads == 1:
            work(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))
        return out

    def _space(self) -> kernels.Work:
        """Work space of one thread: forward probabilities are kept at some blocks only."""
        n_blocks, n = self._classes.of.shape
        most = self._classes.members.shape[1]
        longest = int(np.diff(self._classes.first).max()) + 1
        step = n_blocks
        if n_blocks * n * LANES * 4 > _WORK_BYTES:
            step = int(np.ceil(np.sqrt(n_blocks)))

        def rows(*shape: int) -> NDArray[np.float32]:
            return np.empty((*shape, LANES), np.float32)

        return kernels.Work(
            far=rows(-(-n_blocks // step), n),
            near=rows(step + 1, n),
            state=rows(n),
            forward=kernels.Forward(
                rows(most), rows(longest, most), rows(longest, most), rows(longest), rows(2)
            ),
            posterior=kernels.Posterior(*(rows(most) for _ in kernels.Posterior._fields)),
        )


def _knots(
    typed: NDArray[np.int64], morgans: NDArray[np.float64], n_sites: int, rate: float
) -> Knots:
    """Typed sites and both ends, with the probabilities of switches at `rate` per Morgan."""
    sites = np.union1d(typed, [0, n_sites - 1]).astype(np.int64)
    index = np.full(n_sites, -1, np.int64)
    index[typed] = np.arange(typed.size)
    every = np.arange(n_sites)
    before = sites[np.maximum(np.searchsorted(sites, every, side="left") - 1, 0)]
    after = sites[np.minimum(np.searchsorted(sites, every, side="right"), sites.size - 1)]

    def switch(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(-np.expm1(-rate * (morgans[end] - morgans[start])))

    return Knots(
        sites,
        index[sites],
        switch(sites[np.maximum(np.arange(sites.size) - 1, 0)], sites),
        switch(before, every),
        switch(every, after),
    )


def _blocks(
    alleles: NDArray[np.uint8], sites: NDArray[np.int64]
) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
    """Each block's last knot, its number of classes, and the class of each haplotype."""
    last = 0
    while last < sites.size - 1:
        of = np.empty(alleles.shape[1], np.int32)
        last, n = kernels.cut_block(alleles, sites, last, of)
        yield last, n, of


def _classes(alleles: NDArray[np.uint8], sites: NDArray[np.int64]) -> Classes:
    """`alleles` (n_sites, n_haplotypes) uint8, in blocks between the knots at `sites`."""
    blocks = list(_blocks(alleles, sites))
    first = np.array([0, *(last for last, _, _ in blocks)], np.int64)
    size = np.array([n for _, n, _ in blocks], np.int64)
    members = np.zeros((len(blocks), int(size.max())), np.float32)
    shown, lengths = [], np.zeros(alleles.shape[0], np.int64)
    for b, (_, n, of) in enumerate(blocks):
        members[b, :n] = np.bincount(of, minlength=n)
        start, stop = sites[first[b]] + (b > 0), sites[first[b + 1]] + 1
        shown.append(alleles[start:stop, np.unique(of, return_index=True)[1]].ravel())
        lengths[start:stop] = n
    return Classes(
        first,
        np.stack([of for _, _, of in blocks]),
        size,
        members,
        np.concatenate(shown),
        np.cumsum(lengths) - lengths,
    )
