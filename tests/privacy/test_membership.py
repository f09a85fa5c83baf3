"""Attacks: shadow models against densities and planted gains, likelihood ratios against theory.

Densities and the classifier against scikit-learn; copies found, unseen people not accused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import pearsonr
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import KernelDensity

from haplobench import Measurement, MetricResult, Panel, Reference
from haplobench.testing import example_context, example_panel
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.evidence import real_thinned_sites
from haplobench_privacy.membership import (
    Calibration,
    by_density,
    by_frequencies,
    density_ratios,
    discriminator_scores,
    embedded,
    held_out_scores,
    threshold,
)
from haplobench_privacy.roc import auc
from haplobench_privacy.specs_attacks import DensityParams, LikelihoodParams


def shadows(
    n_people: int, n_shadows: int, gain: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features of people in complementary halves: a base of their own, a gain where in, noise."""
    fitted = np.empty((n_people, n_shadows), bool)
    for first in range(0, n_shadows, 2):
        half = rng.permutation(n_people) < n_people // 2
        fitted[:, first], fitted[:, first + 1] = half, ~half
    base = 10 * rng.normal(size=n_people)
    noise = rng.normal(size=(n_people, n_shadows))
    return (base[:, None] + gain[:, None] * fitted + noise)[None], fitted


def test_scores_are_ratios_of_normal_densities() -> None:
    rng = np.random.default_rng(0)
    centre, gain = rng.normal(size=(2, 3, 9))
    variance = rng.uniform(0.5, 2, 3)
    calibration = Calibration(centre, gain, variance)
    features = rng.normal(size=(3, 9))
    spread = np.sqrt(variance)[:, None]
    expected = stats.norm.logpdf(features, centre + gain / 2, spread)
    expected -= stats.norm.logpdf(features, centre - gain / 2, spread)
    np.testing.assert_allclose(calibration.scores(features), expected.sum(axis=0))


def test_calibration_finds_bases_gains_and_noise() -> None:
    rng = np.random.default_rng(1)
    features, fitted = shadows(2000, 8, np.full(2000, 1.5), rng)
    calibration = Calibration.fit(features, fitted)
    assert calibration.variance[0] == pytest.approx(1, rel=0.05)
    # Everybody's gain is one: what differs is chance, and shrunk away.
    assert calibration.gain.mean() == pytest.approx(1.5, abs=0.05)
    assert calibration.gain.std() < 0.15
    own = np.where(np.arange(2000) < 200, 8.0, 0.0)
    calibration = Calibration.fit(*shadows(2000, 8, own, rng))
    assert np.corrcoef(calibration.gain[0], own)[0, 1] > 0.95


def test_calibrated_scores_see_what_raw_features_do_not() -> None:
    """The theory's area, and a threshold whose false positive rate carries over."""
    rng = np.random.default_rng(2)
    n = 4000
    features, fitted = shadows(n, 18, np.full(n, 2.0), rng)
    cohort, inside = features[:, :, -1], fitted[:, -1]
    features, fitted = features[:, :, :-2], fitted[:, :-2]
    scores = Calibration.fit(features, fitted).scores(cohort)
    # Bases are known from 16 shadows, to a variance of 1/16.
    expected = stats.norm.cdf(2 / np.sqrt(1 + 1 / 16) / np.sqrt(2))
    assert auc(scores[inside], scores[~inside])[0] == pytest.approx(expected, abs=0.02)
    assert auc(cohort[0, inside], cohort[0, ~inside])[0] < 0.6
    seen, members = held_out_scores(features, fitted)
    at = threshold(seen[~members], 0.01)
    assert (scores[~inside] > at).mean() == pytest.approx(0.01, abs=0.007)
    rate = stats.norm.sf(stats.norm.isf(0.01) - 2 / np.sqrt(1 + 1 / 16))
    assert (scores[inside] > at).mean() == pytest.approx(rate, abs=0.06)


def test_without_a_leak_there_is_nothing() -> None:
    rng = np.random.default_rng(3)
    areas = []
    for _ in range(20):
        features, fitted = shadows(300, 10, np.zeros(300), rng)
        scores = Calibration.fit(features[:, :, :8], fitted[:, :8]).scores(features[:, :, 8])
        areas.append(auc(scores[fitted[:, 8]], scores[~fitted[:, 8]])[0])
    assert np.mean(areas) == pytest.approx(0.5, abs=0.03)


def test_few_shadows_give_no_threshold() -> None:
    features, fitted = shadows(20, 4, np.ones(20), np.random.default_rng(4))
    assert held_out_scores(features, fitted)[0].size == 0
    scores, inside = held_out_scores(*shadows(20, 6, np.ones(20), np.random.default_rng(4)))
    assert scores.size == inside.size == 120
    assert inside.sum() == 60


def test_at_most_the_rate_exceeds_the_threshold() -> None:
    scores = np.arange(1000.0)
    assert (scores > threshold(scores, 0.01)).mean() <= 0.01
    assert (np.zeros(7) > threshold(np.zeros(7), 0.01)).mean() == 0


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


def attack(reference: Reference, cohort: Panel, folder: Path) -> MetricResult:
    ctx = example_context(folder, reference.train)
    return by_density(reference, cohort, DensityParams(bootstraps=2), ctx)


def of(result: MetricResult, name: str) -> Measurement:
    one = result.measurements[name]
    assert isinstance(one, Measurement)
    return one


def test_density_ratios_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    real, synthetic = rng.normal(size=(40, 3)), rng.normal(size=(30, 3))

    def log_density(points: np.ndarray, at: np.ndarray) -> float:
        # Scott's bandwidth for 30 points of 3 dimensions.
        return float(KernelDensity(bandwidth=30 ** (-1 / 7)).fit(points).score_samples([at])[0])

    found = density_ratios(real, synthetic, 2)
    for i in range(40):
        others = np.delete(real, [i - i % 2, i - i % 2 + 1], axis=0)
        expected = log_density(synthetic, real[i]) - log_density(others, real[i])
        assert found[i] == pytest.approx(expected, abs=1e-9)


def test_components_are_scikit_learns(tmp_path: Path) -> None:
    panel = example_panel(120, n_sites=300, seed=3)
    people = np.arange(120)
    reference = Reference(panel.select_samples(people[:60]), panel.select_samples(people[60:90]))
    unseen = panel.select_samples(people[90:])
    data = cohorts(reference, unseen, 1000, example_context(tmp_path, reference.train))
    common = np.ones(300, bool)
    points, others = embedded(data, common, 5)
    sites = real_thinned_sites(data, 0.1)
    real = panel.haplotypes[:180][:, sites].astype(float)
    scaled = (real - real.mean(axis=0)) / real.std(axis=0)
    pca = PCA(5, whiten=True, svd_solver="full").fit(scaled)
    synthetic = (unseen.haplotypes[:, sites] - real.mean(axis=0)) / real.std(axis=0)
    for found, expected in ((points, pca.transform(scaled)), (others, pca.transform(synthetic))):
        assert found.shape[1] == 5
        for axis in range(5):
            r = pearsonr(found[:, axis], expected[:, 4 - axis]).statistic
            assert abs(r) > 0.9999


def test_the_discriminator_is_a_ridge_regression_of_the_other_folds() -> None:
    rng = np.random.default_rng(1)
    windows = rng.integers(4, size=(60, 5)) + 4 * np.arange(5)
    apart = np.arange(40) % 4
    found = discriminator_scores(windows, 40, 20, apart, 0.1)
    features = np.zeros((60, 20))
    np.put_along_axis(features, windows, 1, axis=1)
    for fold in range(4):
        rows = np.concatenate([np.flatnonzero(apart != fold), np.arange(40, 60)])
        target = np.where(rows < 40, -1.0, 1.0)
        ridge = Ridge(alpha=0.5, fit_intercept=False).fit(features[rows], target - target.mean())
        expected = ridge.predict(features[:40][apart == fold]) + target.mean()
        np.testing.assert_allclose(found[apart == fold], expected, atol=1e-4)


def test_copies_lie_dense_around_their_people(
    people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, _ = people
    copy = train.with_haplotypes(train.haplotypes[::-1].copy())
    found = attack(Reference(train, holdout), copy, tmp_path)
    for name in ("auc", "auc_discriminator"):
        assert (of(found, name).value or 0) > 0.7, name
        assert (of(found, name).p or 1) < 1e-6, name


def test_p_values_of_unseen_people_are_no_alarm(tmp_path: Path) -> None:
    panel = example_panel(130, n_sites=256, seed=9)
    rng = np.random.default_rng(10)
    p: dict[str, list[float]] = {"auc": [], "auc_discriminator": []}
    for _ in range(100):
        parts = np.split(rng.permutation(130), [50, 90])
        train, holdout, unseen = (panel.select_samples(part) for part in parts)
        found = attack(Reference(train, holdout), unseen, tmp_path)
        for name, values in p.items():
            value = of(found, name).p
            assert value is not None
            values.append(value)
    for name, values in p.items():
        assert np.mean(np.array(values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100), name


def test_no_common_site_says_so(tmp_path: Path) -> None:
    panel = example_panel(40, n_sites=60)
    rare = panel.with_haplotypes((np.arange(80)[:, None] == np.arange(60)).astype(np.int8))
    reference = Reference(
        rare.select_samples(np.arange(30)), rare.select_samples(np.arange(30, 40))
    )
    found = attack(reference, reference.train, tmp_path)
    assert "no site has a MAF of 0.05" in of(found, "auc").note
