"""Distances against scipy, expectations against enumeration and the hypergeometric law."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import hypergeom

from haplobench.data.bits import pack_bits
from haplobench.data.distances import difference_counts, nearest_within
from haplobench_privacy import distances

Haplotypes = NDArray[np.int8]


def hamming(a: Haplotypes, b: Haplotypes) -> NDArray[np.int64]:
    return np.rint(cdist(a, b, "hamming") * a.shape[1]).astype(np.int64)


@st.composite
def two_sets(draw: st.DrawFn) -> tuple[Haplotypes, Haplotypes]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_sites = draw(st.sampled_from([1, 2, 63, 64, 65, 130]))
    frequency = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    n, m = draw(st.integers(2, 11)), draw(st.integers(2, 9))
    drawn = (rng.random((n + m, n_sites)) < frequency).astype(np.int8)
    return drawn[:n], drawn[n:]


@settings(deadline=None, max_examples=80)
@given(two_sets())
def test_nearest_and_counts_are_scipys(sets: tuple[Haplotypes, Haplotypes]) -> None:
    a, b = sets
    x, y = pack_bits(a), pack_bits(b)
    across, within = hamming(a, b), hamming(a, a)
    np.fill_diagonal(within, a.shape[1] + 1)
    np.testing.assert_array_equal(distances.nearest(x, y), across.min(axis=1))
    np.testing.assert_array_equal(nearest_within(x), within.min(axis=1))
    pairs = distances.between(x, y, 2)
    np.testing.assert_array_equal(pairs.nearest, across.min(axis=1))
    np.testing.assert_array_equal(pairs.of_others, across.min(axis=0))
    people = np.arange(len(a)) // 2
    far = np.full((1, len(b)), 64 * x.shape[1] + 1)
    for column, owner in enumerate(pairs.owner):
        assert across[people == owner, column].min() == pairs.of_others[column]
        rest = np.concatenate([across[people != owner], far])[:, column]
        assert rest.min() == pairs.next_of_others[column]
    cut = 64 * (x.shape[1] // 2)
    near = []
    for one, other in ((a[:, :cut], b[:, :cut]), (a[:, cut:], b[:, cut:])):
        half = (one[:, None] != other[None]).sum(axis=2)
        near.append(half == half.min(axis=1, keepdims=True))
    np.testing.assert_array_equal(pairs.halves, [one.sum(axis=1) for one in near])
    np.testing.assert_array_equal(pairs.linked, (near[0] & near[1]).sum(axis=1))
    thresholds = within.min(axis=1)
    np.testing.assert_array_equal(
        distances.counts_within(x, y, thresholds),
        [(across < thresholds[:, None]).sum(axis=1), (across <= thresholds[:, None]).sum(axis=1)],
    )
    thresholds = across.min(axis=1)
    np.testing.assert_array_equal(
        distances.counts_within(x, None, thresholds),
        [(within < thresholds[:, None]).sum(axis=1), (within <= thresholds[:, None]).sum(axis=1)],
    )
    threshold = within.min(axis=1), cdist(b, b, "hamming").shape[0] * np.ones(len(b), np.int64)
    rows, others = distances.counts_between(x, y, *threshold)
    np.testing.assert_array_equal(rows[1], (across <= threshold[0][:, None]).sum(axis=1))
    np.testing.assert_array_equal(others[0], (across < threshold[1]).sum(axis=0))
    pairs = np.bincount(hamming(a, a)[np.triu_indices(len(a), 1)])
    np.testing.assert_array_equal(difference_counts(x), pairs)


@settings(deadline=None, max_examples=40)
@given(two_sets(), st.data())
def test_expected_nearest_is_the_mean_over_all_subsets(
    sets: tuple[Haplotypes, Haplotypes], data: st.DataObject
) -> None:
    a, b = sets
    size = data.draw(st.integers(1, len(b)))
    across = hamming(a, b)
    subsets = [across[:, list(chosen)].min(axis=1) for chosen in combinations(range(len(b)), size)]
    np.testing.assert_allclose(
        distances.expected_nearest(pack_bits(a), pack_bits(b), size),
        np.mean(subsets, axis=0),
        rtol=1e-10,
        atol=1e-10,
    )


def test_columns_longer_than_a_tile() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, (6, 200), np.int8)
    b = rng.integers(0, 2, (1500, 200), np.int8)
    np.testing.assert_array_equal(
        distances.nearest(pack_bits(a), pack_bits(b)), hamming(a, b).min(axis=1)
    )


@pytest.mark.parametrize(("total", "drawn"), [(1, 1), (10, 3), (10, 10), (400, 100)])
def test_absence_is_hypergeometric(total: int, drawn: int) -> None:
    k = np.arange(total + 1)
    np.testing.assert_allclose(
        distances.absence(total, drawn), hypergeom.pmf(0, total, k, drawn), atol=1e-12
    )
