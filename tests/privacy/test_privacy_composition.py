"""What several claims come to, against dp-accounting's own composition and closed forms."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, get_epsilon_gaussian
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from haplobench import PrivacyCharge, PrivacyStatement, compose_claims
from haplobench.plugin.privacy import either_claim, greatest_charges

DELTA = 1e-6


def claim(*charges: PrivacyCharge, epsilon: float = 8.0, delta: float = DELTA) -> PrivacyStatement:
    return PrivacyStatement(
        epsilon, delta, "person", "PRV", "Poisson", noise_source="entropy", charges=charges
    )


def theirs(charges: list[PrivacyCharge], delta: float) -> float:
    accountant = PLDAccountant(value_discretization_interval=1e-4)
    for charge in charges:
        event = PoissonSampledDpEvent(
            charge.sampling_rate, GaussianDpEvent(charge.noise_multiplier)
        )
        accountant.compose(event, charge.steps)
    return float(accountant.get_epsilon(delta))


@pytest.mark.parametrize(
    "fits",
    [
        [[PrivacyCharge(18.0, 1.0), PrivacyCharge(4.2, 1.0, 40)]] * 3,
        [[PrivacyCharge(4.0, 1.0, 40)], [PrivacyCharge(20.0, 1.0, 40)]],
        [[PrivacyCharge(1.0, 0.05, 200)]] * 2,
        [[PrivacyCharge(1.1, 0.1, 60), PrivacyCharge(12.0, 1.0)], [PrivacyCharge(6.0, 1.0, 20)]],
    ],
    ids=["seeds", "settings", "sampled", "mixed"],
)
def test_fits_of_known_charges_compose_as_dp_accounting_does(
    fits: list[list[PrivacyCharge]],
) -> None:
    total = compose_claims([claim(*charges) for charges in fits])
    expected = theirs([charge for charges in fits for charge in charges], DELTA)
    assert total.epsilon == pytest.approx(expected, rel=0.002)
    assert total.delta == DELTA
    assert "dp-accounting" in total.method


def test_full_batches_compose_as_the_one_gaussian_they_are() -> None:
    total = compose_claims([claim(PrivacyCharge(5.0, 1.0, 30))] * 4)
    exact = get_epsilon_gaussian(5.0 / math.sqrt(120), DELTA)  # Balle & Wang 2018
    assert exact <= total.epsilon == pytest.approx(exact, rel=1e-3)


def optimal(epsilon: float, delta: float, k: int) -> list[tuple[float, float]]:
    """(ε, δ) of k (ε, δ)-private mechanisms (Kairouz, Oh & Viswanath 2015, theorem 3.3)."""
    bounds = []
    for i in range(k // 2 + 1):
        lost = (
            sum(
                math.comb(k, j)
                * (math.exp((k - j) * epsilon) - math.exp((k - 2 * i + j) * epsilon))
                for j in range(i)
            )
            / (1 + math.exp(epsilon)) ** k
        )
        bounds.append(((k - 2 * i) * epsilon, 1 - (1 - delta) ** k * (1 - lost)))
    return bounds


@settings(max_examples=25, deadline=None)
@given(st.floats(0.02, 2), st.sampled_from([1e-7, 1e-6, 1e-4]), st.integers(2, 12))
def test_bare_claims_compose_optimally(epsilon: float, delta: float, k: int) -> None:
    total = compose_claims([claim(epsilon=epsilon, delta=delta)] * k)
    assert total.delta == pytest.approx((k + 1) * delta)
    assert total.epsilon <= k * epsilon * (1 + 1e-9)
    # The optimum at a greater delta is no greater; at the next smaller one, no smaller.
    points = optimal(epsilon, delta, k)
    below = [e for e, d in points if d <= total.delta]
    assert total.epsilon <= min(below) + 2e-3 * k
    above = [e for e, d in points if d > total.delta]
    assert not above or total.epsilon >= max(above) - 2e-3 * k


def test_a_bare_claim_beside_known_charges_is_bounded() -> None:
    known = claim(PrivacyCharge(5.0, 1.0, 30))
    total = compose_claims([known, claim(epsilon=1.0, delta=1e-7)])
    alone = get_epsilon_gaussian(5.0 / math.sqrt(30), DELTA)
    assert alone < total.epsilon <= alone + 1.0 + 0.01
    assert total.delta == pytest.approx(DELTA + 1e-7)


def test_one_fit_is_its_own_claim_and_none_is_nothing() -> None:
    one = compose_claims([claim(epsilon=3.0)])
    assert (one.epsilon, one.delta, one.method) == (3.0, DELTA, "PRV")
    assert compose_claims([]).epsilon == 0


def test_a_fit_without_a_bound_leaves_none() -> None:
    seeded = replace(claim(epsilon=math.inf), noise_source="seed")
    total = compose_claims([claim(), seeded])
    assert total.epsilon == math.inf
    assert "whoever has the seed" in total.method


def test_units_that_differ_do_not_compose() -> None:
    total = compose_claims([claim(), replace(claim(), unit="haplotype")])
    assert total.epsilon == math.inf
    assert "haplotype" in total.method
    assert "don't compose" in total.method


def test_without_the_library_all_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting.pld", None)
    total = compose_claims([claim(PrivacyCharge(5.0, 1.0, 30), epsilon=2.0)] * 3)
    assert (total.epsilon, total.delta) == (6.0, pytest.approx(3 * DELTA))
    assert "basic composition" in total.method


def test_who_is_in_one_of_two_is_charged_for_the_greater() -> None:
    first = (PrivacyCharge(10.0, 1.0), PrivacyCharge(4.1, 1.0, 40))
    second = (PrivacyCharge(9.0, 1.0), PrivacyCharge(4.2, 1.0, 40))
    assert greatest_charges([first, second]) == (
        PrivacyCharge(9.0, 1.0),
        PrivacyCharge(4.1, 1.0, 40),
    )
    # Steps that differ: the most of each noise, wherever it was.
    rounds = [[PrivacyCharge(1.0, 0.2, 2)] * 3, [PrivacyCharge(1.0, 0.2, 2)] * 2]
    assert greatest_charges(rounds) == (PrivacyCharge(1.0, 0.2, 6),)
    either = either_claim([claim(*first, epsilon=2.0), claim(*second, epsilon=3.0, delta=1e-5)])
    assert (either.epsilon, either.delta) == (3.0, 1e-5)
    assert either.charges == greatest_charges([first, second])
    assert either_claim([claim(*first), claim()]).charges == ()
