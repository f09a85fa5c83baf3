"""Evidence that a person was trained on: scores of real people from a synthetic cohort alone.

Nothing here knows who was trained on; each is kept for this process by panels and sites.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel
from haplobench.data.bits import pack_bits
from haplobench.data.distances import popcount
from haplobench.data.kinship import ClosestPeople, closest_people
from haplobench.kernels import compiled
from haplobench_privacy.cohorts import Cohorts
from haplobench_privacy.distances import Between, between, block
from haplobench_privacy.tracts import matches_between

Scores = NDArray[np.float64]
# A site is compared with so many kept sites before it.
_REACH = 64
_BLOCK_SITES = 2048
_BLOCK_FLOATS = 1 << 19
_BLOCK_PEOPLE = 64


@compiled
def _thin(sites: Any, counts: Any, n: int, reach: int, max_r2: float) -> Any:
    kept = np.empty(sites.shape[0], np.int64)
    n_kept = 0
    for j in range(sites.shape[0]):
        if counts[j] == 0 or counts[j] == n:
            continue
        p = counts[j] / n
        independent = True
        for back in range(min(reach, n_kept)):
            i = kept[n_kept - 1 - back]
            both = 0
            for w in range(sites.shape[1]):
                both += popcount(sites[i, w] & sites[j, w])
            q = counts[i] / n
            covariance = both / n - p * q
            if covariance * covariance > max_r2 * p * (1 - p) * q * (1 - q):
                independent = False
                break
        if independent:
            kept[n_kept] = j
            n_kept += 1
    return kept[:n_kept].copy()


def thinned_sites(
    packed: NDArray[np.uint64], n_haplotypes: int, max_r2: float
) -> NDArray[np.int64]:
    """Polymorphic sites, chosen from the left, in pairwise r² of at most `max_r2`: (n,) int64.

    `packed` holds alternate alleles as bits, a row per site: (n_sites, n_words) uint64. A site
    is compared with the 64 kept before it (PLINK's --indep-pairwise compares within a window
    likewise).
    """
    counts = np.bitwise_count(packed).sum(axis=1, dtype=np.int64)
    return np.asarray(_thin(packed, counts, n_haplotypes, _REACH, max_r2))


def packed_sites(
    data: Cohorts, panels: tuple[Panel, ...], sites: NDArray[np.int64], flip: NDArray[np.bool_]
) -> NDArray[np.uint64]:
    """Alternate alleles of panels' haplotypes as bits, a row per compared site of `sites`.

    Reference alleles where `flip` is true: (n_sites,) bool. Bits past the last haplotype are 0:
    (n_sites, n_words) uint64.
    """
    n_words = -(-sum(panel.n_haplotypes for panel in panels) // 64)
    packed = np.empty((sites.size, n_words), np.uint64)
    for low in range(0, sites.size, _BLOCK_SITES):
        block = slice(low, low + _BLOCK_SITES)
        flipped = flip[block][:, None].astype(np.int8)
        alleles = [data.at(panel, sites[block]).T ^ flipped for panel in panels]
        packed[block] = pack_bits(np.concatenate(alleles, axis=1))
    return packed


def real_thinned_sites(data: Cohorts, max_r2: float) -> NDArray[np.int64]:
    """Sites in linkage equilibrium among all real people together, which favours neither side."""

    def of_contig(part: Cohorts) -> NDArray[np.int64]:
        n_sites = int(part.sites.sum())
        blocks = [
            pack_bits(
                np.concatenate(
                    [
                        part.alleles(panel, low, min(low + _BLOCK_SITES, n_sites))
                        for panel in (part.train, part.holdout)
                    ],
                    axis=1,
                )
            )
            for low in range(0, n_sites, _BLOCK_SITES)
        ]
        n = part.train.n_haplotypes + part.holdout.n_haplotypes
        return thinned_sites(np.concatenate(blocks), n, max_r2)

    def make() -> NDArray[np.int64]:
        chosen, start = [], 0
        for part, _ in data.contigs(data.train):
            chosen.append(of_contig(part) + start)
            start += int(part.sites.sum())
        return np.concatenate(chosen)

    return data.remember(f"thinned {max_r2:g}", (data.train, data.holdout), make)


def folds(panel: Panel, n_folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A fold for each person, 0 to `n_folds` - 1, of equal sizes within one, by population."""
    order = rng.permutation(panel.n_samples)
    order = order[np.argsort(panel.population[order], kind="stable")]
    assigned = np.empty(panel.n_samples, np.int64)
    assigned[order] = np.arange(panel.n_samples) % n_folds
    return assigned


def smoothed(counts: NDArray[np.int64], n_haplotypes: int) -> NDArray[np.float64]:
    """Frequencies of alternate alleles counted, half a count of each added: never 0 or 1."""
    return np.asarray((counts + 0.5) / (n_haplotypes + 1))


def likelihood_ratios(
    alleles: NDArray[np.int8], pool: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log likelihood ratio of each haplotype, drawn from the pool against from the reference.

    Sum over sites of x log(p / q) + (1 - x) log((1 - p) / (1 - q)), x the allele, p the pool's
    frequency, q the reference's: Sankararaman et al. (2009), sites taken as independent.

    Parameters
    ----------
    alleles : (n, n_sites) int8
    pool, reference : (n_sites,) float64
        Between 0 and 1, both excluded.

    Returns
    -------
    (n,) float64
    """
    absent = np.log((1 - pool) / (1 - reference))
    present = np.log(pool / reference) - absent
    scores = np.empty(alleles.shape[0])
    for rows in _row_blocks(alleles):
        scores[rows] = alleles[rows].astype(np.float64) @ present
    return np.asarray(scores + absent.sum())


def _row_blocks(matrix: NDArray[np.int8]) -> Iterator[slice]:
    """Yield rows whose floats are 4 MiB, which a processor's cache holds."""
    step = max(1, _BLOCK_FLOATS // max(1, matrix.shape[1]))
    for low in range(0, matrix.shape[0], step):
        yield slice(low, low + step)


def homer_statistics(
    dosages: NDArray[np.int8],
    ploidy: int,
    pool: NDArray[np.float64],
    reference: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Homer's T of each person: mean over sites of D over its standard error.

    D = |y - q| - |y - p| with y the person's own allele frequency at a site (dosage over
    ploidy): Homer et al. (2008), equation 1 and T(Y). 0 where D doesn't vary.

    Parameters
    ----------
    dosages : (n, n_sites) int8
    pool, reference : (n_sites,) float64

    Returns
    -------
    (n,) float64
    """
    total, squares = np.zeros((2, dosages.shape[0]))
    for dosage in range(ploidy + 1):
        own = dosage / ploidy
        d = np.abs(own - reference) - np.abs(own - pool)
        for rows in _row_blocks(dosages):
            carriers = (dosages[rows] == dosage).astype(np.float64)
            total[rows] += carriers @ d
            squares[rows] += carriers @ (d * d)
    n_sites = dosages.shape[1]
    mean = total / n_sites
    variance = np.maximum(squares / n_sites - mean**2, 0.0) / n_sites
    return np.where(variance > 0, mean / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)


def centred(
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    member_labels: NDArray[np.str_],
    other_labels: NDArray[np.str_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores minus their population's mean over members and non-members together.

    Takes ancestry out of a score. The mean doesn't know who is a member, so that scores
    stay exchangeable where membership tells nothing.
    """
    scores = np.concatenate([members, others])
    _, group = np.unique(np.concatenate([member_labels, other_labels]), return_inverse=True)
    means = np.bincount(group, scores) / np.bincount(group)
    scores = scores - means[group]
    return scores[: members.size], scores[members.size :]


def haplotype_pairs(data: Cohorts, panel: Panel) -> Between:
    """Real haplotypes and synthetic ones compared, kept for this process."""
    return data.remember(
        "haplotype pairs",
        (panel, data.synthetic),
        lambda: between(data.packed(panel), data.packed(data.synthetic), panel.ploidy),
    )


def people_pairs(data: Cohorts, panel: Panel) -> ClosestPeople:
    """Real people and synthetic ones (rows 2i and 2i + 1) compared, kept for this process."""
    return data.remember(
        "people pairs",
        (panel, data.synthetic),
        lambda: closest_people(data.dosages(panel), data.dosages(data.synthetic)),
    )


def paired(distances: NDArray[np.int64], ploidy: int) -> NDArray[np.int64]:
    """Distances of people to people, of their haplotypes': (n * ploidy, m * ploidy) to (n, m).

    Those of their haplotypes together, laid side by side as fits best.
    """
    if ploidy == 1:
        return distances
    n, m = (size // ploidy for size in distances.shape)
    apart = distances.reshape(n, ploidy, m, ploidy)
    ways = [
        np.sum([apart[:, i, :, j] for i, j in enumerate(order)], axis=0)
        for order in permutations(range(ploidy))
    ]
    return np.asarray(np.minimum.reduce(ways))


def copy_distances(data: Cohorts, panel: Panel) -> Scores:
    """Distances of a person's haplotypes to the nearest synthetic one, and of the person.

    (n_samples, ploidy + 1) float64, in sites; the last is that of all haplotypes together to
    those of the nearest synthetic person (`paired`).
    """

    def make() -> Scores:
        rows, ploidy = data.packed(panel), panel.ploidy
        columns = np.ascontiguousarray(data.packed(data.synthetic).T)
        nearest = np.empty((panel.n_samples, ploidy + 1))
        for low in range(0, panel.n_samples, _BLOCK_PEOPLE):
            n = min(_BLOCK_PEOPLE, panel.n_samples - low)
            apart = block(rows, columns, low * ploidy, n * ploidy)
            nearest[low : low + n, :ploidy] = apart.min(axis=1).reshape(n, ploidy)
            nearest[low : low + n, ploidy] = paired(apart, ploidy).min(axis=1)
        return nearest

    return data.remember("copy distances", (panel, data.synthetic), make)


def _nearest(data: Cohorts, panel: Panel) -> list[Scores]:
    """Distances of a person's haplotypes to the nearest synthetic one, the least first, by contig.

    (n_samples, ploidy) float64 each, in sites; in order, so that equal people get equal scores to
    the bit. A synthetic person's chromosomes need have nothing to do with each other, and neither
    has the phase of one with another's.
    """
    return [
        np.sort(haplotype_pairs(*of).nearest.reshape(-1, panel.ploidy), axis=1).astype(np.float64)
        for of in data.contigs(panel)
    ]


def nearest_distances(data: Cohorts, panel: Panel) -> Scores:
    """Distances of a person's haplotypes to the nearest synthetic one, the least first.

    (n_samples, ploidy) float64, in sites; of a genome the sums over its contigs.
    """
    return np.asarray(np.sum(_nearest(data, panel), axis=0))


def closeness(data: Cohorts, panel: Panel) -> Scores:
    """Minus the mean over a person's haplotypes of log(1 + d), d as above: (n_samples,) float64.

    Of a genome the sum over its contigs: near on one alone counts.
    """
    return np.asarray(np.sum([-np.log1p(one).mean(axis=1) for one in _nearest(data, panel)], 0))


def nearest_people(data: Cohorts, panel: Panel) -> Scores:
    """Squared distance of dosages to the nearest synthetic person: (n_samples,) float64."""
    return people_pairs(data, panel).distances


def longest_tracts(data: Cohorts, panel: Panel) -> Scores:
    """Longest exact match of any of a person's haplotypes with a synthetic one.

    (n_samples,) float64, in sites; on any contig.
    """

    def of_contig(part: Cohorts, own: Panel) -> Scores:
        index = np.arange(part.sites.sum(), dtype=np.float64)[None]
        group = np.zeros(part.synthetic.n_haplotypes, np.int64)
        matches = matches_between(part, (part.synthetic, own), [group], 1, (index, index + 1))
        return np.asarray(matches.reshape(panel.n_samples, panel.ploidy).max(axis=1))

    def make() -> Scores:
        return np.asarray(np.max([of_contig(*of) for of in data.contigs(panel)], axis=0))

    return data.remember("longest tracts", (panel, data.synthetic), make)


def closest_kin(data: Cohorts, panel: Panel) -> Scores:
    """KING-robust kinship with the closest synthetic person: (n_samples,) float64."""
    return people_pairs(data, panel).kinship


def frequency_ratios(data: Cohorts, panel: Panel, max_r2: float = 0.1) -> Scores:
    """Log likelihood ratio of a person's haplotypes: synthetic frequencies against real ones.

    At sites in linkage equilibrium, the real frequencies those of training and held-out people
    together: what an attacker has who knows all candidates, and nothing of who was trained on.
    (n_samples,) float64.
    """

    def make() -> Scores:
        sites = real_thinned_sites(data, max_r2)
        at = np.flatnonzero(data.sites)[sites]
        counts = sum(one.allele_counts[0][at] for one in (data.train, data.holdout))
        real = smoothed(counts, data.train.n_haplotypes + data.holdout.n_haplotypes)
        pool = smoothed(data.synthetic.allele_counts[0][at], data.synthetic.n_haplotypes)
        ratios = likelihood_ratios(data.at(panel, sites), pool, real)
        return np.asarray(ratios.reshape(panel.n_samples, panel.ploidy).sum(axis=1))

    return data.remember(
        f"frequency ratios {max_r2:g}", (panel, data.synthetic, data.train, data.holdout), make
    )
