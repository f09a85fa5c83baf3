"""Kinship between people by the KING-robust estimator (Manichaikul et al. 2010)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel
from haplobench_privacy.cohorts import Cohorts

# Least kinship of a duplicate, of first- and of second-degree relatives: 2^-1.5, 2^-2.5, 2^-3.5.
DEGREES = {"duplicate": 0.3535534, "first": 0.1767767, "second": 0.0883883}
UNRELATED = -np.inf
_BLOCK_SITES = 4096
_BLOCK_PEOPLE = 1024


def dosages(data: Cohorts, panel: Panel) -> NDArray[np.int8]:
    """Alternate alleles per person at the compared sites: (n_samples, n_sites) int8."""
    n_sites = int(data.sites.sum())
    counted = np.empty((panel.n_samples, n_sites), np.int8)
    for low in range(0, n_sites, _BLOCK_SITES):
        alleles = data.alleles(panel, low, min(low + _BLOCK_SITES, n_sites))
        people = alleles.reshape(alleles.shape[0], panel.n_samples, panel.ploidy)
        counted[:, low : low + alleles.shape[0]] = people.sum(axis=2, dtype=np.int8).T
    return counted


def king(a: NDArray[np.int8], b: NDArray[np.int8]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """KING-robust kinship of each person of `a` with each of `b`, in blocks of rows.

    1/2 - sum of (g - h)² / (4 min(heterozygous sites of either)), g and h the dosages: the
    between-family estimator of Manichaikul et al. (2010), as in PLINK 2's --make-king.

    Parameters
    ----------
    a, b : (n, n_sites), (m, n_sites) int8
        Diploid dosages 0, 1, 2.

    Yields
    ------
    (rows of `a`, (rows, m) float32)
        -inf where either person has no heterozygous site.
    """
    heterozygous = [np.count_nonzero(one == 1, axis=1).astype(np.float32) for one in (a, b)]
    for rows, distance in _squared_distances(a, b):
        least = np.minimum(heterozygous[0][rows, None], heterozygous[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.float32(0.5) - distance / (4 * least)
        yield rows, np.where(least > 0, found, np.float32(UNRELATED))


def _squared_distances(
    a: NDArray[np.int8], b: NDArray[np.int8]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Sum over sites of squared differences of dosages, in blocks of rows of `a`."""
    squares = [np.einsum("ij,ij->i", one, one, dtype=np.float32) for one in (a, b)]
    for low in range(0, a.shape[0], _BLOCK_PEOPLE):
        rows = slice(low, min(low + _BLOCK_PEOPLE, a.shape[0]))
        products = np.zeros((rows.stop - low, b.shape[0]), np.float32)
        # Sums of whole numbers under 2^24 are exact in single precision.
        for first in range(0, a.shape[1], _BLOCK_SITES):
            part = slice(first, first + _BLOCK_SITES)
            products += a[rows, part].astype(np.float32) @ b[:, part].astype(np.float32).T
        yield rows, squares[0][rows, None] + squares[1] - 2 * products


def nearest_genotypes(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    """Least sum of squared differences of dosages to any person of `b`: (n,) float64."""
    found = np.empty(a.shape[0])
    for rows, block in _squared_distances(a, b):
        found[rows] = block.min(axis=1)
    return found


def closest(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    """Kinship of each person of `a` with their closest relative in `b`: (n,) float64."""
    found = np.empty(a.shape[0])
    for rows, block in king(a, b):
        found[rows] = block.max(axis=1)
    return found
