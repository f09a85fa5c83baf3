"""Admixed people, their proportions and their painting, against dense matrices and scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from structured_people import reference

from haplobench import RecombinationMap
from haplobench_utility.admixture import admix, admixture_proportions, paint
from haplobench_utility.cohorts import morgans


def dense_posterior(
    target: NDArray[np.int8],
    references: NDArray[np.int8],
    groups: NDArray[np.int64],
    at: NDArray[np.float64],
    generations: float,
) -> NDArray[np.float64]:
    """The same model written out as full transition matrices, in float64."""
    n, n_groups = groups.size, int(groups.max()) + 1
    sizes = np.bincount(groups)
    theta = 1 / sum(1 / i for i in range(1, n))
    differing = theta / (2 * (theta + n))
    prior = 1 / (n_groups * sizes[groups])
    same = groups[:, None] == groups[None, :]

    def emission(site: int) -> NDArray[np.float64]:
        other = references[:, site]
        equal = np.where(other == target[site], 1 - differing, differing)
        return np.where((other < 0) | (target[site] < 0), 1.0, equal)

    def step(site: int) -> NDArray[np.float64]:
        d = at[site + 1] - at[site]
        anew, within = 1 - np.exp(-generations * d), 1 - np.exp(-40_000 * d / sizes[groups])
        move = np.diag((1 - anew) * (1 - within))
        move = move + same * ((1 - anew) * within / sizes[groups])[:, None]
        return move + anew * prior[None, :]

    n_sites = target.size
    forward = [prior * emission(0)]
    for site in range(1, n_sites):
        forward.append((forward[-1] @ step(site - 1)) * emission(site))
    backward = [np.ones(n)]
    for site in range(n_sites - 2, -1, -1):
        backward.insert(0, step(site) @ (emission(site + 1) * backward[0]))
    posterior = np.array([a * b for a, b in zip(forward, backward, strict=True)])
    posterior /= posterior.sum(axis=1, keepdims=True)
    return np.stack([posterior[:, groups == g].sum(axis=1) for g in range(n_groups)], axis=1)


def test_painting_equals_dense_matrices() -> None:
    rng = np.random.default_rng(3)
    references = rng.integers(0, 2, (9, 25)).astype(np.int8)
    references[2, 4] = -1
    targets = rng.integers(0, 2, (3, 25)).astype(np.int8)
    targets[1, 7:9] = -1
    groups = np.array([0, 1, 2, 2, 1, 0, 0, 2, 2])
    at = np.cumsum(rng.exponential(2e-5, 25))
    painted = paint(targets, references, groups, at, 300.0)
    for i, target in enumerate(targets):
        expected = dense_posterior(target, references, groups, at, 300.0)
        np.testing.assert_allclose(painted[i], expected, atol=2e-5)


def test_painting_of_one_site_and_one_haplotype_each() -> None:
    one = paint(
        np.array([[1]], np.int8), np.array([[1], [0]], np.int8), np.array([0, 1]), np.zeros(1), 9.0
    )
    assert one.shape == (1, 1, 2)
    assert one[0, 0, 0] > 0.5
    assert one.sum() == pytest.approx(1, abs=1e-6)


def test_proportions_are_the_likeliest() -> None:
    rng = np.random.default_rng(5)
    frequencies = rng.uniform(0.05, 0.95, (3, 400))
    truth = np.array([[0.6, 0.3, 0.1], [1.0, 0.0, 0.0], [0.2, 0.2, 0.6]])
    dosages = rng.binomial(2, truth @ frequencies).astype(np.int8)
    dosages[0, :20] = -1

    def cost(free: NDArray[np.float64], g: NDArray[np.int8]) -> float:
        p = np.clip(np.append(free, 1 - free.sum()) @ frequencies, 1e-9, 1 - 1e-9)
        known = g >= 0
        return -float((g[known] * np.log(p[known])).sum() + ((2 - g) * np.log(1 - p))[known].sum())

    q = admixture_proportions(dosages, 2, frequencies)
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-9)
    for own, g in zip(q, dosages, strict=True):
        best = minimize(
            cost,
            np.full(2, 1 / 3),
            args=(g,),
            method="SLSQP",
            bounds=[(0, 1)] * 2,
            constraints={"type": "ineq", "fun": lambda x: 1 - x.sum()},
        )
        assert cost(own[:2], g) <= best.fun + 1e-2
        np.testing.assert_allclose(own[:2], best.x, atol=1e-3)
    assert np.abs(q - truth).max() < 0.15


def test_who_has_no_allele_called_has_even_proportions() -> None:
    q = admixture_proportions(np.full((1, 5), -1, np.int8), 2, np.full((2, 5), 0.3))
    np.testing.assert_allclose(q, 0.5)
    assert admixture_proportions(np.empty((2, 0), np.int8), 2, np.empty((3, 0))).shape == (2, 3)


def test_admixed_people_are_pieces_of_the_populations_they_name() -> None:
    holdout = reference().holdout
    groups = np.where(holdout.superpopulation == "C", 1, 0)
    # Every allele says whose it is.
    whose = np.repeat(groups, 2)[:, None].repeat(holdout.n_sites, axis=1)
    marked = replace(holdout, haplotypes=whose.astype(np.int8))
    at = morgans(holdout, RecombinationMap.uniform(1, 400_000))
    mixed = admix(marked, groups, at, 1_000.0, 25, np.random.default_rng(2))
    np.testing.assert_array_equal(mixed.haplotypes, mixed.origin)
    changes = (np.diff(mixed.origin, axis=1) != 0).sum(axis=1)
    # Four changes are expected, each to the other population with a probability of 2 p (1 - p).
    assert 0.4 < changes.mean() < 4
    shares = mixed.proportions(2)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares[:, 1] * 2 * holdout.n_sites, mixed.dosages().sum(axis=1))


def test_without_a_map_a_centimorgan_is_a_megabase() -> None:
    holdout = reference().holdout
    at = morgans(holdout, None)
    np.testing.assert_allclose(np.diff(at), np.diff(holdout.positions) * 1e-8, rtol=1e-6)
