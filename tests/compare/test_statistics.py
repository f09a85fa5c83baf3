"""Tests and corrections against scipy, closed forms and their defining properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import polygamma

from haplobench.compare.compare import _control_false_alarms
from haplobench.compare.model import Row
from haplobench.compare.statistics import (
    FAR,
    FIT,
    REAL,
    Lender,
    Likeness,
    Noise,
    Outcome,
    Spread,
    _inverse_trigamma,
    compare_numbers,
    detectable,
    lender,
    likeness,
    noise_of,
    ranks,
    student,
)
from haplobench.report.evidence import holm
from haplobench.results.description import SubmetricInfo
from haplobench.suite.schema import CompareSettings

SAMPLES = [
    np.random.default_rng(seed).normal(0.3, 1, size=(2, n)) for seed, n in enumerate((5, 7, 9))
]
FINITE = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)


def compared(base: object, head: object, confidence: float = 0.9, shift: int = 0) -> Outcome:
    """Two samples as the values of seeds, head's seeds `shift` further on."""
    sides = [
        {seed: {0: float(value)} for seed, value in enumerate(np.asarray(side), at)}
        for side, at in ((base, 0), (head, shift))
    ]
    number = SubmetricInfo("n", "Number", direction="lower")
    return compare_numbers(*sides, number, CompareSettings(confidence=confidence), timed=False)


@pytest.mark.parametrize("sample", SAMPLES)
def test_paired_is_scipys_paired_t_test(sample: np.ndarray) -> None:
    base, head = sample
    found = compared(base, head)
    expected = stats.ttest_rel(head, base)
    interval = expected.confidence_interval(0.9)
    assert (found.test, found.n_pairs) == ("paired", base.size)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("sample", SAMPLES)
def test_other_seeds_are_scipys_two_sample_t_test(sample: np.ndarray) -> None:
    base, head = sample
    found = compared(base, [*head, 0.1], shift=100)
    expected = stats.ttest_ind([*head, 0.1], base)
    interval = expected.confidence_interval(0.9)
    assert (found.test, found.n_pairs) == ("two-sample", 0)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_equal_differences_leave_no_doubt() -> None:
    certain = compared(np.zeros(5), np.full(5, 0.2))
    assert (certain.p_value, certain.low, certain.high) == (0, 0.2, 0.2)
    assert compared([0.1], [0.3]).p_value is None


def test_four_in_five_tests_find_what_is_detectable() -> None:
    """By the noncentral t, of which the sum of two quantiles is nearly the inverse."""
    for freedom in (2.0, 9.0, 30.0):
        seen = detectable(0.5, freedom, 0.01)
        power = stats.nct.sf(stats.t.isf(0.005, freedom), freedom, seen / 0.5)
        assert power == pytest.approx(0.8, abs=0.06)
    assert detectable(0.0, 4.0, 0.01) == 0


def test_ranks_of_separate_sides_have_the_p_value_of_one_arrangement() -> None:
    """Of the C(14, 7) arrangements of seven and seven, two are as extreme."""
    found = ranks([1, 2, 3, 4, 5, 6, 7], [11, 12, 13, 14, 15, 16, 17])
    assert found.p_value == pytest.approx(2 / math.comb(14, 7))
    assert found.difference == 10
    assert found.low is not None
    assert found.low > 0


@given(st.lists(FINITE, min_size=2, max_size=12), st.lists(FINITE, min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_swapping_sides_mirrors_ranks(base: list[float], head: list[float]) -> None:
    one, other = ranks(base, head), ranks(head, base)
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_value == pytest.approx(other.p_value, abs=1e-12)
    assert one.low is not None
    assert other.high is not None
    assert one.low == pytest.approx(-other.high, rel=1e-9, abs=1e-9)
    assert one.low <= one.difference <= (one.high or 0)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = {"student": 0, "ranks": 0}
    for _ in range(400):
        values = rng.normal(0.5, 1, 5)
        found = student(values.mean(), values.std(ddof=1) / 5**0.5, 4, 0.9)
        held["student"] += (found.low or 0) <= 0.5 <= (found.high or 0)
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
    strict, loose = np.array(holm(p_values)), stats.false_discovery_control(values)
    assert (strict >= loose - 1e-12).all()
    assert (loose >= values - 1e-12).all()
    assert (strict <= np.minimum(1, values * len(values)) + 1e-12).all()  # Bonferroni's
    order = np.argsort(values)
    assert (np.diff(strict[order]) >= -1e-12).all()
    assert (np.diff(loose[order]) >= -1e-12).all()


def test_noise_is_that_within_sides_within_seeds_and_of_the_floor() -> None:
    base = {1: {0: 1.0, 1: 3.0}, 2: {0: 4.0, 1: 6.0}}
    head = {1: {0: 2.0, 1: 2.0}}
    noise = noise_of(base, head, [[10.0, 11.0, 12.0]])
    # Means 2 and 5 of base: 4.5 by one degree of freedom; head has one seed.
    assert noise.seeds == Spread(4.5, 1)
    # Draws: squares 2, 2 and 0 by three degrees, halved for the mean of two draws.
    assert noise.draws == Spread(pytest.approx(4 / 3 / 2), 3)
    assert noise.floor == Spread(0.5, 2)
    assert noise.far == pytest.approx(11 - 3)
    assert noise_of(base, head, differences=[1.0, 3.0, 5.0]).seeds == Spread(2.0, 2)


def test_a_likeness_is_found_again() -> None:
    """Variances are 4 times their references, scaled inverse chi-squared of 6 degrees."""
    rng = np.random.default_rng(1)
    references = rng.lognormal(0, 3, 4000)
    truths = 4 * references * 6 / rng.chisquare(6, references.size)
    own = truths * rng.chisquare(2, references.size) / 2
    found = likeness(
        [(Spread(one, 2), Spread(lent, 9)) for one, lent in zip(own, references, strict=True)]
    )
    assert found is not None
    assert found.scale == pytest.approx(4, rel=0.1)
    assert found.freedom == pytest.approx(6, rel=0.25)
    assert likeness([(Spread(1.0, 2), Spread(1.0, 9))] * 19) is None


@pytest.mark.parametrize("at", [0.05, 0.7, 3.0, 200.0])
def test_inverse_of_the_trigamma_function(at: float) -> None:
    assert _inverse_trigamma(float(polygamma(1, at))) == pytest.approx(at, rel=1e-6)


def test_shrinkage_by_hand() -> None:
    shrunk = Likeness(2.0, 4.0).shrink(Spread(1.0, 2.0), Spread(5.0, 9.0))
    assert shrunk == Spread((4 * 2 * 5 + 2 * 1) / 6, 6)
    assert Likeness(2.0, 4.0).shrink(Spread(1.0, 2.0), Spread()) == Spread(1.0, 2.0)


def test_one_seed_borrows_from_draws_or_the_floor_and_from_how_far_it_is() -> None:
    nobody = Lender()
    assert nobody.lend(Noise()) == Spread()
    floor = Spread(2.0, 9)
    assert nobody.lend(Noise(floor=floor)) == Spread(2 * REAL**2, 9)
    assert nobody.lend(Noise(draws=Spread(3.0, 2), floor=floor)) == Spread(3 * FIT**2, 11)
    far = Noise(draws=Spread(3.0, 2), floor=floor, far=1000.0)
    assert nobody.lend(far).variance == pytest.approx((1000 * FAR) ** 2)


def test_numbers_of_one_generator_lend_to_one_that_two_seeds_make_look_calm() -> None:
    rng = np.random.default_rng(2)
    floor = Spread(1.0, 9)
    loud = [Noise(Spread(100 * rng.chisquare(2) / 2, 2), floor=floor) for _ in range(40)]
    calm = Noise(Spread(1e-3, 2), floor=floor)
    lent = lender([*loud, calm]).lend(calm)
    assert lent.variance > 10
    assert lent.freedom > 2
