"""People who are in two panels, under whatever names: by genotypes, and by names."""

from __future__ import annotations

import math
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


def _spread(n: int) -> NDArray[np.int64]:
    """Some of `n` people, evenly spread; all where they are few."""
    return np.linspace(0, n - 1, min(n, _SAMPLE_PEOPLE)).round().astype(np.int64)


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
