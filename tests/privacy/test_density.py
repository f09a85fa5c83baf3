"""Attacks by density against scikit-learn; copies found, unseen people not accused."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import KernelDensity

from haplobench import Measurement, MetricResult, Panel, Reference
from haplobench.testing import example_context, example_panel
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.density import by_density, density_ratios, discriminator_scores, embedded
from haplobench_privacy.evidence import real_thinned_sites
from haplobench_privacy.specs.candidates import DensityParams


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
