"""Likelihood-ratio attacks against scipy, definitions and the theory's power."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from haplobench import Panel, Reference
from haplobench.data.panel import pack_bits
from haplobench.testing import example_context, example_panel
from haplobench_privacy.evidence import (
    centred,
    folds,
    homer_statistics,
    likelihood_ratios,
    thinned_sites,
)
from haplobench_privacy.membership import by_frequencies
from haplobench_privacy.specs.attacks import LikelihoodParams

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


def independent(n: int, frequencies: NDArray[np.float64], rng: np.random.Generator) -> Panel:
    alleles = (rng.random((2 * n, frequencies.size)) < frequencies).astype(np.int8)
    positions = 1000 * np.arange(1, frequencies.size + 1)
    return Panel(alleles, positions, "1", np.array([f"s{i}" for i in range(n)]))


def test_power_is_that_of_the_theory(tmp_path: Path) -> None:
    """Sankararaman et al. (2009): power rests on sites over people in pool and reference."""
    rng = np.random.default_rng(7)
    frequencies = rng.uniform(0.1, 0.9, 1500)
    n_train, n_holdout = 150, 300
    panel = independent(n_train + n_holdout, frequencies, rng)
    train = panel.select_samples(np.arange(n_train))
    holdout = panel.select_samples(np.arange(n_train, n_train + n_holdout))
    result = by_frequencies(
        Reference(train, holdout),
        train.with_haplotypes(train.haplotypes),
        LikelihoodParams(max_r2=1.0),
        example_context(tmp_path, train),
    )
    found = result.measurements
    # Of one haplotype the mean moves by m / n, the variance is m (1 / n + 1 / r).
    pool, reference = 2 * n_train, 2 * n_holdout * 4 / 5
    apart = np.sqrt(2 * 1500) / pool / np.sqrt(1 / pool + 1 / reference)
    expected = stats.norm.cdf(apart / np.sqrt(2))
    assert found["auc"].value == pytest.approx(expected, abs=0.04)  # type: ignore[union-attr]
    assert found["auc_homer"].value > 0.7  # type: ignore[union-attr, operator]
    assert found["auc_candidates"].value > found["auc"].value  # type: ignore[union-attr, operator]
    one = stats.norm.cdf(apart / 2)
    assert found["auc_haplotype"].value == pytest.approx(one, abs=0.04)  # type: ignore[union-attr]


def test_unseen_pools_tell_nothing_over_many_splits(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    areas = []
    for _ in range(25):
        panel = independent(180, rng.uniform(0.1, 0.9, 200), rng)
        train, holdout, unseen = (
            panel.select_samples(part) for part in np.split(np.arange(180), [80, 140])
        )
        result = by_frequencies(
            Reference(train, holdout),
            train.with_haplotypes(unseen.haplotypes),
            LikelihoodParams(bootstraps=2),
            example_context(tmp_path, train),
        )
        found = result.measurements
        areas.append([found[k].value for k in ("auc", "auc_candidates")])  # type: ignore[union-attr]
    means = np.mean(areas, axis=0)
    errors = np.std(areas, axis=0) / 5
    assert (np.abs(means - 0.5) < 3.5 * errors).all()
