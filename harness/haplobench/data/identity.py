"""People of one panel in another: by genotypes and names, as copies, as nearest neighbours."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench.data.kinship import compare_genotypes
from haplobench.data.panel import Panel
from haplobench.data.relatives import (
    SAME_GENOTYPES,
    Pairs,
    compared_sites,
    find_relatives,
    genotypes,
)

_MOST_MISMATCHES = 0.05
"""Share of sites at which one person's genotypes may differ in two files under one name."""
_SAMPLE_PEOPLE = 600
_UNLIKELY = 1e-4
"""Chance of so many alike pairs among strangers, below which they are the same people."""
_RARE = 1e-2
"""The same of exact copies: of one person, at every site of a long region, it is far below."""


@dataclass(frozen=True, eq=False)
class SamePeople:
    """People of one panel who are in another as well.

    Attributes
    ----------
    pairs : (n, 2) int64
        Indices into the one and the other panel: a person of the one once, with somebody of
        the same name if there is one.
    kin : int
        Pairs of others who look like relatives, many more than by chance.
    """

    pairs: Pairs
    kin: int = 0


def same_people(one: Panel, other: Panel) -> SamePeople:
    """Find who is in both of two panels of the same sites, by genotypes and by names.

    Phase doesn't matter, nor do some missing calls or errors of typing. In a short region
    strangers have the same genotypes, too. Pairs by genotypes count where there are many more of
    them than by chance: than `find_relatives` expects, and than twice the rate of so alike
    pairs *within* each panel, where nobody is twice. Pairs of one name (`HG1`, `HG1_HG1` and
    `family_HG1` are one) count where most of them are alike, and people of other names much
    more seldom.
    """
    relatives = find_relatives(one, other)
    none = np.empty((0, 2), np.int64)
    sites, _ = compared_sites(one, other)
    if one.ploidy > 2 or not sites.size:
        return SamePeople(none)
    a, b = (genotypes(panel.select_sites(sites)) for panel in (one, other))
    named = _named(one.samples, other.samples)
    found = [_alike_by_name(a, b, named)]
    kin = 0
    for evidence in relatives.evidence:
        pairs = evidence.pairs
        if evidence.kind != SAME_GENOTYPES:
            chance = 0.05 if math.isnan(evidence.chance) else max(0.05, evidence.chance)
            if _at_least(pairs.shape[0], chance) < _UNLIKELY:
                kin = max(kin, pairs.shape[0])
        elif pairs.size:
            limit = float(_rates(a, b, pairs).max())
            chance = max(
                0.05, evidence.chance, 2 * a.shape[0] * b.shape[0] * _rate_within(a, b, limit)
            )
            if _at_least(pairs.shape[0], chance) < _UNLIKELY:
                found.append(pairs)
    pairs = np.concatenate(found)
    _, first = np.unique(pairs[:, 0], return_index=True)
    return SamePeople(pairs[first], kin)


def people_twice(panel: Panel) -> Pairs:
    """Pairs of a panel's people who have the same genotypes, if many more do than by chance.

    Nobody is looked for where no two are the same letter for letter. (n, 2) int64.
    """
    digests = [digest for digest in _people_digests(panel) if digest]
    if len(set(digests)) == len(digests):
        return np.empty((0, 2), np.int64)
    alike = [one for one in find_relatives(panel).evidence if one.kind == SAME_GENOTYPES]
    if alike and _at_least(alike[0].pairs.shape[0], max(0.05, alike[0].chance)) < _UNLIKELY:
        return alike[0].pairs
    return np.empty((0, 2), np.int64)


@dataclass(frozen=True, eq=False)
class ExactCopies:
    """What of a cohort equals, at every site, a haplotype or the genotypes of real people.

    Attributes
    ----------
    people : (n, 2) int64
        A person of the cohort, once, and a real one of the same genotypes, by index.
    haplotypes : int
        Haplotypes of the cohort that are real ones; 0 where either panel isn't phased.
    people_by_chance, haplotypes_by_chance : bool
        Whether so many different ones are no wonder among strangers.
    """

    people: Pairs
    haplotypes: int
    people_by_chance: bool
    haplotypes_by_chance: bool


def exact_copies(cohort: Panel, real: Panel, others: Panel | None = None) -> ExactCopies:
    """Find people and haplotypes of a cohort that are real ones at every site.

    Chance is what strangers show: `others` beside the real people, else these beside each
    other. Genotypes of two strangers are alike as often as there, or, since a few thousand
    pairs without such say little of a rare event, as 10 times the square of how often two
    haplotypes are: twice it where haplotypes pair at random, and more where populations
    differ. Panels are of the same sites; whoever lacks an allele equals nobody.
    """
    mine, theirs = _people_digests(cohort), _people_digests(real)
    places = {digest: i for i, digest in enumerate(theirs) if digest}
    found = [(i, places[digest]) for i, digest in enumerate(mine) if digest in places]
    alike = _chance_alike(theirs, None if others is None else _people_digests(others))
    copied, by_chance = 0, True
    if cohort.phased and real.phased:
        rows, known = _row_digests(cohort), _row_digests(real)
        beside = None if others is None else _row_digests(others)
        there = set(known) - {b""}
        copied = sum(digest in there for digest in rows)
        # Of a cohort's different ones: that it repeats itself is another fault.
        distinct = set(rows) - {b""}
        expected = len(distinct) * _share_seen(known, beside)
        by_chance = _at_least(max(1, len(distinct & there)), expected) >= _UNLIKELY
        alike = max(alike, 10 * _chance_alike(known, beside, smooth=1) ** 2)
    pairs = np.array(found, np.int64).reshape(-1, 2)
    n, expected = len({mine[i] for i, _ in found}), len(set(mine)) * len(set(theirs)) * alike
    no_wonder = n == 0 or _at_least(n, max(1e-12, expected)) >= _RARE
    return ExactCopies(pairs, copied, no_wonder, by_chance)


def _people_digests(panel: Panel) -> list[bytes]:
    """A digest of each person's dosages; empty where an allele is missing."""
    return [digest for _, block in panel.dosage_blocks() for digest in _digests(block)]


def _row_digests(panel: Panel) -> list[bytes]:
    """A digest of each haplotype; empty where an allele is missing."""
    return [digest for _, block in panel.haplotype_blocks() for digest in _digests(block)]


def _digests(rows: NDArray[np.int8]) -> list[bytes]:
    """A digest of each row; empty where an allele is missing."""
    return [
        b"" if row.min(initial=0) < 0 else hashlib.blake2b(row.tobytes(), digest_size=16).digest()
        for row in map(np.ascontiguousarray, rows)
    ]


def _chance_alike(real: list[bytes], others: list[bytes] | None, smooth: int = 0) -> float:
    """How often a row of the others is one of the real, or two of these are: a share of pairs."""
    counts = Counter(filter(None, real))
    if others is None:
        alike = sum(n * (n - 1) // 2 for n in counts.values())
        pairs = len(real) * (len(real) - 1) // 2
    else:
        alike = sum(counts[digest] for digest in others if digest)
        pairs = len(real) * len(others)
    return (alike + smooth) / (pairs + smooth) if pairs else 1.0


def _share_seen(real: list[bytes], others: list[bytes] | None) -> float:
    """Share of the others' rows that are among the real, or of these that are another's, too."""
    counts = Counter(filter(None, real))
    if others is None:
        seen, n = sum(count for count in counts.values() if count > 1), len(real)
    else:
        seen, n = sum(digest in counts for digest in others), len(others)
    return (seen + 1) / (n + 2)


@dataclass(frozen=True)
class Nearness:
    """Which of two panels a cohort's nearest neighbours are in.

    `near` is the share of stretches of the cohort's haplotypes (of people, where a panel isn't
    phased) whose nearest neighbour is in the first panel, `expected` what it would be if it were
    dealt at random who is in which; `p` is the chance of so large a share, 1 where it isn't
    larger than expected.
    """

    near: float
    expected: float
    p: float


_NEAR_ROWS, _NEAR_SITES, _STRETCHES, _DEALS = 600, 20_000, 20, 1_999


def nearness(cohort: Panel, first: Panel, second: Panel, seed: int) -> Nearness:
    """Ask whether a cohort is nearer to the first panel's people than to the second's.

    By the nearest neighbours of each of 20 stretches of the region, since a mosaic copies one
    person here and another there. A permutation test: people of each population are dealt anew
    to the two panels, as many as before. Of more than 600 haplotypes and 20,000 sites some are
    taken, evenly spread. A neighbour among several as near counts in parts.
    """
    phased = cohort.phased and first.phased and second.phased
    sites = _spread(cohort.n_sites, _NEAR_SITES)
    rows, *known = (
        (panel.haplotypes if phased else panel.dosages())[:, sites]
        for panel in (cohort, first, second)
    )
    rows = rows[_spread(rows.shape[0], _NEAR_ROWS)]
    n_people = first.n_samples + second.n_samples
    people = np.repeat(np.arange(n_people), cohort.ploidy if phased else 1)
    weights = np.zeros(n_people)
    everybody = np.concatenate(known)
    for stretch in np.array_split(np.arange(sites.size), min(_STRETCHES, sites.size)):
        for block in compare_genotypes(rows[:, stretch], everybody[:, stretch]):
            nearest = block.mismatches == block.mismatches.min(axis=1, keepdims=True)
            shares = (nearest / nearest.sum(axis=1, keepdims=True)).sum(axis=0)
            weights += np.bincount(people, shares, minlength=n_people)
    weights /= weights.sum()
    side = np.arange(weights.size) < first.n_samples
    labels = np.concatenate([first.population, second.population])
    strata = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    expected = float(sum(weights[s].sum() * side[s].mean() for s in strata))
    near = float(weights[side].sum())
    if near <= expected:
        return Nearness(near, expected, 1.0)
    rng = np.random.default_rng(seed)
    reached = 0
    for _ in range(_DEALS):
        dealt = sum(weights[rng.permutation(s)[: int(side[s].sum())]].sum() for s in strata)
        reached += dealt >= near - 1e-9
    return Nearness(near, expected, (reached + 1) / (_DEALS + 1))


def _named(one: NDArray[np.str_], other: NDArray[np.str_]) -> Pairs:
    """Pairs of people of one name, with or without their families': (n, 2) int64."""
    places: dict[str, int] = {}
    for i, name in enumerate(other.tolist()):
        places.setdefault(_person(name), i)
        places[name] = i
    pairs = [
        (i, places[key])
        for i, name in enumerate(one.tolist())
        if (key := next((key for key in (name, _person(name)) if key in places), None)) is not None
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _person(name: str) -> str:
    """A name without the family's before it: `HG1` of `HG1_HG1` and of `family_HG1`."""
    return name.rpartition("_")[2] or name


def _alike_by_name(a: NDArray[np.int8], b: NDArray[np.int8], named: Pairs) -> Pairs:
    """Those pairs of one name who are alike, if others are so much more seldom."""
    rates = _rates(a, b, named)
    alike = named[rates <= _MOST_MISMATCHES]
    # Where names are mere numbers, few of the pairs are alike, and those by chance.
    if 2 * alike.shape[0] <= named.shape[0]:
        return alike[:0]
    limit = float(rates[rates <= _MOST_MISMATCHES].max())
    rows, columns = (
        np.union1d(_spread(n), alike[:_SAMPLE_PEOPLE, side])
        for side, n in enumerate((a.shape[0], b.shape[0]))
    )
    close = sum(
        int((block.mismatches <= limit * block.called).sum())
        for block in compare_genotypes(a[rows], b[columns])
    )
    among = int((np.isin(alike[:, 0], rows) & np.isin(alike[:, 1], columns)).sum())
    others = max(1, rows.size * columns.size - among)
    chance = named.shape[0] * (max(0, close - among) + 0.5) / others
    return alike if _at_least(alike.shape[0], chance) < 10 * _UNLIKELY else alike[:0]


def _spread(n: int, most: int = _SAMPLE_PEOPLE) -> NDArray[np.int64]:
    """At most `most` of `n` things, evenly spread: indices; all where they are few."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)


def _rates(a: NDArray[np.int8], b: NDArray[np.int8], pairs: Pairs) -> NDArray[np.float64]:
    """Mismatches per site called in both, of pairs of people: (n,) float64; 1 without any."""
    rates = np.ones(pairs.shape[0])
    for i, (row, column) in enumerate(pairs.tolist()):
        called = (a[row] >= 0) & (b[column] >= 0)
        if 2 * called.sum() > called.size:
            rates[i] = np.count_nonzero(a[row][called] != b[column][called]) / called.sum()
    return rates


def _rate_within(a: NDArray[np.int8], b: NDArray[np.int8], limit: float) -> float:
    """Share of the pairs within either panel that mismatch at no more than `limit` of the sites."""
    close = total = 0
    for panel in (a, b):
        people = panel[_spread(panel.shape[0])]
        n = people.shape[0]
        alike = sum(
            int((block.mismatches <= limit * block.called).sum())
            for block in compare_genotypes(people, people)
        )
        close += (alike - n) // 2
        total += n * (n - 1) // 2
    return close / total if total else 0.0


def _at_least(n: int, expected: float) -> float:
    """Probability of `n` or more events where so many are expected (Poisson)."""
    term = log_sum = -expected
    for k in range(1, n):
        term += math.log(expected / k)
        log_sum = max(log_sum, term) + math.log1p(math.exp(-abs(log_sum - term)))
    return max(0.0, -math.expm1(min(0.0, log_sum)))
