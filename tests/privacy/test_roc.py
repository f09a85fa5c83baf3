"""The attack's statistics against scikit-learn and DeLong's definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score, roc_curve

from haplobench_privacy.roc import auc, auc_interval, curve, low_rate, roc

scores = st.lists(st.integers(-4, 4), min_size=2, max_size=30).map(
    lambda values: np.array(values, float)
)


@given(scores, scores)
def test_area_and_curve_are_scikit_learns(
    members: NDArray[np.float64], others: NDArray[np.float64]
) -> None:
    truth = np.r_[np.ones(members.size), np.zeros(others.size)]
    both = np.r_[members, others]
    area, _ = auc(members, others)
    assert area == pytest.approx(roc_auc_score(truth, both))
    false, true = roc(members, others)
    expected_false, expected_true, _ = roc_curve(truth, both, drop_intermediate=False)
    np.testing.assert_allclose(false, expected_false)
    np.testing.assert_allclose(true, expected_true)
    assert np.trapezoid(true, false) == pytest.approx(area)


@given(scores, scores)
def test_standard_error_is_delongs(
    members: NDArray[np.float64], others: NDArray[np.float64]
) -> None:
    wins = (members[:, None] > others) + 0.5 * (members[:, None] == others)
    variance = wins.mean(axis=1).var(ddof=1) / members.size
    variance += wins.mean(axis=0).var(ddof=1) / others.size
    assert auc(members, others)[1] == pytest.approx(np.sqrt(variance))


def test_standard_error_is_the_spread_of_repeats() -> None:
    rng = np.random.default_rng(0)
    repeats = [auc(rng.normal(0.5, 1, 80), rng.normal(0, 1, 60)) for _ in range(400)]
    areas, errors = np.array(repeats).T
    assert errors.mean() == pytest.approx(areas.std(), rel=0.15)


def test_error_of_clustered_scores_is_their_spread() -> None:
    """Two scores of one person go up and down together."""
    rng = np.random.default_rng(1)

    def people(n: int, mean: float) -> NDArray[np.float64]:
        own = rng.normal(mean, 1, n)
        return (own[:, None] + 0.3 * rng.normal(size=(n, 2))).ravel()

    repeats = [auc(people(60, 0.5), people(50, 0), 2) for _ in range(400)]
    areas, errors = np.array(repeats).T
    assert errors.mean() == pytest.approx(areas.std(), rel=0.15)


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.5])
def test_intervals_cover(apart: float) -> None:
    rng = np.random.default_rng(2)
    truth = norm.cdf(apart / np.sqrt(2))
    covered = []
    for _ in range(400):
        members, others = rng.normal(apart, 1, 60), rng.normal(0, 1, 40)
        low, high = auc_interval(*auc(members, others), 60, 40)
        assert 0 <= low <= high <= 1
        covered.append(low <= truth <= high)
    assert np.mean(covered) > 0.92


def test_a_perfect_area_has_a_lower_bound() -> None:
    low, high = auc_interval(1.0, 0.0, 200, 30)
    assert low == pytest.approx(binomtest(30, 30).proportion_ci(0.95).low)
    assert high == 1
    assert auc_interval(0.0, 0.0, 200, 30)[1] == pytest.approx(1 - 0.025 ** (1 / 30))


def test_rate_at_low_false_positives_and_its_interval() -> None:
    rng = np.random.default_rng(3)
    truth = norm.sf(norm.isf(0.01) - 2)
    rates = [low_rate(rng.normal(2, 1, 1500), rng.normal(0, 1, 1500), 60, rng) for _ in range(40)]
    assert np.mean([one.value or 0 for one in rates]) == pytest.approx(truth, abs=0.03)
    assert np.mean([(one.low or 0) <= truth <= (one.high or 0) for one in rates]) > 0.8
    assert np.mean([one.standard_error or 0 for one in rates]) == pytest.approx(
        np.std([one.value or 0 for one in rates]), rel=0.4
    )


def test_curves_for_figures_lie_on_the_curve() -> None:
    rng = np.random.default_rng(4)
    members, others = rng.normal(1, 1, 50), rng.normal(0, 1, 50)
    drawn = curve(members, others)
    assert np.trapezoid(drawn["true"], drawn["false"]) == pytest.approx(
        auc(members, others)[0], abs=0.01
    )
    assert drawn["false"][-1] == drawn["true"][-1] == 1
    assert (np.diff(drawn["true"]) >= 0).all()
