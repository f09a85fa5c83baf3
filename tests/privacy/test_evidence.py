"""Evidence: likelihood ratios and Homer's statistic against scipy and their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from haplobench.data.bits import pack_bits
from haplobench.testing import example_panel
from haplobench_privacy.evidence import (
    centred,
    folds,
    homer_statistics,
    likelihood_ratios,
    thinned_sites,
)

SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_likelihood_ratios_are_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    alleles = rng.integers(0, 2, (7, 23)).astype(np.int8)
    pool, reference = rng.uniform(0.01, 0.99, (2, 23))
    expected = stats.bernoulli.logpmf(alleles, pool).sum(axis=1)
    expected -= stats.bernoulli.logpmf(alleles, reference).sum(axis=1)
    np.testing.assert_allclose(likelihood_ratios(alleles, pool, reference), expected, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_homers_statistic_is_the_t_of_his_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dosages = rng.integers(0, 3, (5, 40)).astype(np.int8)
    pool, reference = rng.uniform(0.01, 0.99, (2, 40))
    d = np.abs(dosages / 2 - reference) - np.abs(dosages / 2 - pool)
    # scipy's t divides by n - 1.
    expected = stats.ttest_1samp(d, 0, axis=1).statistic * np.sqrt(40 / 39)
    np.testing.assert_allclose(homer_statistics(dosages, 2, pool, reference), expected, rtol=1e-6)


def test_homers_statistic_of_nothing_is_none() -> None:
    same = np.full(10, 0.3)
    assert (homer_statistics(np.ones((2, 10), np.int8), 2, same, same) == 0).all()


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.05, 0.9))
def test_thinned_sites_are_in_equilibrium_and_no_other_could_stay(seed: int, max_r2: float) -> None:
    rng = np.random.default_rng(seed)
    founders = (rng.random((6, 50)) < 0.5).astype(np.int8)
    rows = founders[rng.integers(0, 6, 80)] ^ (rng.random((80, 50)) < 0.1)
    rows[:, 7] = 0
    kept = thinned_sites(pack_bits(np.ascontiguousarray(rows.T.astype(np.int8))), 80, max_r2)
    assert 7 not in kept
    with np.errstate(invalid="ignore"):
        r2 = np.corrcoef(rows.T.astype(float)) ** 2
    among = r2[np.ix_(kept, kept)] - np.eye(kept.size)
    assert among.max(initial=0) <= max_r2 + 1e-9
    for site in np.setdiff1d(np.arange(50), [*kept, 7]):
        assert r2[site, kept[kept < site]].max() > max_r2 - 1e-9


def test_folds_are_even_and_by_population() -> None:
    panel = example_panel(101, seed=1)
    found = folds(panel, 5, np.random.default_rng(0))
    assert sorted(np.bincount(found)) == [20, 20, 20, 20, 21]
    for name in np.unique(panel.population):
        assert np.ptp(np.bincount(found[panel.population == name], minlength=5)) <= 1


def test_centring_takes_ancestry_out_and_no_more() -> None:
    rng = np.random.default_rng(3)
    labels = np.array(["a", "b"])[rng.integers(0, 2, 300)]
    scores = rng.normal(size=300) + 100 * (labels == "b")
    a, b = centred(scores[:200], scores[200:], labels[:200], labels[200:])
    both = np.concatenate([a, b])
    for name in ("a", "b"):
        assert both[labels == name].mean() == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(
            np.diff(both[labels == name]), np.diff(scores[labels == name]), atol=1e-9
        )
