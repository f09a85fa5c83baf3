"""Comparing people's genotypes, pair by pair: mismatches, and kinship by KING-robust."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Least kinship of a duplicate, of first- and of second-degree relatives: 2^-1.5, 2^-2.5, 2^-3.5.
DEGREES = {"duplicate": 0.3535534, "first": 0.1767767, "second": 0.0883883}
UNRELATED = -np.inf
_BLOCK_SITES = 4096
_BLOCK_PEOPLE = 1024

Dosages = NDArray[np.int8]
Numbers = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GenotypePairs:
    """How some people (`rows` of the one panel) compare with all of another's (m).

    Attributes
    ----------
    rows : slice
    called, mismatches, opposite : (rows, m) float32
        Sites called in both; of those, with other dosages; with opposite homozygotes.
    heterozygous : (rows, m) float32
        Of the called, sites heterozygous in the person with fewer such.
    """

    rows: slice
    called: Numbers
    mismatches: Numbers
    opposite: Numbers
    heterozygous: Numbers

    def __add__(self, other: GenotypePairs) -> GenotypePairs:
        """The same pairs over two sets of sites; `heterozygous` is then a lower bound."""
        return GenotypePairs(
            self.rows,
            self.called + other.called,
            self.mismatches + other.mismatches,
            self.opposite + other.opposite,
            self.heterozygous + other.heterozygous,
        )

    @property
    def kinship(self) -> Numbers:
        """KING-robust kinship, see `king`: (rows, m) float32."""
        return _kinship(self.mismatches + 3 * self.opposite, self.heterozygous)


def compare_genotypes(a: Dosages, b: Dosages) -> Iterator[GenotypePairs]:
    """Compare each person of `a` with each of `b`, in blocks of rows of `a`.

    Parameters
    ----------
    a, b : (n, n_sites), (m, n_sites) int8
        Diploid dosages 0, 1, 2, or -1 where missing.
    """
    one, other = _Genotypes(a), _Genotypes(b)
    for rows in _row_blocks(a):
        heterozygous = _heterozygous(one, other, rows)
        # A heterozygote beside a homozygote differs by one, opposite homozygotes by two.
        single = heterozygous[0] + heterozygous[1]
        single -= 2 * _products(a[rows] == 1, b == 1)
        opposite = (_squared_distances(one, other, rows) - single) * np.float32(0.25)
        yield GenotypePairs(
            rows,
            _called(one, other, rows),
            single + opposite,
            opposite,
            np.minimum(*heterozygous),
        )


def king(a: Dosages, b: Dosages) -> Iterator[tuple[slice, Numbers]]:
    """KING-robust kinship of each person of `a` with each of `b`, in blocks of rows.

    1/2 - sum of (g - h)² / (4 min(heterozygous sites of either)), g and h the dosages, over the
    sites called in both: the between-family estimator of Manichaikul et al. (2010), as in
    PLINK 2's --make-king.

    Parameters
    ----------
    a, b : (n, n_sites), (m, n_sites) int8
        Diploid dosages 0, 1, 2, or -1 where missing.

    Yields
    ------
    (rows of `a`, (rows, m) float32)
        -inf where either person has no heterozygous site.
    """
    one, other = _Genotypes(a), _Genotypes(b)
    for rows in _row_blocks(a):
        least = np.minimum(*_heterozygous(one, other, rows))
        yield rows, _kinship(_squared_distances(one, other, rows), least)


@dataclass(frozen=True, eq=False)
class ClosestPeople:
    """Nearest people and closest relatives of two sets.

    Attributes
    ----------
    distances : (n,) float64
        Least sum of squared differences of dosages of each person of the first set to any of the
        second.
    kinship : (n,) float64
        KING-robust kinship of each person of the first set with their closest relative in the
        second, see `king`.
    of_others : (m,) float64
        The same of each person of the second set.
    """

    distances: NDArray[np.float64]
    kinship: NDArray[np.float64]
    of_others: NDArray[np.float64]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.distances.nbytes + self.kinship.nbytes + self.of_others.nbytes


def closest_people(a: Dosages, b: Dosages) -> ClosestPeople:
    """Compare each person of `a` with each of `b`, once for both sides."""
    distances, kinship = np.empty((2, a.shape[0]))
    of_others = np.full(b.shape[0], UNRELATED)
    one, other = _Genotypes(a), _Genotypes(b)
    for rows in _row_blocks(a):
        squared = _squared_distances(one, other, rows)
        distances[rows] = squared.min(axis=1)
        related = _kinship(squared, np.minimum(*_heterozygous(one, other, rows)))
        kinship[rows] = related.max(axis=1)
        np.maximum(of_others, related.max(axis=0), out=of_others)
    return ClosestPeople(distances, kinship, of_others)


class _Genotypes:
    """Dosages, and what is counted of each person alone."""

    def __init__(self, dosages: Dosages) -> None:
        self.dosages = dosages
        self.missing = bool((dosages < 0).any())
        self.known = np.maximum(dosages, 0) if self.missing else dosages
        self.squares = np.einsum("ij,ij->i", self.known, self.known, dtype=np.float32)
        self.heterozygous = np.count_nonzero(dosages == 1, axis=1).astype(np.float32)


def _row_blocks(a: Dosages) -> Iterator[slice]:
    for low in range(0, a.shape[0], _BLOCK_PEOPLE):
        yield slice(low, min(low + _BLOCK_PEOPLE, a.shape[0]))


def _products(a: NDArray[np.generic], b: NDArray[np.generic]) -> Numbers:
    """Sums over sites of products, (n, m): of whole numbers under 2^24, so they are exact."""
    total = np.zeros((a.shape[0], b.shape[0]), np.float32)
    for first in range(0, a.shape[1], _BLOCK_SITES):
        part = slice(first, first + _BLOCK_SITES)
        total += a[:, part].astype(np.float32) @ b[:, part].astype(np.float32).T
    return total


def _squared_distances(one: _Genotypes, other: _Genotypes, rows: slice) -> Numbers:
    """Sums, over sites called in both, of squared differences of dosages."""
    mine, theirs = one.known[rows], other.known
    left: Numbers = one.squares[rows, None]
    right: Numbers = other.squares[None]
    if other.missing:
        left = _products(mine * mine, other.dosages >= 0)
    if one.missing:
        right = _products(one.dosages[rows] >= 0, theirs * theirs)
    return left + right - 2 * _products(mine, theirs)


def _heterozygous(one: _Genotypes, other: _Genotypes, rows: slice) -> tuple[Numbers, Numbers]:
    """Sites called in both that are heterozygous in the one person, and in the other."""
    left: Numbers = one.heterozygous[rows, None]
    right: Numbers = other.heterozygous[None]
    if other.missing:
        left = _products(one.dosages[rows] == 1, other.dosages >= 0)
    if one.missing:
        right = _products(one.dosages[rows] >= 0, other.dosages == 1)
    return left, right


def _called(one: _Genotypes, other: _Genotypes, rows: slice) -> Numbers:
    """Sites called in both."""
    mine, theirs = one.dosages[rows], other.dosages
    if one.missing or other.missing:
        return _products(mine >= 0, theirs >= 0)
    return np.full((mine.shape[0], theirs.shape[0]), mine.shape[1], np.float32)


def _kinship(distance: Numbers, heterozygous: Numbers) -> Numbers:
    with np.errstate(divide="ignore", invalid="ignore"):
        kinship = np.float32(0.5) - distance / (4 * heterozygous)
    return np.where(heterozygous > 0, kinship, np.float32(UNRELATED))
