"""Shadow models: scores against scipy's densities, gains learnt, thresholds that carry over."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from haplobench_privacy.membership import Calibration, held_out_scores, threshold
from haplobench_privacy.roc import auc


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
