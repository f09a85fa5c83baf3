"""What is charged, and what a federation claims by it."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import dp_accounting
import pytest
from dp_accounting import get_epsilon_gaussian
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from federation_fixture import fit, run
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant

from haplobench import BenchError, Panel, PrivacyCharge
from haplobench_federated.accounting import Accountant, Ledger, epsilon, noise_for

DELTA = 1 / 2003


# (noise multiplier, sampling rate, steps of a round) of each round.
SCHEDULES = {
    "equal rounds": [PrivacyCharge(1.0, 0.05, 10)] * 20,
    "two noises": [PrivacyCharge(1.2, 0.05, 10)] * 10 + [PrivacyCharge(0.9, 0.02, 5)] * 8,
    "frequencies first": [PrivacyCharge(8.0, 1.0, 1)] + [PrivacyCharge(1.5, 0.1, 20)] * 10,
    "large batches": [PrivacyCharge(4.0, 0.3, 25)] * 12,
}


def _loss_distribution() -> PLDAccountant:
    return PLDAccountant(value_discretization_interval=1e-3)


def _composed(
    accountant: dp_accounting.PrivacyAccountant, charges: list[PrivacyCharge], delta: float = DELTA
) -> float:
    steps: Counter[tuple[float, float]] = Counter()
    for charge in charges:
        steps[charge.noise_multiplier, charge.sampling_rate] += charge.steps
    for (noise, rate), n in steps.items():
        event = dp_accounting.GaussianDpEvent(noise)
        accountant.compose(dp_accounting.PoissonSampledDpEvent(rate, event), n)
    return float(accountant.get_epsilon(delta))


# Opacus takes the logarithm of 0 on its way where everybody is in the batch.
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_epsilon_is_that_of_opacus_and_of_dp_accounting(name: str, accountant: Accountant) -> None:
    charges = SCHEDULES[name]
    ledger = Ledger()
    for charge in charges:
        ledger.add(charge)
    found = ledger.epsilon(DELTA, accountant)

    theirs = PRVAccountant() if accountant == "prv" else RDPAccountant()
    for charge in charges:
        for _ in range(charge.steps):
            theirs.step(noise_multiplier=charge.noise_multiplier, sample_rate=charge.sampling_rate)
    other = _loss_distribution() if accountant == "prv" else RdpAccountant()
    assert found == pytest.approx(theirs.get_epsilon(DELTA), rel=0.01)
    assert found == pytest.approx(_composed(other, charges), rel=0.01)


def test_prv_is_not_below_dp_accountings_figure() -> None:
    for charges in SCHEDULES.values():
        # dp-accounting's is an upper bound too.
        theirs = _composed(_loss_distribution(), charges)
        assert epsilon(charges, DELTA, "prv") > theirs * 0.999


def test_epsilon_after_a_restart_is_that_of_an_unbroken_run() -> None:
    whole, broken = Ledger(), Ledger()
    for number in range(12):
        charge = PrivacyCharge(1.1, 0.04, 7)
        whole.add(charge)
        if number % 5 == 2:
            broken = Ledger.from_json(broken.to_json())
        broken.add(charge)
    assert broken.epsilon(DELTA, "prv") == whole.epsilon(DELTA, "prv")


def test_order_of_charges_does_not_matter() -> None:
    charges = SCHEDULES["two noises"]
    assert epsilon(charges, DELTA, "prv") == epsilon(charges[::-1], DELTA, "prv")


def test_no_noise_is_no_privacy_and_no_release_costs_nothing() -> None:
    for noise in (0.0, 1e-200):
        assert epsilon([PrivacyCharge(noise, 0.1, 1)], DELTA, "rdp") == math.inf
        assert epsilon([PrivacyCharge(noise, 0.1, 0)], DELTA, "prv") == 0
    assert epsilon([], DELTA, "prv") == 0


# Few people and much noise: delta alone covers more than is lost, and Opacus' conversions give
# less than 0 (Renyi), or ask for a negative number of samples (PRV).
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("delta", [1 / 2, 1 / 5, 1 / 48])
@pytest.mark.parametrize(
    "charge",
    [
        PrivacyCharge(50, 1.0, 4),
        PrivacyCharge(5, 1.0),
        PrivacyCharge(1, 0.1, 10),
        PrivacyCharge(1e4, 1.0),
        PrivacyCharge(30, 0.2, 3),
    ],
)
def test_what_delta_covers_alone_is_an_epsilon_of_0(delta: float, charge: PrivacyCharge) -> None:
    theirs = _composed(_loss_distribution(), [charge], delta)
    for accountant in ("prv", "rdp"):
        found = epsilon([charge], delta, accountant)
        assert theirs * 0.999 <= found
        # dp-accounting's own Renyi figure where there is one to spend.
        other = _composed(RdpAccountant(), [charge], delta)
        assert found <= other * 1.01 + 1e-3
    if not theirs:
        assert epsilon([charge], delta, "prv") == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("delta", [1e-6, 1e-10, 1e-14, 1e-300])
def test_deltas_too_small_for_prv_are_still_bounded(delta: float) -> None:
    charges = [PrivacyCharge(4.0, 1.0, 40)]
    found = epsilon(charges, delta, "prv")
    # The exact figure of a Gaussian mechanism (Balle & Wang 2018) is dp-accounting's.
    exact = get_epsilon_gaussian(4.0 / math.sqrt(40), delta)
    assert exact <= found <= epsilon(charges, delta, "rdp") <= 1.2 * exact


@pytest.mark.parametrize("noise", [1e6, 1e200, 1e300])
def test_more_noise_than_numbers_hold_is_bounded(noise: float) -> None:
    assert epsilon([PrivacyCharge(noise, 1.0)], 1e-6, "prv") < 0.01
    assert epsilon([PrivacyCharge(noise, 1.0)], 1 / 48, "prv") == 0


@settings(max_examples=15, deadline=None)
@given(
    st.floats(0.3, 20),
    st.lists(
        st.tuples(st.floats(0.4, 10), st.sampled_from([0.01, 0.1, 0.4, 1.0]), st.integers(1, 200)),
        min_size=1,
        max_size=5,
    ),
)
def test_a_budget_is_never_exceeded(
    budget: float, schedule: list[tuple[float, float, int]]
) -> None:
    ledger = Ledger()
    refused = 0
    for noise, rate, steps in schedule:
        charge = PrivacyCharge(noise, rate, steps)
        if ledger.epsilon(DELTA, "rdp", charge) <= budget:
            ledger.add(charge)
        else:
            refused += 1
            beyond = RDPAccountant()
            beyond.history = [
                (c.noise_multiplier, c.sampling_rate, c.steps) for c in [*ledger.charges, charge]
            ]
            assert beyond.get_epsilon(DELTA) > budget * (1 - 1e-9)
    oracle = RDPAccountant()
    oracle.history = [(c.noise_multiplier, c.sampling_rate, c.steps) for c in ledger.charges]
    assert oracle.get_epsilon(DELTA) <= budget * (1 + 1e-9)
    assert len(ledger.charges) + refused == len(schedule)


@settings(max_examples=4, deadline=None)
@given(st.floats(0.5, 10), st.floats(0.01, 0.5), st.integers(1, 300))
def test_the_noise_found_uses_the_budget_and_no_more(
    budget: float, rate: float, steps: int
) -> None:
    noise = noise_for(budget, DELTA, rate, steps, "rdp")
    assert epsilon([PrivacyCharge(noise, rate, steps)], DELTA, "rdp") <= budget
    assert epsilon([PrivacyCharge(noise * 0.99, rate, steps)], DELTA, "rdp") > budget


def test_what_was_spent_before_asks_for_more_noise() -> None:
    spent = (PrivacyCharge(5.0, 1.0),)
    fresh = noise_for(2.0, DELTA, 0.1, 50, "rdp")
    noise = noise_for(2.0, DELTA, 0.1, 50, "rdp", spent)
    assert noise > fresh
    assert epsilon([*spent, PrivacyCharge(noise, 0.1, 50)], DELTA, "rdp") <= 2.0


def test_nothing_left_is_said() -> None:
    with pytest.raises(BenchError, match="epsilon 0.5: no noise multiplier"):
        noise_for(0.5, DELTA, 0.1, 50, "rdp", (PrivacyCharge(0.5, 1.0),))


def test_the_statement_is_what_dp_accounting_says_of_the_rounds(
    tmp_path: Path, people: Panel
) -> None:
    fitted = fit(tmp_path, people, accountant="prv", frequencies="noised", frequencies_share=0.1)
    statement = fitted.privacy_statement()
    # A tenth of 1 / noise², that of the steps being rate² steps / noise².
    share = 1 / (0.2**2 * 6 / 9) ** 0.5
    charges = [PrivacyCharge(share, 1.0), PrivacyCharge(1.0, 0.2, 6)]
    assert statement.epsilon == pytest.approx(epsilon(charges, 1e-6, "prv"), abs=1e-6)
    assert (statement.unit, statement.delta, statement.n_records) == ("person", 1e-6, 48)
    assert set(statement.per_client) == {"client-0", "client-1", "client-2"}
    assert statement.noise_source == "entropy"
    assert statement.charges == tuple(
        PrivacyCharge(pytest.approx(one.noise_multiplier), one.sampling_rate, one.steps)
        for one in charges
    )
    assert statement.choices["allele frequencies at the start"] == "paid"
    assert statement.choices["MAF filter"].startswith("not covered")
    assert json.loads((tmp_path / "artifacts" / "privacy.json").read_text())["unit"] == "person"


def test_without_noise_nothing_is_claimed(tmp_path: Path, people: Panel) -> None:
    for changes in ({"privacy": "none"}, {"epsilon": math.inf, "noise_multiplier": None}):
        assert run(tmp_path, people, **changes).statement.epsilon == math.inf


def test_repeatable_noise_is_no_claim_for_whoever_has_the_seed(
    tmp_path: Path, people: Panel
) -> None:
    result = run(tmp_path, people, frequencies="half", repeatable_noise=True)
    statement = result.statement
    assert statement.noise_source == "seed"
    assert statement.epsilon == math.inf
    assert set(statement.per_client.values()) == {math.inf}
    nominal = epsilon([PrivacyCharge(1.0, 0.2, 6)], 1e-6, "rdp")
    said = f"for nobody but who has neither the seed nor a second run, epsilon is {nominal:.4g}"
    assert statement.mechanism.endswith(said)
    # Nor does the report of the federation hold an ε.
    assert {one["epsilon"] for one in result.report["clients"].values()} == {None}
    for cost in result.report["rounds"]:
        assert {client["epsilon"] for client in cost["clients"].values()} == {None}
    json.dumps(result.report, allow_nan=False)
    none = run(tmp_path / "none", people, privacy="none", repeatable_noise=True).statement
    assert (none.noise_source, none.epsilon, none.charges) == ("none", math.inf, ())
