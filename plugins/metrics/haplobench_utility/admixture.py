"""Admixed people whose ancestry is known, and how well a reference panel tells it.

Mosaics of real haplotypes of several populations know where each stretch comes from. A reference
panel says it again: as a person's proportions by the alleles' frequencies, and site by site by a
hidden Markov model that copies from the panel's haplotypes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel
from haplobench.kernels import compiled

Floats = NDArray[np.float64]
_EFFECTIVE_SIZE = 1e4  # diploid people, as is usual for models of copying
_CM = 100.0
_CYCLES, _STILL, _LONGEST = 130, 1e-6, 100


@dataclass(frozen=True, eq=False)
class AdmixedPeople:
    """Mosaics of haplotypes of known populations.

    Attributes
    ----------
    haplotypes : (n_haplotypes, n_sites) int8
        Rows `ploidy * i` and on are one person's.
    origin : (n_haplotypes, n_sites) int64
        Index of the population that each allele comes from.
    ploidy : int
    """

    haplotypes: NDArray[np.int8]
    origin: NDArray[np.int64]
    ploidy: int

    def proportions(self, n_groups: int) -> Floats:
        """Share of each population in a person's sites: (n_people, n_groups) float64."""
        origin = self.origin.reshape(-1, self.ploidy * self.origin.shape[1])
        return np.stack([(origin == group).mean(axis=1) for group in range(n_groups)], axis=1)

    def dosages(self) -> NDArray[np.int8]:
        """Alternate alleles per person: (n_people, n_sites) int8, -1 where any is missing."""
        alleles = self.haplotypes.reshape(-1, self.ploidy, self.haplotypes.shape[1])
        dosage: NDArray[np.int8] = alleles.sum(axis=1, dtype=np.int8)
        dosage[(alleles < 0).any(axis=1)] = -1
        return dosage


def admix(
    panel: Panel,
    groups: NDArray[np.int64],
    at: Floats,
    generations: float,
    n_people: int,
    rng: np.random.Generator,
) -> AdmixedPeople:
    """People whose ancestors of several populations mixed some generations ago.

    Each person has proportions from a flat Dirichlet distribution; along each haplotype,
    ancestry is drawn anew from them at a Poisson process' points of rate `generations` per
    Morgan, and each stretch is a piece of one haplotype of `panel`.

    Parameters
    ----------
    panel : Panel
        Phased.
    groups : (n_samples,) int64
        Population of each person, 0 to n_groups - 1, each with someone; -1: left out.
    at : (n_sites,) float64
        Genetic positions in Morgans.
    """
    n_groups = int(groups.max()) + 1
    rows = np.repeat(groups, panel.ploidy)
    members = [np.flatnonzero(rows == group) for group in range(n_groups)]
    n = n_people * panel.ploidy
    haplotypes = np.empty((n, panel.n_sites), np.int8)
    origin = np.empty((n, panel.n_sites), np.int64)
    shares = np.repeat(rng.dirichlet(np.ones(n_groups), n_people), panel.ploidy, axis=0)
    length = float(at[-1] - at[0])
    for i in range(n):
        points = at[0] + length * rng.random(rng.poisson(generations * length))
        cuts = [0, *np.searchsorted(at, np.sort(points)).tolist(), panel.n_sites]
        for low, high in pairwise(cuts):
            group = int(rng.choice(n_groups, p=shares[i]))
            row = rng.choice(members[group])
            haplotypes[i, low:high] = panel.alleles([row], slice(low, high))[0]
            origin[i, low:high] = group
    return AdmixedPeople(haplotypes, origin, panel.ploidy)


def admixture_proportions(dosages: NDArray[np.int8], ploidy: int, frequencies: Floats) -> Floats:
    """Proportions of ancestry that make each person's genotypes likeliest, sites independent.

    The supervised model of ADMIXTURE (Alexander and Lange 2011), by expectation-maximisation:
    q[k] <- mean over alleles of q[k] f[k] / sum over k of q[k] f[k], f the frequency of the
    allele that is there. Two such steps tell a longer one (Varadhan and Roland 2008, scheme S3),
    until a step changes no proportion by more than one in a million.

    Parameters
    ----------
    dosages : (n_people, n_sites) int8
        -1 where missing.
    frequencies : (n_groups, n_sites) float64
        Of the alternate allele, between 0 and 1 and neither.

    Returns
    -------
    (n_people, n_groups) float64
        Rows sum to 1; even where a person has no allele.
    """
    q = np.full((dosages.shape[0], frequencies.shape[0]), 1 / frequencies.shape[0])
    by_site = np.ascontiguousarray(frequencies.T)
    for _ in range(_CYCLES):
        first = _expected(q, dosages, ploidy, by_site)
        change = first - q
        if np.abs(change).max(initial=0) < _STILL:
            break
        second = _expected(first, dosages, ploidy, by_site)
        bend = second - first - change
        sizes = [np.linalg.norm(step, axis=1, keepdims=True) for step in (change, bend)]
        length = np.clip(sizes[0] / np.maximum(sizes[1], _STILL**2), 1, _LONGEST)
        # Never out of the simplex, nor to its border in a single step.
        longer = np.maximum(q + 2 * length * change + length**2 * bend, second / 10)
        q = _expected(longer / longer.sum(axis=1, keepdims=True), dosages, ploidy, by_site)
    return q


@compiled
def _expected(q: Floats, dosages: NDArray[np.int8], ploidy: int, frequencies: Floats) -> Floats:
    """One step of expectation-maximisation; `frequencies` (n_sites, n_groups)."""
    n_sites, n_groups = frequencies.shape
    moved = q.copy()
    sums = np.empty(n_groups)
    for person in range(q.shape[0]):
        sums[:] = 0.0
        everywhere = 0.0
        called = 0
        for site in range(n_sites):
            dosage = dosages[person, site]
            if dosage < 0:
                continue
            p = 0.0
            for group in range(n_groups):
                p += q[person, group] * frequencies[site, group]
            reference = (ploidy - dosage) / (1 - p)
            surplus = dosage / p - reference
            for group in range(n_groups):
                sums[group] += surplus * frequencies[site, group]
            everywhere += reference
            called += ploidy
        if called:
            for group in range(n_groups):
                moved[person, group] *= (sums[group] + everywhere) / called
    return moved


def paint(
    targets: NDArray[np.int8],
    references: NDArray[np.int8],
    groups: NDArray[np.int64],
    at: Floats,
    generations: float,
) -> NDArray[np.float32]:
    """Probabilities of each population at each site of haplotypes, by copying from references.

    The two-level model of HAPMIX (Price et al. 2009): ancestry is drawn anew with probability
    1 - exp(-generations d) over d Morgans, evenly among populations; within one, another of its
    n haplotypes is copied with probability 1 - exp(-4 N d / n), N = 10,000. Copies differ with
    the probability of Li and Stephens (2003), t / (2 (t + n)), 1 / t the sum of 1 / i to n - 1.

    Parameters
    ----------
    targets, references : (m, n_sites), (n, n_sites) int8
        A missing allele on either side says nothing.
    groups : (n,) int64
        Population of each reference, 0 to n_groups - 1; each has one or more.
    at : (n_sites,) float64
        Genetic positions in Morgans.

    Returns
    -------
    (m, n_sites, n_groups) float32
    """
    sizes = np.bincount(groups)
    n = int(sizes.sum())
    watterson = 1 / (1 / np.arange(1, max(n, 2))).sum()
    steps = np.diff(at)
    anew = -np.expm1(-generations * steps)
    within = -np.expm1(-4 * _EFFECTIVE_SIZE * steps[:, None] / sizes)
    return _paint(
        np.ascontiguousarray(targets),
        np.ascontiguousarray(references.T),
        groups.astype(np.int64),
        sizes.astype(np.float32),
        anew.astype(np.float32),
        within.astype(np.float32),
        np.float32(watterson / (2 * (watterson + n))),
    )


@compiled
def _paint(
    targets: NDArray[np.int8],
    references: NDArray[np.int8],
    groups: NDArray[np.int64],
    sizes: NDArray[np.float32],
    anew: NDArray[np.float32],
    within: NDArray[np.float32],
    differing: np.float32,
) -> NDArray[np.float32]:
    m, n_sites = targets.shape
    n, n_groups = groups.size, sizes.size
    painted = np.zeros((m, n_sites, n_groups), np.float32)
    forward = np.empty((n_sites, n), np.float32)
    backward = np.empty(n, np.float32)
    sums = np.empty(n_groups, np.float32)
    stay = np.empty(n_groups, np.float32)
    enter = np.empty(n_groups, np.float32)
    for i in range(m):
        for g in range(n_groups):
            stay[g] = 0
            enter[g] = 1 / (n_groups * sizes[g])
        for site in range(n_sites):
            if site:
                a = anew[site - 1]
                for g in range(n_groups):
                    r = within[site - 1, g]
                    stay[g] = (1 - a) * (1 - r)
                    enter[g] = (1 - a) * r * sums[g] / sizes[g] + a / (n_groups * sizes[g])
            sums[:] = 0
            total = np.float32(0)
            allele = targets[i, site]
            for j in range(n):
                g = groups[j]
                value = enter[g]
                if site:
                    value += stay[g] * forward[site - 1, j]
                other = references[site, j]
                if allele >= 0 and other >= 0:
                    value *= 1 - differing if allele == other else differing
                forward[site, j] = value
                sums[g] += value
                total += value
            for j in range(n):
                forward[site, j] /= total
            for g in range(n_groups):
                sums[g] /= total
        backward[:] = 1
        for site in range(n_sites - 1, -1, -1):
            if site < n_sites - 1:
                # What stands behind the next site, weighed by its alleles.
                allele = targets[i, site + 1]
                a = anew[site]
                sums[:] = 0
                for j in range(n):
                    other = references[site + 1, j]
                    if allele >= 0 and other >= 0:
                        backward[j] *= 1 - differing if allele == other else differing
                    sums[groups[j]] += backward[j]
                away = np.float32(0)
                for g in range(n_groups):
                    r = within[site, g]
                    away += a * sums[g] / (n_groups * sizes[g])
                    stay[g] = (1 - a) * (1 - r)
                    enter[g] = (1 - a) * r * sums[g] / sizes[g]
                total = np.float32(0)
                for j in range(n):
                    g = groups[j]
                    backward[j] = stay[g] * backward[j] + enter[g] + away
                    total += backward[j]
                for j in range(n):
                    backward[j] /= total
            total = np.float32(0)
            for j in range(n):
                value = forward[site, j] * backward[j]
                painted[i, site, groups[j]] += value
                total += value
            for g in range(n_groups):
                painted[i, site, g] /= total
    return painted
