"""Noise that clients share: what the sum holds, when a round is abandoned, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from federation_fixture import params, run
from flwr.app import Context, Message, RecordDict
from torch import nn

from haplobench import BenchError, Panel, PrivacyCharge
from haplobench.data.populations import Populations
from haplobench.testing import example_context
from haplobench_federated.accounting import epsilon
from haplobench_federated.deployment import HospitalApp
from haplobench_federated.federation import people_of, public_facts
from haplobench_federated.grid import InProcessGrid
from haplobench_federated.model import WindowCodeFamily
from haplobench_federated.secure_arithmetic import Quantisation
from haplobench_federated.shared_noise import (
    gradient_step,
    least_clients,
    misfit_of_frequencies,
    own_noise,
)
from haplobench_federated.training import LocalState, train_locally

SHARED: dict[str, Any] = {
    "clients": 4,
    "local_steps": 1,
    "sampling_rate": 1.0,
    "noise": "shared",
    # Few people make for much noise.
    "secure": {"kind": "secagg", "clipping_range": 16.0},
}


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()]).double()


def test_four_clients_take_the_step_of_one_with_all_the_people(
    tmp_path: Path, people: Panel
) -> None:
    plain: dict[str, Any] = {"privacy": "none", "local_steps": 1, "sampling_rate": 1.0}
    # Some coordinates' gradients are nearly 0, where Adam makes much of rounding.
    plain |= {"strategy": "fedavg", "optimiser": "sgd", "learning_rate": 0.25}
    one = flat(run(tmp_path / "one", people, clients=1, **plain).model)
    four = flat(run(tmp_path / "four", people, clients=4, **plain).model)
    start = flat(
        run(tmp_path / "still", people, clients=1, **plain | {"learning_rate": 1e-9}).model
    )
    assert float((four - one).norm()) < 1e-4 * float((one - start).norm())


def test_the_sum_of_four_clients_has_the_noise_that_is_claimed(
    tmp_path: Path, people: Panel
) -> None:
    shared = params(**SHARED, model={"window": 8, "codes": 32})
    populations = Populations.of(people)
    ctx = example_context(tmp_path, people, 0)
    facts = public_facts(people, shared, ctx, populations)
    total = torch.zeros(())
    for client, index in enumerate(np.array_split(np.arange(people.n_samples), [10, 18, 30])):
        mine = people_of(people.select_samples(index), populations)
        found = []
        for noise in (own_noise(shared, 3.0), 1e-9):
            model = WindowCodeFamily().build(facts, shared.training.model, 0)
            train_locally(
                model, mine, shared, LocalState(), round_number=1, noise_multiplier=noise,
                proximal_mu=0, seed=client, grid_step=gradient_step(shared, 1),
            )  # fmt: skip
            found.append(flat(model))
        total = total + len(mine) * (found[0] - found[1])
    # 1,400 parameters: five standard errors are 10 %.
    assert len(total) > 1400
    unit = shared.training.learning_rate * shared.privacy.clipping_norm
    assert float(total.std()) / unit == pytest.approx(3.0, rel=0.1)


def test_the_claim_is_that_of_the_sum_and_says_what_it_rests_on(
    tmp_path: Path, people: Panel
) -> None:
    statement = run(tmp_path, people, **SHARED, noise_multiplier=2.0).statement
    frequencies = 2.0 / 3**0.5 * 19**0.5
    charges = [PrivacyCharge(frequencies, 1.0), PrivacyCharge(2.0, 1.0, 3)]
    assert statement.epsilon == pytest.approx(epsilon(charges, 1e-6, "rdp"))
    assert "4 clients or more" in statement.mechanism
    assert "not against clients that collude" in statement.mechanism


@pytest.mark.parametrize("kind", ["secagg", "homomorphic"])
@pytest.mark.parametrize(("honest", "abandoned"), [(1.0, True), (0.75, False)])
def test_a_round_with_less_noise_than_claimed_is_abandoned(
    tmp_path: Path, people: Panel, kind: str, honest: float, abandoned: bool
) -> None:
    if kind == "homomorphic":
        pytest.importorskip("tenseal")

    def vanish(number: int, client: int) -> str:
        return "before" if (number, client) == (2, 1) else ""

    result = run(tmp_path, people, vanish, **SHARED | {"secure": {"kind": kind}, "honest": honest})
    rounds = result.report["rounds"]
    assert [one["averaged"] for one in rounds] == [4, 0 if abandoned else 3, 4]
    assert bool(rounds[1]["abandoned"]) == abandoned


def test_frequencies_are_those_of_all_the_people_and_fit_whatever_the_sites(
    tmp_path: Path, people: Panel
) -> None:
    true = np.asarray(people.haplotypes).mean(axis=0)
    plain = run(tmp_path / "plain", people, **SHARED | {"privacy": "none", "rounds": 1})
    assert plain.facts.frequencies == pytest.approx(true, abs=1e-4)
    assert misfit_of_frequencies(params(**SHARED), 12, 1_000_000, 2.0) == ""


@pytest.mark.parametrize(
    ("drawn", "honest", "least"), [(4, 1.0, 4), (10, 0.7, 7), (4, 0.1, 2), (16, 0.8, 13)]
)
def test_how_many_clients_noise_has_to_do(drawn: int, honest: float, least: int) -> None:
    shared = params(**SHARED | {"clients": drawn, "honest": honest})
    assert least_clients(shared) == least
    assert own_noise(shared, 1.0) == pytest.approx(least**-0.5)
    assert least_clients(params()) == 1


@pytest.mark.parametrize(
    ("secure", "said"),
    [
        ({"clipping_range": 0.5}, "clipping_range 0.5; expected at least"),
        ({"bits": 4}, "bits 4: a client's noise is 0.* steps"),
    ],
)
def test_noise_that_the_rounding_would_spoil_is_refused(
    tmp_path: Path, people: Panel, secure: dict[str, Any], said: str
) -> None:
    with pytest.raises(BenchError, match=said):
        run(tmp_path, people, **SHARED | {"secure": {"kind": "secagg"} | secure})


def test_a_hospital_that_would_spend_less_takes_no_part_in_shared_noise() -> None:
    asked: dict[str, Any] = {
        "params.clients": 4,
        "params.epsilon": 8.0,
        "params.noise": "shared",
        "params.secure.kind": "secagg",
    }
    context = Context(1, 2, {"epsilon": 1.0}, RecordDict(), asked)
    InProcessGrid(HospitalApp(), {})  # gives messages the identity that a runtime would
    with pytest.raises(BenchError, match="epsilon 8: this hospital spends 1.0 at most"):
        HospitalApp()(Message(RecordDict(), 2, "train"), context)


def test_weights_do_not_show_in_what_is_summed() -> None:
    """People times a rounded value would be 0 modulo the people."""
    values = np.random.default_rng(0).normal(size=2000)
    left = Quantisation(20, 4.0, 100).quantise(values, 7) % 7
    counts = np.bincount(left.astype(int), minlength=7)
    assert counts.min() > 200


@pytest.mark.parametrize("strategy", ["fedadam", "fedprox"])
def test_what_is_summed_is_whole_steps_already(
    tmp_path: Path, people: Panel, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    """Rounding each client's noised values would leave a sum that isn't one of noise."""
    away = []
    quantise = Quantisation.quantise

    def watched(self: Quantisation, vector: Any, n: int) -> Any:
        steps = vector * n / self.step
        away.append(float(np.abs(steps - np.rint(steps)).max()))
        return quantise(self, vector, n)

    monkeypatch.setattr(Quantisation, "quantise", watched)
    secure = {"kind": "secagg", "clipping_range": 64.0, "bits": 32}
    changes = SHARED | {"secure": secure, "strategy": strategy, "frequencies": "noised"}
    run(tmp_path, people, **changes, optimiser="sgd", schedule="constant")
    assert len(away) == 4 * (1 + 3)
    assert max(away) < 1e-3
