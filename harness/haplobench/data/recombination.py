"""A recombination map estimated from a panel's own haplotypes, where none is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from haplobench.data.genome import RecombinationMap
from haplobench.data.panel import MISSING, Panel

_TARGETS, _SOURCES = 48, 72
_LEAST_GROUP = 12
_MOST_SITES = 3_000
_MIN_MAF = 0.01
# bp. Nearer sites show gene conversion and errors, which look like two switches each.
_SPACING = 1_000
# Iterations with one rate for the whole region, then with local ones.
_ROUNDS = (4, 4)
# Local rates are of pieces of so many sites, and drawn towards the region's as if so many
# switches had been seen at it.
_SITES, _PRIOR_SWITCHES = 24, 4.0
# cM/Mb.
_FIRST, _LEAST, _MOST = 1.0, 1e-3, 100.0


def estimate_map(
    panel: Panel, groups: NDArray[np.int64], ne: float, rng: np.random.Generator
) -> RecombinationMap:
    """The map under which a panel's haplotypes are likeliest as mosaics of each other.

    Up to 48 haplotypes are explained as copies of up to 72 others of their group by the model of
    Li & Stephens (2003, Genetics 165), and the rates at which copying switches, 4 Ne r / n, are
    found by expectation maximisation: first one for the region, then one for each piece of 24
    sites, shrunk towards it. At most 3,000 sites are looked at, with a MAF of 1 % or more and 1 kb
    apart. On simulated people the mean rate comes out at 1.0 to 2.5 times the true one at .1
    cM/Mb, .9 to 1.4 at 1, .5 to .8 at 10. `groups`: (n_haplotypes,) int64, such as their
    superpopulations: who is less related has more switches. `ne`: effective population size; only
    its product with the rates shows in a panel. 1 cM/Mb where fewer than 4 haplotypes or 8 such
    sites are there.

    Nothing of it protects the panel's people: no part of a generator with differential privacy.
    """
    sites = np.flatnonzero(panel.common_sites(_MIN_MAF))
    sites = _spaced(panel.positions, sites)
    if sites.size < 8 or panel.n_haplotypes < 4:
        start, end = int(panel.positions[0]), int(panel.positions[-1])
        return RecombinationMap.uniform(start, end, _FIRST, panel.contig)
    if sites.size > _MOST_SITES:
        sites = sites[np.linspace(0, sites.size - 1, _MOST_SITES).round().astype(np.int64)]
    rows, others = _copied(groups, rng)
    n_targets, n_sources = others.shape
    alleles = np.asarray(panel.haplotypes)[:, sites].T
    targets, sources = alleles[:, rows], alleles[:, others]
    lengths = np.diff(panel.positions[sites]).astype(np.float64)
    # A cM/Mb is so many switches per bp of a haplotype.
    unit = 4 * ne * 1e-8 / n_sources
    pieces = np.arange(lengths.size) // _SITES
    exposure = np.bincount(pieces, lengths) * n_targets * unit
    rates, miscopied = np.full(exposure.size, _FIRST), 0.01
    for local in np.repeat([False, True], _ROUNDS):
        expected = rates[pieces] * lengths * unit
        switches, miscopied = _expected_switches(targets, sources, expected, miscopied)
        seen = np.bincount(pieces, switches)
        rate = max(_LEAST, seen.sum() / exposure.sum())
        rates = np.full(exposure.size, rate)
        if local:
            rates = (seen + _PRIOR_SWITCHES) / (exposure + _PRIOR_SWITCHES / rate)
        rates = rates.clip(_LEAST, _MOST)
    centimorgans = np.concatenate([[0.0], np.cumsum(rates[pieces] * lengths / 1e6)])
    return RecombinationMap(panel.positions[sites], centimorgans, panel.contig)


def _spaced(positions: NDArray[np.int64], sites: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sites at least 1 kb apart, the first one taken each time."""
    chosen, last = [], -_SPACING
    for site in sites.tolist():
        if positions[site] - last >= _SPACING:
            chosen.append(site)
            last = positions[site]
    return np.array(chosen, np.int64)


def _copied(
    groups: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Haplotypes to explain, (t,), and others of the group of each to copy, (t, k).

    Groups of a few haplotypes each tell nothing apart: all are then one.
    """
    sizes = np.bincount(groups)
    if sizes.max() < _LEAST_GROUP:
        groups, sizes = np.zeros_like(groups), np.array([groups.size])
    n_sources = int(min(_SOURCES, sizes.max() - 1))
    rows = rng.permutation(np.flatnonzero(sizes[groups] > n_sources))[:_TARGETS]
    others = []
    for row in rows:
        alike = np.flatnonzero(groups == groups[row])
        others.append(rng.permutation(alike[alike != row])[:n_sources])
    return rows, np.array(others)


def _expected_switches(
    targets: NDArray[np.int8],
    sources: NDArray[np.int8],
    expected: NDArray[np.float64],
    miscopied: float,
) -> tuple[NDArray[np.float64], float]:
    """Switches between neighbouring sites, of all targets together, given their alleles.

    `targets` (n_sites, t) and `sources` (n_sites, t, k) int8; `expected` (n_sites - 1,): switches
    of a haplotype before its alleles are known; `miscopied`: share of alleles copied wrongly,
    returned anew. Forward-backward algorithm; a missing allele fits every other.
    """
    n_sites = targets.shape[0]
    jump = -np.expm1(-expected)
    weights = np.array([miscopied, 1 - miscopied], np.float32)

    def emission(site: int) -> NDArray[np.float32]:
        return np.asarray(weights[_alike(targets[site], sources[site]).astype(np.int8)])

    forward = np.empty(sources.shape, np.float32)
    state = emission(0)
    for site in range(n_sites):
        if site:
            p = np.float32(jump[site - 1])
            state = (forward[site - 1] * (1 - p) + p / sources.shape[2]) * emission(site)
        np.divide(state, state.sum(axis=1, keepdims=True), out=forward[site])
    switches, errors, called = np.zeros(n_sites - 1), 0.0, 0
    backward = np.ones(forward.shape[1:], np.float32)
    for site in range(n_sites - 1, -1, -1):
        posterior = forward[site] * backward
        posterior /= posterior.sum(axis=1, keepdims=True)
        errors += float((posterior * ~_alike(targets[site], sources[site])).sum())
        called += int((targets[site] != MISSING).sum())
        if not site:
            break
        p = np.float32(jump[site - 1])
        backward *= emission(site)
        anywhere = p * backward.mean(axis=1)
        stays = (1 - p) * np.einsum("tk,tk->t", forward[site - 1], backward)
        switches[site - 1] = float((anywhere / (anywhere + stays)).sum())
        backward = (1 - p) * backward + anywhere[:, None]
        backward /= backward.max(axis=1, keepdims=True)
    # Where a haplotype switches, it does so once or more often.
    switches *= expected / np.maximum(jump, 1e-300)
    return switches, float(np.clip(errors / max(1, called), 1e-4, 0.2))


def _alike(targets: NDArray[np.int8], sources: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether the alleles of targets (t,) and sources (t, k) may be the same: (t, k) bool."""
    same = targets[:, None] == sources
    return np.asarray(same | (targets[:, None] == MISSING) | (sources == MISSING))
