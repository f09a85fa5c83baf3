"""The temperature of samples: LD, distinct haplotypes, and what is left where they tell nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from haplobench.testing import example_panel
from haplobench_vae.calibration import USUAL, calibrate, distinct_words, r2_by_lag


@given(n=st.integers(3, 40), sites=st.integers(2, 30), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_r2_by_lag_is_numpys(n: int, sites: int, seed: int) -> None:
    haplotypes = np.random.default_rng(seed).integers(0, 2, (n, sites)).astype(np.int8)
    haplotypes[:2] = [[0], [1]]  # every site varies
    r2 = np.corrcoef(haplotypes.T) ** 2
    expected = [np.diagonal(r2, k).mean() for k in 2 ** np.arange(9) if k < sites]
    assert r2_by_lag(haplotypes) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_fixed_and_missing_alleles_give_no_ld() -> None:
    rng = np.random.default_rng(0)
    haplotypes = np.repeat(rng.integers(0, 2, (50, 1)), 3, axis=1).astype(np.int8)
    assert r2_by_lag(haplotypes) == pytest.approx([1, 1])
    haplotypes[:, 1] = 0
    assert r2_by_lag(haplotypes) == pytest.approx([0, 1])
    haplotypes[:, 1] = -1
    assert r2_by_lag(haplotypes) == pytest.approx([0, 1])


@given(n=st.integers(1, 250), sites=st.integers(1, 70), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_distinct_words_are_those_of_sets(n: int, sites: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    haplotypes = rng.integers(0, 2, (5, sites)).astype(np.int8)[rng.integers(0, 5, n)]
    missing = rng.random((n, sites)) < 0.01
    length, size = min(20, sites), min(100, n)
    known = np.where(missing, 0, haplotypes)
    expected = sum(
        len({row.tobytes() for row in known[group : group + size, first : first + length]})
        for group in range(0, n - size + 1, size)
        for first in range(0, sites - length + 1, length)
    )
    assert distinct_words(haplotypes, missing) == expected


def erring(seed: int, errors: Callable[[float], float]) -> Callable[[float], NDArray[np.int8]]:
    """Cohorts of the same kind of people, of whose alleles a share is flipped by temperature."""
    right = example_panel(n_samples=500, n_sites=200, seed=3).haplotypes
    rng = np.random.default_rng(seed)
    right = right[rng.permutation(1000)[:500]]
    level = rng.random(right.shape)

    def cohort(temperature: float) -> NDArray[np.int8]:
        wrong = level < errors(temperature)
        return np.where(wrong, 1 - right, right).astype(np.int8)

    return cohort


@pytest.mark.parametrize("wanted", [0.5, 0.7, 1.0])
def test_the_temperature_that_gives_real_errors_is_found(wanted: float) -> None:
    def errors(temperature: float) -> float:
        return 0.02 * temperature**2

    real = erring(1, errors)(wanted)
    found = calibrate(real, erring(2, errors))
    assert found is not None
    # A little nearer to the usual one than it should be.
    assert found.temperature == pytest.approx(wanted, abs=0.07)
    assert abs(found.ld_excess) < 0.03
    assert abs(found.distinct_excess) < 0.1
    assert not found.at_end


def test_where_samples_do_not_depend_on_it_the_temperature_is_the_usual_one() -> None:
    found = calibrate(erring(1, lambda _: 0)(1), erring(2, lambda _: 0.05))
    assert found is not None
    assert found.temperature == pytest.approx(USUAL)
    assert found.ld_excess < -0.05
    assert found.distinct_excess > 0.05
    assert not found.at_end


def test_the_end_of_what_is_tried_is_told() -> None:
    found = calibrate(erring(1, lambda _: 0)(1), erring(2, lambda t: 0.1 * t))
    assert found is not None
    assert found.temperature == 0.4
    assert found.at_end
    assert found.ld_excess < -0.05


def test_rare_sites_alone_tell_no_temperature() -> None:
    real = np.zeros((60, 30), np.int8)
    real[0] = 1
    assert calibrate(real, lambda _: real) is None
