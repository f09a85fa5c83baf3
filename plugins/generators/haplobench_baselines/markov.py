"""Markov chain of order k along the sites, each with transition probabilities of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, PluginError, RunContext, SampleRequest
from haplobench.plugin.generators import load_state, save_state
from haplobench_baselines import MarkovParams
from haplobench_baselines.common import BLOCK, cut, refuse_missing

_NAME = "markov"
# Probabilities are stored as multiples of 1 / 65535, so that 0 and 1 are exact.
_ONE = 65535
_TABLE_BYTES = 1 << 32
_CELLS = 1 << 22  # counted at once
_SITES = 256  # whose random numbers are drawn at once; another number gives other haplotypes


class Markov:
    """Chain of order k, its probabilities smoothed towards ever shorter contexts.

    With n haplotypes in a context of j sites, n1 of them with the alternate allele, and
    smoothing s: p_j = (n1 + s p_{j-1}) / (n + s), where p_{j-1} is of the context without its
    oldest site and p_0 is the training frequency: a hierarchical Dirichlet prior with a fixed
    concentration (MacKay & Peto 1995).
    """

    def fit(self, train: Panel, params: MarkovParams, ctx: RunContext) -> FittedMarkov:
        """Count contexts.

        Raises PanelError if alleles are missing, PluginError if the table would be too large.
        """
        refuse_missing(train, _NAME)
        n_sites, order = train.n_sites, params.order
        if n_sites * 2 ** (order + 1) > _TABLE_BYTES:
            fits = int(np.log2(_TABLE_BYTES / (2 * n_sites)))
            raise PluginError(
                f"generator {_NAME}: order {order} needs "
                f"{n_sites * 2 ** (order + 1) / 2**30:.1f} GiB at {n_sites} sites, "
                f"expected at most {_TABLE_BYTES / 2**30:.0f} GiB",
                hint=f"set order to {fits} or less",
            )
        table = np.empty((n_sites, 2**order), np.uint16)
        step = max(1, _CELLS >> order)
        for start in range(0, n_sites, step):
            counts = _count(train.haplotypes, start, min(start + step, n_sites), order)
            probabilities = smooth(counts, params.smoothing)
            table[start : start + step] = np.rint(probabilities * _ONE)
            ctx.progress(min(1.0, (start + step) / n_sites), "counting contexts")
        return FittedMarkov(table)

    def load(self, directory: Path, ctx: RunContext) -> FittedMarkov:
        """Read what `save` wrote; the table stays on disk, mapped into memory."""
        arrays, _ = load_state(directory, _NAME)
        return FittedMarkov(arrays["table"])


@dataclass(frozen=True, eq=False)
class FittedMarkov:
    """Probability of the alternate allele by context: (n_sites, 2**order) uint16, times 65535.

    Bit j of a context is the allele j + 1 sites to the left, 0 before the first site.
    """

    table: NDArray[np.uint16]

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8, site after site for all haplotypes of a batch at once."""
        together = max(1, request.batch_size // BLOCK)
        blocks = list(request.blocks(BLOCK))
        for first in range(0, len(blocks), together):
            group = blocks[first : first + together]
            drawn = self._draw([ctx.rng("sample", block) for block, _, _ in group])
            begin = group[0][1].start
            n_rows = group[-1][2].stop - group[0][2].start
            yield from cut(drawn[begin : begin + n_rows], request.batch_size)

    def _draw(self, rngs: list[np.random.Generator]) -> NDArray[np.int8]:
        """All haplotypes of some adjacent blocks: (len(rngs) * BLOCK, n_sites) int8."""
        n_sites, n_contexts = self.table.shape
        n_rows = len(rngs) * BLOCK
        drawn = np.empty((n_rows, n_sites), np.int8)
        context = np.zeros(n_rows, np.intp)
        threshold = np.empty(n_rows, np.uint16)
        for start in range(0, n_sites, _SITES):
            table = self.table[start : start + _SITES]
            uniform = np.concatenate(
                [rng.integers(0, _ONE, (_SITES, BLOCK), dtype=np.uint16) for rng in rngs], axis=1
            )
            alleles = np.empty((table.shape[0], n_rows), bool)
            for probabilities, u, allele in zip(table, uniform, alleles, strict=False):
                np.take(probabilities, context, out=threshold, mode="clip")
                np.less(u, threshold, out=allele)
                context <<= 1
                context |= allele
                context &= n_contexts - 1
            drawn[:, start : start + _SITES] = alleles.T
        return drawn

    def save(self, directory: Path) -> None:
        """Write the table."""
        save_state(directory, _NAME, {"table": self.table})


def smooth(counts: NDArray[np.int64], smoothing: float) -> NDArray[np.float64]:
    """Smoothed probabilities of the alternate allele in each context of the longest kind.

    `counts` (n_sites, 2**order, 2) int64: haplotypes by context and by allele.
    `smoothing`: see `Markov`; 0 takes the shorter context's value only where n is 0.

    Returns (n_sites, 2**order) float64.
    """
    # The oldest site is the highest bit: summing the two halves forgets it.
    levels = [counts]
    while levels[-1].shape[1] > 1:
        levels.append(levels[-1].reshape(counts.shape[0], 2, -1, 2).sum(axis=1))
    base = levels.pop()
    probabilities: NDArray[np.float64] = base[..., 1] / np.maximum(base.sum(axis=-1), 1)
    for level in reversed(levels):
        shorter = np.concatenate([probabilities, probabilities], axis=1)
        n = level.sum(axis=-1)
        probabilities = shorter.copy()
        np.divide(
            level[..., 1] + smoothing * shorter, n + smoothing, out=probabilities, where=n > 0
        )
    return probabilities


def _count(haplotypes: NDArray[np.int8], start: int, end: int, order: int) -> NDArray[np.int64]:
    """Haplotypes by context and allele at sites `start` to `end`: (sites, 2**order, 2) int64."""
    first = max(0, start - order)
    alleles = np.ascontiguousarray(haplotypes[:, first:end].T).astype(np.int64)
    n_sites = end - start
    # Cell of each haplotype: its context, then its allele, in one table per site.
    cells = alleles[start - first :] + (np.arange(n_sites) << (order + 1))[:, None]
    for back in range(1, order + 1):
        here = max(0, back - start)  # sites that have one so far to their left
        left = alleles[start + here - back - first : max(0, end - back - first)]
        cells[here:] += left << back
    counts = np.bincount(cells.ravel(), minlength=n_sites << (order + 1))
    return counts.reshape(n_sites, 2**order, 2)
