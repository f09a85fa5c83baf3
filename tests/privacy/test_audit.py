"""The audit's bound: against the paper's formula, on mechanisms of known ε, and its controls."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from haplobench import Panel, PrivacyStatement, Reference
from haplobench.testing import example_context, example_panel
from haplobench_privacy.audit import audit, lower_bound, p_value, pairs
from haplobench_privacy.specs_attacks import AuditParams


@settings(deadline=None)
@given(st.data())
def test_p_values_are_the_theorems(data: st.DataObject) -> None:
    coins = data.draw(st.integers(1, 60))
    guesses = data.draw(st.integers(1, coins))
    right = data.draw(st.integers(1, guesses))
    epsilon, delta = data.draw(st.floats(0, 6)), data.draw(st.floats(0, 0.01))
    w = stats.binom(guesses, math.exp(epsilon) / (1 + math.exp(epsilon)))
    beta = 1 - w.cdf(right - 1)
    alpha = max((w.cdf(right - 1) - w.cdf(right - i - 1)) / i for i in range(1, coins + 1))
    expected = min(1.0, beta + 2 * coins * delta * alpha)
    assert p_value(right, guesses, coins, epsilon, delta) == pytest.approx(expected, abs=1e-9)


def test_pure_bounds_are_clopper_and_pearsons() -> None:
    for right, guesses in ((55, 60), (60, 60), (300, 400)):
        least = stats.binomtest(right, guesses, alternative="greater").proportion_ci(0.95).low
        expected = math.log(least / (1 - least))
        found = lower_bound(right, guesses, guesses, 0.0, 0.05, replaced=False)
        assert found == pytest.approx(expected, abs=1e-4)
        halved = lower_bound(right, guesses, guesses, 0.0, 0.05, replaced=True)
        assert halved == pytest.approx(expected / 2, abs=1e-4)
    assert lower_bound(30, 60, 60, 0.0, 0.05, replaced=False) == 0
    assert lower_bound(0, 0, 60, 0.0, 0.05, replaced=False) == 0


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 4.0])
def test_randomised_response_is_never_overstated(epsilon: float) -> None:
    """Each coin is told truly with e^ε / (1 + e^ε): exactly ε-DP, and the worst there is."""
    rng = np.random.default_rng(1)
    coins = 200
    truths = rng.binomial(coins, math.exp(epsilon) / (1 + math.exp(epsilon)), 2000)
    bound = {r: lower_bound(r, coins, coins, 0.0, 0.05, replaced=False) for r in set(truths)}
    bounds = np.array([bound[r] for r in truths])
    wrong = (bounds > epsilon).mean()
    assert wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
    if epsilon >= 0.5:
        assert np.median(bounds) > 0.4 * epsilon


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 2.0])
def test_pairs_of_one_in_and_one_out_are_never_overstated(epsilon: float) -> None:
    """Everybody's presence is told by randomised response, ε-DP for adding or removing one."""
    rng = np.random.default_rng(3)
    coins, truth = 150, math.exp(epsilon) / (1 + math.exp(epsilon))
    bounds = []
    for _ in range(400):
        inside, outside = rng.random((2, coins)) < np.array([[truth], [1 - truth]])
        margin = inside.astype(int) - outside.astype(int)
        right, guesses = int((margin > 0).sum()), int(np.count_nonzero(margin))
        bounds.append(lower_bound(right, guesses, coins, 0.0, 0.05, replaced=True))
    assert np.mean(np.array(bounds) > epsilon) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    if epsilon >= 1:
        assert np.median(bounds) > 0.5 * epsilon


def test_choosing_among_tests_is_paid_for() -> None:
    """Laplace noise on every coin, ε-DP; the best of several numbers of guesses is reported."""
    rng = np.random.default_rng(2)
    epsilon, coins = 1.0, 100
    shares = (1.0, 0.5, 0.25, 0.1)
    wrong = 0
    for _ in range(400):
        noisy = np.sign(rng.random(coins) - 0.5)
        margin = noisy * (noisy + rng.laplace(0, 2 / epsilon, coins))
        best = 0.0
        for share in shares:
            n = math.ceil(share * coins)
            right = int((margin[np.argsort(-np.abs(margin))[:n]] > 0).sum())
            level = 0.05 / len(shares)
            best = max(best, lower_bound(right, n, coins, 0.0, level, replaced=False))
        wrong += best > epsilon
    assert wrong / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


@given(st.integers(2, 200), st.floats(0, 0.001))
@settings(deadline=None, max_examples=40)
def test_bounds_grow_with_right_guesses_and_fall_with_delta(guesses: int, delta: float) -> None:
    bounds = [
        lower_bound(right, guesses, guesses, delta, 0.05, replaced=True)
        for right in range(0, guesses + 1, max(1, guesses // 7))
    ]
    assert (np.diff(bounds) >= -1e-7).all()
    assert bounds[-1] <= lower_bound(guesses, guesses, guesses, 0.0, 0.05, replaced=True) + 1e-7


def test_pairs_are_disjoint_and_of_one_population() -> None:
    train = np.repeat(["a", "b", "c"], [30, 4, 9])
    holdout = np.repeat(["a", "b", "d"], [10, 7, 2])
    members, others = pairs(train, holdout, np.random.default_rng(0))
    assert members.size == others.size == 14
    assert len(set(members)) == len(set(others)) == 14
    np.testing.assert_array_equal(train[members], holdout[others])


@pytest.fixture(scope="module")
def people() -> tuple[Panel, Panel, Panel]:
    panel = example_panel(450, n_sites=400, seed=21)
    parts = np.split(np.arange(450), [200, 300])
    train, holdout, unseen = (panel.select_samples(part) for part in parts)
    return train, holdout, unseen


def measured(
    people: tuple[Panel, Panel, Panel], cohort: Panel, folder: Path, claim: PrivacyStatement | None
) -> dict[str, float | None]:
    train, holdout, _ = people
    ctx = replace(example_context(folder, train), privacy_statement=claim)
    result = audit(
        Reference(train, holdout), train.with_haplotypes(cohort.haplotypes), AuditParams(), ctx
    )
    return {name: one.value for name, one in result.measurements.items()}  # type: ignore[union-attr]


CLAIM = PrivacyStatement(0.5, 1e-5, "person", "none", "none")


def test_a_copy_refutes_a_claim_and_unseen_people_do_not(
    people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    copy = measured(people, people[0], tmp_path, CLAIM)
    assert copy["epsilon_lower"] == pytest.approx(copy["epsilon_ceiling"], rel=0.1)
    assert copy["epsilon_lower"] > 1  # type: ignore[operator]
    assert copy["claim_refuted"] == 1
    unseen = measured(people, people[2], tmp_path, CLAIM)
    assert unseen["epsilon_lower"] == 0
    assert unseen["claim_refuted"] == 0
    assert measured(people, people[2], tmp_path, None)["claim_refuted"] is None
    boundless = replace(CLAIM, epsilon=math.inf)
    assert measured(people, people[0], tmp_path, boundless)["claim_refuted"] is None
    exchange = measured(people, people[0], tmp_path, replace(CLAIM, adjacency="replace"))
    assert exchange["epsilon_lower"] == pytest.approx(2 * copy["epsilon_lower"], rel=0.05)  # type: ignore[operator]
