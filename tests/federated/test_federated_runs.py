"""Whole federations: determinism, restart, budget, failures, consent, statement."""

from __future__ import annotations

import json
import math
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from conftest import QUICK, fit, params, weights
from hostile_clients import uneven

from haplobench import BenchError, Panel, PrivacyCharge, RunContext
from haplobench.registry import load_registry
from haplobench.testing import check_generator, example_context, example_panel
from haplobench_federated.accounting import epsilon, least_delta, noise_for
from haplobench_federated.family import WindowCodeFamily
from haplobench_federated.federation import Federated, Simulation, federate


class KilledError(Exception):
    """Stands for a process that dies."""


def run(folder: Path, panel: Panel, failures: Any = None, **changes: Any) -> Federated:
    folder.mkdir(parents=True, exist_ok=True)
    ctx = example_context(folder, panel, 0)
    simulation = Simulation(failures=failures)
    return federate(panel, params(**changes), ctx, WindowCodeFamily(), simulation)


def state(result: Federated) -> bytes:
    return b"".join(value.numpy().tobytes() for value in result.model.state_dict().values())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clipping": "flat", "strategy": "fedprox"},
        {
            "noise": "shared",
            "local_steps": 1,
            "secure": {"kind": "secagg", "clipping_range": 16.0},
        },
        {"clipping": "per_layer", "strategy": "fedadam"},
        {"clipping": "adaptive", "averaging": 0.5, "optimiser": "sgd"},
        {"privacy": "central"},
        {"privacy": "none", "uneven": (0.2, 0.05)},
        {"frequencies": "noised", "fraction": 0.67},
    ],
)
def test_the_same_seed_gives_the_same_bytes_with_and_without_a_restart(
    tmp_path: Path, people: Panel, changes: dict[str, Any]
) -> None:
    changes = {**changes, "repeatable_noise": True}
    lacks = changes.pop("uneven", None)
    simulations = {
        seed: lacks and uneven(*lacks, RunContext(seed=seed, artifacts=tmp_path, scratch=tmp_path))
        for seed in (0, 1)
    }
    whole = fit(tmp_path / "whole", people, simulation=simulations[0], **changes)

    def die(fraction: float, message: str) -> None:
        if fraction >= 0.6:
            raise KilledError

    folder = tmp_path / "checkpoint"
    folder.mkdir()
    from haplobench_federated.generator import Federated as Generator

    ctx = example_context(tmp_path / "broken", people, 0, checkpoint=folder)
    with pytest.raises(KilledError):
        Generator(simulation=simulations[0]).fit(
            people, params(**changes), replace(ctx, progress=die)
        )
    rounds: list[str] = []
    again = Generator(simulation=simulations[0]).fit(
        people, params(**changes), replace(ctx, progress=lambda f, m: rounds.append(m))
    )
    assert rounds == ["round 3 of 3"]
    assert weights(again) == weights(whole)
    assert again.statement == whole.statement
    other = fit(tmp_path / "other", people, seed=1, simulation=simulations[1], **changes)
    assert weights(other) != weights(whole)


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


@pytest.mark.parametrize("privacy", ["local", "central"])
def test_the_federation_stops_before_the_round_that_would_exceed_the_budget(
    tmp_path: Path, people: Panel, privacy: str
) -> None:
    one = PrivacyCharge(1.0, 0.2, 2) if privacy == "local" else PrivacyCharge(0.5, 1.0)
    budget = epsilon([one] * 2, 1e-6, "rdp") + 1e-6
    result = run(tmp_path, people, privacy=privacy, frequencies="half", epsilon=budget)
    assert result.report["rounds_done"] == 2
    assert "budget" in result.report["stopped"]
    assert budget - 1e-5 < result.statement.epsilon <= budget
    alike: dict[str, Any] = {"privacy": privacy, "frequencies": "half", "schedule": "constant"}
    alike["repeatable_noise"] = True
    shorter = run(tmp_path / "two", people, rounds=2, **alike)
    longer = run(tmp_path / "stopped", people, epsilon=budget, **alike)
    assert state(longer) == state(shorter)


def test_the_noise_is_searched_for_the_whole_schedule(tmp_path: Path, people: Panel) -> None:
    result = run(tmp_path, people, noise_multiplier=None, epsilon=3.0)
    assert result.report["rounds_done"] == 3
    assert 2.95 < result.statement.epsilon <= 3.0


def test_frequencies_and_steps_use_up_the_budget_together(tmp_path: Path, people: Panel) -> None:
    result = run(tmp_path, people, noise_multiplier=None, epsilon=3.0, frequencies_share=0.3)
    alone = noise_for(3.0, 1e-6, 1.0, 1, "rdp")
    assert f"Gaussian noise {alone / 0.3**0.5:.4g} on allele counts" in result.statement.mechanism
    assert 2.95 < result.statement.epsilon <= 3.0


def test_without_noise_nothing_is_claimed(tmp_path: Path, people: Panel) -> None:
    for changes in ({"privacy": "none"}, {"epsilon": math.inf, "noise_multiplier": None}):
        assert run(tmp_path, people, **changes).statement.epsilon == math.inf


@pytest.mark.parametrize("fate", ["before", "after", "late"])
def test_a_client_that_vanishes_costs_its_round_only(
    tmp_path: Path, people: Panel, fate: str
) -> None:
    def vanish(number: int, client: int) -> str:
        return fate if (number, client) == (2, 1) else ""

    result = run(tmp_path, people, vanish)
    rounds = result.report["rounds"]
    assert [one["averaged"] for one in rounds] == [3, 2, 3]
    assert [one["lost"] for one in rounds] == [0, 1, 0]
    spent = result.statement.per_client
    # Who vanished before it trained released nothing; who trained is charged, seen or not.
    assert (spent["client-1"] < spent["client-0"]) == (fate == "before")
    assert spent["client-0"] == spent["client-2"]


def test_all_clients_vanishing_costs_the_round(tmp_path: Path, people: Panel) -> None:
    lost = run(tmp_path, people, lambda number, client: "before" if number == 2 else "")
    assert [one["averaged"] for one in lost.report["rounds"]] == [3, 0, 3]


def test_central_noise_is_not_released_on_fewer_updates_than_it_was_made_for(
    tmp_path: Path, people: Panel
) -> None:
    result = run(
        tmp_path, people, lambda number, client: "late" if number == client else "",
        privacy="central",
    )  # fmt: skip
    assert result.statement.epsilon == epsilon([PrivacyCharge(0.5, 1.0)], 1e-6, "rdp")


def test_bytes_are_those_of_the_weights_and_little_more(tmp_path: Path, people: Panel) -> None:
    result = run(tmp_path, people)
    size = len(state(result))
    for one in result.report["rounds"]:
        assert 3 * size < one["bytes_up"] < 3 * size + 3 * 2000
        assert 3 * size < one["bytes_down"] < 3 * size + 3 * 2000
        assert all(client["cpu_seconds"] > 0 for client in one["clients"].values())


@pytest.mark.parametrize("partition", ["iid", "dirichlet", "population"])
def test_who_withdrew_leaves_no_trace(tmp_path: Path, people: Panel, partition: str) -> None:
    left = np.ones(people.n_samples, bool)
    left[[3, 17]] = False
    never = people.select_samples(left)
    names = [str(name) for name in people.samples[~left]]
    options: dict[str, Any] = {"partition": partition, "clients": 2, "frequencies": "noised"}
    options["repeatable_noise"] = True
    found = {}
    for name, panel, withdrawn in (("never", never, []), ("withdrew", people, names)):
        folder = tmp_path / name
        (folder / "checkpoint").mkdir(parents=True)
        fitted = fit(
            folder, panel, checkpoint=folder / "checkpoint", withdrawn=withdrawn, **options
        )
        (folder / "model").mkdir()
        fitted.save(folder / "model")
        found[name] = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in (
                folder / "checkpoint" / "federation.safetensors",
                *sorted((folder / "model").iterdir()),
                folder / "artifacts" / "privacy.json",
            )
        }
    assert found["never"] == found["withdrew"]
    assert not any(n.encode() in data for data in found["withdrew"].values() for n in names)
    assert found["never"] != {}
    full = fit(tmp_path / "all", people, **options)
    assert weights(full) != weights(fit(tmp_path / "again", never, **options))


def test_a_file_of_names_is_honoured_too(tmp_path: Path, people: Panel) -> None:
    listed = tmp_path / "withdrawn.txt"
    listed.write_text(f"{people.samples[5]}\nsomebody else\n")
    same: dict[str, Any] = {"repeatable_noise": True}
    with pytest.raises(BenchError, match=r"withdrawn.txt: 1 of 2 match nobody .*: line 2 \(mend"):
        fit(tmp_path / "unknown", people, withdrawn=str(listed), **same)
    known = {"file": str(listed), "allow_unknown": True}
    by_file = fit(tmp_path / "file", people, withdrawn=known, **same)
    report = json.loads((tmp_path / "file" / "artifacts" / "federation.json").read_text())
    assert report["withdrawn"] == {"listed": 2, "left_out": 1, "unknown": 1, "repeated": 0}
    by_list = fit(tmp_path / "list", people, withdrawn=[str(people.samples[5])], **same)
    assert weights(by_file) == weights(by_list)
    with pytest.raises(BenchError, match="everybody"):
        fit(tmp_path / "none", people, withdrawn=[str(name) for name in people.samples])


def test_another_list_is_another_fit_and_names_stay_out_of_parameters(tmp_path: Path) -> None:
    listed = tmp_path / "withdrawn.txt"
    listed.write_text("A1\n")
    before, stat = params(withdrawn=str(listed)), listed.stat()
    assert before == type(before).model_validate(before.model_dump(mode="json", round_trip=True))
    first = before.fingerprint()
    listed.write_text("A2\n")
    os.utime(listed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert before.fingerprint() != first
    assert "A2" not in before.model_dump_json()
    with pytest.raises(BenchError, match="would be kept in run folders; expected a file"):
        params(withdrawn=["A1"]).fingerprint()
    listed.write_text("# nobody\n")
    with pytest.raises(BenchError, match="holds no names"):
        before.fingerprint()


def test_starting_from_a_checkpoint(tmp_path: Path, people: Panel) -> None:
    first = fit(tmp_path / "first", people)
    (tmp_path / "model").mkdir()
    first.save(tmp_path / "model")
    changes: dict[str, Any] = {"initial": str(tmp_path / "model"), "server_learning_rate": 1e-12}
    warm = fit(tmp_path / "warm", people, **changes)
    for one, other in zip(
        first.model.state_dict().values(), warm.model.state_dict().values(), strict=True
    ):
        assert np.allclose(one.numpy(), other.numpy(), atol=1e-6)
    assert warm.statement.choices["starting weights"].startswith("public")
    with pytest.raises(BenchError, match="not a checkpoint of this model"):
        fit(tmp_path / "bad", people, **(changes | {"model": {"window": 4, "codes": 4}}))


def test_nothing_is_left_running_and_nothing_listens(tmp_path: Path, people: Panel) -> None:
    process = psutil.Process()
    others = process.children(recursive=True)  # of tests before this one
    run(tmp_path, people)
    assert threading.active_count() == 1 or all(
        "flwr" not in thread.name and "grpc" not in thread.name for thread in threading.enumerate()
    )
    assert not set(process.children(recursive=True)) - set(others)
    assert not [one for one in process.net_connections() if one.status != "NONE"]


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


def test_a_delta_above_one_in_n_is_refused(tmp_path: Path, people: Panel) -> None:
    with pytest.raises(BenchError, match="at most 1 / 48"):
        run(tmp_path, people, delta=0.1)


def test_a_delta_near_one_in_n_is_warned_of(
    tmp_path: Path, people: Panel, caplog: pytest.LogCaptureFixture
) -> None:
    statement = run(tmp_path, people, delta=1 / 48).statement
    assert "publishes 1 of them outright" in caplog.text
    assert statement.caution in caplog.text
    caplog.clear()
    assert not run(tmp_path / "small", people, delta=1e-5).statement.caution
    assert "outright" not in caplog.text


@pytest.mark.parametrize(
    ("people", "delta"), [(1, 1e-6), (48, 1e-6), (1000, 1e-6), (2003, 2003**-2), (10**6, 1e-12)]
)
def test_delta_where_none_is_given(people: int, delta: float) -> None:
    assert least_delta(people) == pytest.approx(delta, rel=1e-12)


@pytest.mark.parametrize(
    "changes", [{"privacy": "central"}, {"frequencies": "noised"}, {"frequencies": "half"}]
)
def test_an_epsilon_that_no_noise_reaches_is_said_in_a_sentence(
    tmp_path: Path, people: Panel, changes: dict[str, Any]
) -> None:
    with pytest.raises(BenchError, match=r"epsilon 1e-09: no noise multiplier up to 10000 keeps"):
        run(tmp_path, people, epsilon=1e-9, noise_multiplier=None, **changes)


def test_one_person_is_a_federation_too(tmp_path: Path, people: Panel) -> None:
    alone = people.select_samples([0])
    statement = run(
        tmp_path, alone, clients=1, noise_multiplier=None, epsilon=0.5, accountant="prv"
    ).statement
    assert (statement.n_records, statement.delta) == (1, 1e-6)
    assert 0 < statement.epsilon <= 0.5
    few = run(
        tmp_path / "few", people.select_samples([0, 1]), clients=2, noise_multiplier=200.0,
        delta=0.3, accountant="prv", learning_rate=1e-6,  # else such noise ends in infinity
    ).statement  # fmt: skip
    assert few.epsilon == 0  # delta alone covers it


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epsilon": None, "noise_multiplier": None}, "neither epsilon nor noise_multiplier"),
        ({"privacy": "central", "clipping": "ghost"}, "expected flat with central"),
        ({"privacy": "central", "strategy": "fedadam"}, "expected fedavg or fedprox"),
        ({"partition": "file"}, "partition_file is missing"),
        ({"accountant": "gdp"}, "prv"),
        ({"delta": 0}, r"delta\n.*greater than 0"),
        ({"epsilon": 0}, r"epsilon\n.*greater than 0"),
        ({"noise_multiplier": 2e4}, r"noise_multiplier\n.*less than or equal to 10000"),
        ({"clipping_norm": math.inf}, r"clipping_norm\n.*finite number"),
        ({"noise_multiplier": 0}, r"noise_multiplier\n.*greater than 0"),
        ({"withdrawn": ["a", "a"]}, "listed twice"),
        ({"secure_rng": True}, "leave it out, or ask for .*privacy.repeatable_noise: true"),
    ],
)
def test_parameters_that_contradict_each_other(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        type(params()).model_validate(QUICK | changes)


def test_the_testing_kit_takes_it_that_private_fits_differ() -> None:
    changes: dict[str, Any] = {"rounds": 6, "local_steps": 10, "sampling_rate": 0.5}
    changes |= {"frequencies": "noised", "noise_multiplier": 0.02, "clients": 1}
    passed = check_generator(
        "vae-federated",
        example_panel(60, n_sites=160),
        params=QUICK | changes | {"model": {"window": 16, "codes": 16}},
        registry=load_registry(["haplobench_federated"]),
    )
    assert "determinism" in passed
