"""The attack's statistics against scikit-learn and DeLong's definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from haplobench_privacy.roc import auc, roc

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
