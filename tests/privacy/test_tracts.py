"""Longest matches by PBWT against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from haplobench_privacy import tracts


def brute(
    rows: NDArray[np.int8],
    group: NDArray[np.int64],
    n_groups: int,
    begins: NDArray[np.float64],
    ends: NDArray[np.float64],
) -> NDArray[np.float64]:
    queries = np.flatnonzero(group < 0)
    longest = np.zeros((begins.shape[0], queries.size, n_groups))
    for q, query in enumerate(queries):
        for row in np.flatnonzero(group >= 0):
            run = 0
            for site in range(rows.shape[1]):
                run = run + 1 if rows[query, site] == rows[row, site] else 0
                if run:
                    length = ends[:, site] - begins[:, site - run + 1]
                    cell = longest[:, q, group[row]]
                    longest[:, q, group[row]] = np.maximum(cell, length)
    return longest


@st.composite
def problems(
    draw: st.DrawFn,
) -> tuple[NDArray[np.int8], NDArray[np.int64], int, np.random.Generator]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, n_sites = draw(st.integers(2, 14)), draw(st.integers(1, 40))
    n_groups = draw(st.integers(1, 3))
    founders = (rng.random((3, n_sites)) < 0.5).astype(np.int8)
    rows = founders[rng.integers(0, 3, n)] ^ (rng.random((n, n_sites)) < 0.1)
    return rows.astype(np.int8), rng.integers(-1, n_groups, n), n_groups, rng


@settings(deadline=None, max_examples=100)
@given(problems(), st.integers(1, 200))
def test_longest_matches_are_brute_forces(
    problem: tuple[NDArray[np.int8], NDArray[np.int64], int, np.random.Generator], block: int
) -> None:
    rows, group, n_groups, rng = problem
    index = np.arange(rows.shape[1])
    positions = np.cumsum(rng.integers(1, 1000, index.size))
    begins, ends = np.array([index, positions], float), np.array([index + 1, positions + 1], float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracts, "_BLOCK_ALLELES", block)  # the state outlives a block of sites
        found = tracts.longest_matches(
            lambda low, high: np.ascontiguousarray(rows[:, low:high].T),
            index.size,
            group,
            n_groups,
            begins,
            ends,
        )
    np.testing.assert_array_equal(found, brute(rows, group, n_groups, begins, ends))


def test_the_longest_in_bp_may_be_another_than_the_longest_in_sites() -> None:
    rows = np.array([[0, 0, 0, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], np.int8)
    positions = np.array([10, 11, 12, 100, 900])
    begins = np.array([np.arange(5), positions], float)
    ends = np.array([np.arange(1, 6), positions + 1], float)
    found = tracts.longest_matches(
        lambda low, high: rows.T[low:high].copy(), 5, np.array([-1, 0, 1]), 2, begins, ends
    )
    np.testing.assert_array_equal(found[:, 0], [[2, 3], [801, 3]])
