"""The Gaussian copula: frequencies exactly, correlations against scipy's bivariate normal."""

from __future__ import annotations

import numpy as np
import pytest
from peer_cases import clusters, context, fitted, panel, sampled
from scipy import stats

from haplobench.testing import example_panel
from haplobench_peers.copula import conditional, latent_correlations, nearest_correlation


@pytest.mark.parametrize("rho", [-0.8, -0.3, 0.0, 0.5, 0.95])
@pytest.mark.parametrize(("frequencies", "error"), [((0.5, 0.5), 1e-4), ((0.3, 0.4), 0.15)])
def test_correlations_of_latents(rho, frequencies, error):
    """The share of haplotypes with both alleles is the bivariate normal's distribution function."""
    low = stats.norm.ppf(frequencies)
    both = stats.multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf(low)
    n = 1_000_000
    counts = np.round(n * np.array([both, frequencies[0] - both, frequencies[1] - both]))
    counts = counts.astype(int)
    rows = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [*counts, n - counts.sum()], axis=0)
    estimate = latent_correlations(rows.astype(np.float32))[0, 1]
    assert estimate == pytest.approx(rho, abs=error)
    assert abs(estimate) <= abs(rho) + 1e-4


def test_a_correlation_matrix_stays_and_another_becomes_one():
    rng = np.random.default_rng(2)
    whole = np.corrcoef(rng.normal(size=(5, 8)) @ rng.normal(size=(8, 50)))
    assert np.allclose(nearest_correlation(whole, 5), whole, atol=2e-3)
    broken = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    mended = nearest_correlation(broken, 3)
    assert np.allclose(np.diagonal(mended), 1)
    assert np.linalg.eigvalsh(mended).min() > 0


def test_windows_follow_by_the_conditional_gaussian():
    """Without anything lost on the way, two windows have the covariance of the whole."""
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(6, 6))
    covariance = factors @ factors.T
    scale = 1 / np.sqrt(np.diagonal(covariance))
    correlation = covariance * scale * scale[:, None]
    _, _, before = conditional(correlation[:2, :2], 0, np.zeros((0, 0)))
    _, _, joint = conditional(correlation, 2, before)
    assert np.allclose(joint, correlation, atol=1e-6)


@pytest.mark.parametrize("window", [7, 64])
def test_frequencies_and_correlations_of_samples(window, tmp_path):
    alleles, _ = clusters(2000, 30)
    ctx = context(tmp_path)
    n = 8000
    drawn = sampled(fitted("pca-copula", panel(alleles), ctx, window=window), ctx, n)
    p = alleles.mean(axis=0)
    assert (np.abs(drawn.mean(axis=0) - p) / np.sqrt(p * (1 - p) / n)).max() < 4.5
    r_real, r = np.corrcoef(alleles.T), np.corrcoef(drawn.T)
    near = np.abs(np.subtract.outer(np.arange(30), np.arange(30))) <= 16
    assert np.corrcoef(r_real[near], r[near])[0, 1] > 0.93


def test_each_stratum_has_its_own(tmp_path):
    train = example_panel(n_samples=40, n_sites=40, populations=("YRI", "CEU"))
    ctx = context(tmp_path)
    model = fitted("pca-copula", train, ctx, within="population")
    n = 6000
    for label in ("YRI", "CEU"):
        p = train.haplotypes[train.haplotype_populations == label].mean(axis=0)
        drawn = sampled(model, ctx, n, np.full(n, label)).mean(axis=0)
        assert np.abs(drawn - p).max() < 4.5 * np.sqrt(0.25 / n)
        assert np.array_equal(drawn[p == 0], p[p == 0])
