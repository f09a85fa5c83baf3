"""Tests and corrections against scipy, closed forms and their defining properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from haplobench.compare.compare import _control_false_alarms
from haplobench.compare.model import Row
from haplobench.compare.statistics import (
    against_noise,
    holm,
    paired,
    ranks,
    two_sample,
)
from haplobench.suite.schema import CompareSettings

SAMPLES = [
    np.random.default_rng(seed).normal(0.3, 1, size=(2, n)) for seed, n in enumerate((2, 5, 9))
]
FINITE = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)


@pytest.mark.parametrize("sample", SAMPLES)
def test_paired_is_scipys_paired_t_test(sample: np.ndarray) -> None:
    base, head = sample
    found = paired(head - base, 0.9)
    expected = stats.ttest_rel(head, base)
    interval = expected.confidence_interval(0.9)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("sample", SAMPLES)
def test_two_sample_is_scipys_welch_test(sample: np.ndarray) -> None:
    base, head = sample[0][:-1] if sample.shape[1] > 2 else sample[0], sample[1] * 3
    found = two_sample(base, head)
    expected = stats.ttest_ind(head, base, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_one_value_a_side_is_judged_by_the_noise_given() -> None:
    """A difference of 3 with deviation 1 a side is t = 3 / √2."""
    found = against_noise(3.0, 1.0, 9.0)
    assert found.p_value == pytest.approx(2 * stats.t.sf(3 / math.sqrt(2), 9))


def test_equal_differences_leave_no_doubt() -> None:
    assert paired([0.0, 0.0, 0.0]).p_value == 1
    certain = paired([0.2, 0.2, 0.2])
    assert (certain.p_value, certain.low, certain.high) == (
        0,
        certain.difference,
        certain.difference,
    )
    assert paired([0.2]).p_value is None


def test_ranks_of_separate_sides_have_the_p_value_of_one_arrangement() -> None:
    """Of the C(14, 7) arrangements of seven and seven, two are as extreme."""
    found = ranks([1, 2, 3, 4, 5, 6, 7], [11, 12, 13, 14, 15, 16, 17])
    assert found.p_value == pytest.approx(2 / math.comb(14, 7))
    assert found.difference == 10
    assert found.low is not None
    assert found.low > 0


@given(st.lists(FINITE, min_size=2, max_size=12), st.lists(FINITE, min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_swapping_sides_mirrors_every_test(base: list[float], head: list[float]) -> None:
    n = min(len(base), len(head))
    differences = np.subtract(head[:n], base[:n])
    for one, other in (
        (paired(differences), paired(-differences)),
        (two_sample(base, head), two_sample(head, base)),
        (ranks(base, head), ranks(head, base)),
    ):
        assert one.difference == pytest.approx(-other.difference)
        assert one.p_value == pytest.approx(other.p_value, abs=1e-12)
        assert one.low is not None
        assert other.high is not None
        assert one.low == pytest.approx(-other.high, rel=1e-9, abs=1e-9)
        assert one.low <= one.difference <= (one.high or 0)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = {"paired": 0, "ranks": 0}
    for _ in range(400):
        found = paired(rng.normal(0.5, 1, 5), 0.9)
        held["paired"] += (found.low or 0) <= 0.5 <= (found.high or 0)
        found = ranks(rng.normal(0, 1, 8), rng.normal(0.5, 1, 8), 0.9)
        held["ranks"] += (found.low or 0) <= 0.5 <= (found.high or 0)
    for count in held.values():
        assert stats.binomtest(count, 400, 0.9).pvalue > 1e-4 or count > 360


@pytest.mark.parametrize(
    ("timed", "expected"), [(True, [0.02, 0.04, 0.04, 0.02]), (False, [0.03, 0.06, 0.06, 0.02])]
)
def test_times_are_corrected_after_benjamini_and_hochberg_and_all_else_after_holm(
    timed: bool, expected: list[float]
) -> None:
    """By hand: the ordered p-values times 4/1, 4/2, 4/3, 4/4; Holm's times 4, 3, 2, 1."""
    rows = [
        Row("chr20", "markov", "regressed", direction="lower", p_value=p, relative_threshold=timed)
        for p in (0.01, 0.04, 0.03, 0.005)
    ]
    corrected, _ = _control_false_alarms(rows, CompareSettings(alpha=0.035))
    assert [row.q_value for row in corrected] == pytest.approx(expected)
    assert [row.status for row in corrected] == ["regressed", "unchanged", "unchanged", "regressed"]


def test_holm_by_hand() -> None:
    """Four tests: the least times 4, the next times 3, never less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_corrections_keep_the_order_and_holm_is_the_stricter(p_values: list[float]) -> None:
    values = np.array(p_values)
    strict, loose = holm(values), stats.false_discovery_control(values)
    assert (strict >= loose - 1e-12).all()
    assert (loose >= values - 1e-12).all()
    assert (strict <= np.minimum(1, values * len(values)) + 1e-12).all()  # Bonferroni's
    order = np.argsort(values)
    assert (np.diff(strict[order]) >= -1e-12).all()
    assert (np.diff(loose[order]) >= -1e-12).all()
