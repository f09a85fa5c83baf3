"""Speed of the privacy metrics' kernels at the sizes of the main job."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from haplobench.data.bits import pack_bits
from haplobench.data.kinship import closest_people
from haplobench_privacy import distances
from haplobench_privacy.audit import lower_bound
from haplobench_privacy.criteria import Hidden
from haplobench_privacy.evidence import likelihood_ratios, smoothed, thinned_sites
from haplobench_privacy.leak_list import find_leaks
from haplobench_privacy.tracts import longest_matches

SIZES = {"chr1": (1_002, 4_006, 742), "chr20": (120, 480, 9_349)}


def haplotypes(n: int, n_sites: int, seed: int) -> NDArray[np.int8]:
    """Mosaics of 30 founders, so that matches are as long as among people."""
    rng = np.random.default_rng(seed)
    founders = (np.random.default_rng(0).random((30, n_sites)) < 0.2).astype(np.int8)
    switch = rng.random((n, n_sites)) < 0.005
    switch[:, 0] = True
    drawn = rng.integers(30, size=(n, n_sites))
    since = np.maximum.accumulate(np.where(switch, np.arange(n_sites), 0), axis=1)
    return founders[np.take_along_axis(drawn, since, axis=1), np.arange(n_sites)]


@pytest.mark.parametrize("size", SIZES)
def test_nearest(benchmark: Any, size: str) -> None:
    n, m, n_sites = SIZES[size]
    a, b = (pack_bits(haplotypes(k, n_sites, k)) for k in (n, m))
    distances.nearest(a[:8], b[:8])
    benchmark.extra_info["pairs"] = n * m
    benchmark(distances.nearest, a, b)


@pytest.mark.parametrize("size", SIZES)
def test_expected_nearest(benchmark: Any, size: str) -> None:
    n, m, n_sites = SIZES[size]
    a, b = (pack_bits(haplotypes(k, n_sites, k)) for k in (n, m))
    distances.expected_nearest(a[:8], b[:8], 4)
    benchmark(distances.expected_nearest, a, b, n)


@pytest.mark.parametrize("size", SIZES)
def test_longest_matches(benchmark: Any, size: str) -> None:
    n, m, n_sites = SIZES[size]
    alleles = np.ascontiguousarray(np.concatenate([haplotypes(k, n_sites, k) for k in (m, n)]).T)
    group = np.concatenate([np.arange(m) % 5, np.full(n, -1)])
    index = np.arange(n_sites, dtype=np.float64)
    measures = np.array([index, index * 300, index * 3e-4])
    benchmark(
        longest_matches,
        lambda low, high: alleles[low:high],
        n_sites,
        group,
        5,
        measures,
        measures + np.array([[1.0], [1.0], [0.0]]),
    )


# Haplotypes of a large panel, and sites of a region of some Mb.
LARGE = (4_000, 10_000)


@pytest.fixture(scope="module")
def large() -> NDArray[np.int8]:
    return haplotypes(*LARGE, 3)


def test_thinned_sites(benchmark: Any, large: NDArray[np.int8]) -> None:
    packed = pack_bits(np.ascontiguousarray(large.T))
    thinned_sites(packed[:50], LARGE[0], 0.1)
    benchmark.pedantic(thinned_sites, (packed, LARGE[0], 0.1), rounds=3)


def test_likelihood_ratios(benchmark: Any, large: NDArray[np.int8]) -> None:
    pool, reference = (
        smoothed(part.sum(axis=0, dtype=np.int64), part.shape[0])
        for part in (large[:2000], large[2000:])
    )
    benchmark.pedantic(likelihood_ratios, (large, pool, reference), rounds=3)


def test_kinship(benchmark: Any, large: NDArray[np.int8]) -> None:
    people = large.reshape(-1, 2, LARGE[1]).sum(axis=1, dtype=np.int8)
    benchmark.extra_info["pairs"] = people.shape[0] ** 2
    benchmark.pedantic(closest_people, (people, people[::-1]), rounds=3)


def test_hidden_alleles(benchmark: Any, large: NDArray[np.int8]) -> None:
    frequency = large.mean(axis=0)
    maf = np.minimum(frequency, 1 - frequency)
    drawn = Hidden.draw(maf, 100, 256, np.random.default_rng(0))
    drawn.guesses(large[:4], large[:4])
    benchmark.extra_info["guesses"] = 2000 * 100
    benchmark.pedantic(drawn.guesses, (large[:2000], large), rounds=3)


def test_leaks(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    train, holdout = rng.normal(size=(4, 2000)), rng.normal(size=(4, 500))
    benchmark.pedantic(find_leaks, (train, holdout), rounds=3)


def test_lower_bound(benchmark: Any) -> None:
    benchmark(lower_bound, 480, 500, 500, 1e-5, 0.01, replaced=True)
