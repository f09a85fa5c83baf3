"""Copied tracts: longest exact matches, by the positional Burrows-Wheeler transform."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, RecombinationMap, Reference, RunContext
from haplobench.kernels import compiled
from haplobench_privacy.cohorts import Cohorts, cohorts, excess, paired_ratio
from haplobench_privacy.specs_distances import TractParams

_BOOTSTRAPS = 200
# Site blocks of at most so many alleles are held at once.
_BLOCK_ALLELES = 1 << 24


@compiled
def _advance(
    alleles: Any,
    first: int,
    order: Any,
    divergence: Any,
    group: Any,
    n_groups: int,
    begins: Any,
    ends: Any,
    longest: Any,
) -> None:
    """Run the transform over a block of sites and lengthen `longest` where matches grew.

    `order` and `divergence` are Durbin's a_k and d_k (algorithm 2): rows sorted by their
    reversed prefixes, and where the match of each with the row before it starts. A row's
    longest match with a group that ends at a site is with the nearest member of the group
    above or below it in that order, and starts at the largest divergence between them.
    """
    n_sites, n_rows = alleles.shape
    n_measures = begins.shape[0]
    ones = np.empty(n_rows, order.dtype)
    ones_divergence = np.empty(n_rows, order.dtype)
    start = np.empty(n_groups, np.int64)
    for offset in range(n_sites):
        site = first + offset
        column = alleles[offset]
        zero, one = 0, 0
        p, q = site + 1, site + 1
        for i in range(n_rows):
            row, d = order[i], divergence[i]
            p, q = max(p, d), max(q, d)
            if column[row] == 0:
                order[zero], divergence[zero] = row, p
                zero += 1
                p = 0
            else:
                ones[one], ones_divergence[one] = row, q
                one += 1
                q = 0
        order[zero:] = ones[:one]
        divergence[zero:] = ones_divergence[:one]
        for downwards in (True, False):
            start[:] = site + 1
            for step in range(n_rows):
                i = step if downwards else n_rows - 1 - step
                row = order[i]
                if downwards:
                    for g in range(n_groups):
                        start[g] = max(start[g], divergence[i])
                own = group[row]
                if own >= 0:
                    start[own] = 0
                else:
                    query = -1 - own
                    for g in range(n_groups):
                        if start[g] <= site:
                            for m in range(n_measures):
                                length = ends[m, site] - begins[m, start[g]]
                                if length > longest[m, query, g]:
                                    longest[m, query, g] = length
                if not downwards:
                    for g in range(n_groups):
                        start[g] = max(start[g], divergence[i])


def longest_matches(
    alleles: Callable[[int, int], NDArray[np.int8]],
    n_sites: int,
    group: NDArray[np.int64],
    n_groups: int,
    begins: NDArray[np.float64],
    ends: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Longest exact match of every query haplotype with any haplotype of each group.

    Parameters
    ----------
    alleles : callable
        `alleles(low, high)`: (high - low, n_rows) int8, 0 and 1, of sites low..high - 1.
    n_sites : int
    group : (n_rows,) int64
        Group of each row, 0 to `n_groups` - 1; -1 for a query. A group may be empty.
    n_groups : int
    begins, ends : (n_measures, n_sites) float64
        Where each site begins and ends in each measure, not decreasing: a match over sites
        i..j is `ends[m, j] - begins[m, i]` long.

    Returns
    -------
    (n_measures, n_queries, n_groups) float64
        0 where no allele at all is shared. Queries in the order of their rows. The maximum
        is taken in each measure by itself: the longest match in bp may be another one than
        that with most sites.
    """
    queries = np.flatnonzero(group < 0)
    coded = group.copy()
    coded[queries] = -1 - np.arange(queries.size)
    longest = np.zeros((begins.shape[0], queries.size, n_groups))
    order = np.arange(group.size, dtype=np.int32)
    divergence = np.zeros(group.size, np.int32)
    step = max(1, _BLOCK_ALLELES // group.size)
    for low in range(0, n_sites, step):
        high = min(low + step, n_sites)
        block = alleles(low, high)
        _advance(block, low, order, divergence, coded, n_groups, begins, ends, longest)
    return longest


def copied_tracts(
    reference: Reference, cohort: Panel, params: TractParams, ctx: RunContext
) -> MetricResult:
    """Longest stretch shared with a training haplotype, in sites, bp and cM."""
    data = cohorts(reference, cohort, params.max_haplotypes, ctx)
    measures, map_key = _measures(data, ctx.recombination_map)
    to_train, sized_train, sized_holdout = _synthetic(data, measures, params.max_parts, ctx)
    unseen = data.remember(
        f"unseen tracts, {map_key}",
        (data.train, data.holdout),
        lambda: matches_between(
            data,
            (data.train, data.holdout),
            [np.zeros(data.train.n_haplotypes, np.int64)],
            1,
            measures,
        )[:, :, 0],
    )
    # Share at or past the 99th percentile of the unseen, minus the unseen's own such share.
    far = np.quantile(unseen[0], 0.99, method="inverted_cdf")
    rng = ctx.rng("copied-tracts", "bootstrap")
    measurements = {
        "tract_ratio": _median_ratio(to_train[0], unseen[0], rng, data.note),
        "matched_ratio": paired_ratio(
            sized_train, sized_holdout, "no allele is shared with a held-out haplotype"
        ),
        "excess_long": excess(to_train[0] >= far, unseen[0] >= far),
    }
    for index, measure in enumerate(("sites", "bp", "cm")):
        for prefix, tracts in (("tract", to_train), ("holdout_tract", unseen)):
            measurements[f"{prefix}_{measure}"] = (
                Measurement(float(np.median(tracts[index])), tracts.shape[1])
                if index < tracts.shape[0]
                else Measurement(None, note="no recombination map")
            )
    series = {
        side: {
            f"{name}_sites": tracts[0].astype(np.int32),
            f"{name}_bp": tracts[1].astype(np.int64),
        }
        for side, name, tracts in (
            ("synthetic", "to_train", to_train),
            ("real", "holdout_to_train", unseen),
        )
    }
    return MetricResult(measurements, series)


def _measures(
    data: Cohorts, genetic: RecombinationMap | None
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], str]:
    """Where each compared site begins and ends in sites, bp and (with a map) cM; the map's key."""
    positions = data.train.positions[data.sites]
    index = np.arange(positions.size)
    begins: list[NDArray[Any]] = [index, positions]
    ends: list[NDArray[Any]] = [index + 1, positions + 1]
    key = "no map"
    if genetic is not None:
        begins.append(genetic.at(positions))
        ends.append(begins[-1])
        key = sha256(genetic.positions.tobytes() + genetic.centimorgans.tobytes()).hexdigest()
    return (np.array(begins, np.float64), np.array(ends, np.float64)), key


def _synthetic(
    data: Cohorts,
    measures: tuple[NDArray[np.float64], NDArray[np.float64]],
    max_parts: int,
    ctx: RunContext,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Longest matches of synthetic haplotypes.

    With any training haplotype (n_measures, n), and, in sites, the mean over disjoint
    parts of equal size of the training (n,) and of the held-out haplotypes (n,).
    """
    n_train, n_holdout = data.train.n_haplotypes, data.holdout.n_haplotypes
    size = min(n_train, n_holdout)
    rng = ctx.rng("copied-tracts", "parts")
    train_parts, n_train_parts = _parts(n_train, size, max_parts, rng)
    holdout_parts, n_holdout_parts = _parts(n_holdout, size, max_parts, rng)
    first = n_train_parts + 1
    matches = matches_between(
        data,
        (data.train, data.holdout, data.synthetic),
        [train_parts, holdout_parts + first],
        first + n_holdout_parts + 1,
        measures,
    )
    return (
        matches[:, :, :first].max(axis=2),
        matches[0, :, :n_train_parts].mean(axis=1),
        matches[0, :, first : first + n_holdout_parts].mean(axis=1),
    )


def _parts(n: int, size: int, most: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """Share n rows out at random into parts of `size`; what is left over is the last group.

    Returns the part of each row (n,) and the number of parts.
    """
    count = min(most, n // size)
    parts = np.full(n, count, np.int64)
    parts[rng.permutation(n)[: count * size]] = np.repeat(np.arange(count), size)
    return parts, count


def matches_between(
    data: Cohorts,
    panels: tuple[Panel, ...],
    groups: list[NDArray[np.int64]],
    n_groups: int,
    measures: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Longest matches of the last panel's haplotypes with groups of the panels before it."""
    queries = np.full(panels[-1].n_haplotypes, -1, np.int64)
    return longest_matches(
        lambda low, high: np.concatenate(
            [data.alleles(panel, low, high) for panel in panels], axis=1
        ),
        int(data.sites.sum()),
        np.concatenate([*groups, queries]),
        n_groups,
        *measures,
    )


def _median_ratio(
    tracts: NDArray[np.float64], unseen: NDArray[np.float64], rng: np.random.Generator, note: str
) -> Measurement:
    """Ratio of medians, its standard error by bootstrap over haplotypes of both sides."""
    usual = float(np.median(unseen))
    if usual == 0:
        return Measurement(
            None, tracts.size, note="half of the held-out share no allele with a training haplotype"
        )
    drawn = np.median(rng.choice(tracts, (_BOOTSTRAPS, tracts.size)), axis=1)
    others = np.median(rng.choice(unseen, (_BOOTSTRAPS, unseen.size)), axis=1)
    ratios = drawn[others > 0] / others[others > 0]
    error = float(ratios.std(ddof=1)) if ratios.size > 1 else None
    return Measurement(float(np.median(tracts)) / usual, tracts.size, error, note=note)
