"""Rounds: failures, budget, restart, sums that only the clients know."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_fixture import Witness, params, run
from safetensors import safe_open
from secure_helpers import parameters

from haplobench import Panel, PrivacyCharge
from haplobench.testing import example_context, example_panel
from haplobench_federated.accounting import epsilon
from haplobench_federated.federation import Federated, Simulation, federate
from haplobench_federated.generator import Federated as Generator
from haplobench_federated.model import WindowCodeFamily
from haplobench_federated.server_app import FederationCheckpoint


def state(result: Federated) -> bytes:
    return b"".join(value.numpy().tobytes() for value in result.model.state_dict().values())


class KilledError(Exception):
    """Stands for a process that dies."""


PRIVATE = {"privacy": "local", "noise_multiplier": 1.0, "epsilon": None, "accountant": "rdp"}


# Two runs that are compared value by value need the same noise.
SAME: dict[str, Any] = {"repeatable_noise": True}


def masked(
    folder: Path, failures: Any = None, progress: Any = None, keep: bool = False, **changes: Any
) -> Federated:
    folder.mkdir(parents=True, exist_ok=True)
    panel = example_panel(n_samples=64, n_sites=40, seed=3)
    params = parameters(**({"clients": 8, "rounds": 3, "sampling_rate": 0.5} | PRIVATE | changes))
    if keep:
        (folder / "checkpoint").mkdir(exist_ok=True)
    ctx = example_context(folder, panel, 0, checkpoint=folder / "checkpoint" if keep else None)
    if progress is not None:
        ctx = replace(ctx, progress=progress)
    return federate(panel, params, ctx, WindowCodeFamily(), Simulation(failures=failures))


def vector(result: Federated) -> Any:
    return np.concatenate([v.numpy().ravel() for v in result.model.state_dict().values()])


def hidden(kind: str, **changes: Any) -> dict[str, Any]:
    if kind == "homomorphic":
        pytest.importorskip("tenseal", reason="TenSEAL is absent: pip install tenseal")
    return {"kind": kind} | changes


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


@pytest.mark.parametrize("privacy", ["local", "central"])
def test_a_round_that_was_broken_off_is_charged_and_its_noise_never_comes_again(
    tmp_path: Path, people: Panel, monkeypatch: pytest.MonkeyPatch, privacy: str
) -> None:
    changes: dict[str, Any] = {"privacy": privacy, "frequencies": "half"}
    witness = Witness(monkeypatch)
    write = FederationCheckpoint.write

    def die(self: FederationCheckpoint, progress: Any, contexts: Any) -> None:
        if progress.rounds_done == 2:  # released, and not yet in the checkpoint
            raise KilledError
        write(self, progress, contexts)

    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setattr(FederationCheckpoint, "write", die)
    ctx = example_context(tmp_path / "broken", people, 0, checkpoint=folder)
    with pytest.raises(KilledError):
        Generator().fit(people, params(**changes), ctx)
    monkeypatch.setattr(FederationCheckpoint, "write", write)
    draws = witness.taken()[0]
    for copy in ("one", "other"):
        shutil.copytree(folder, tmp_path / copy)
        again = example_context(tmp_path / f"{copy}-run", people, 0, checkpoint=tmp_path / copy)
        statement = Generator().fit(people, params(**changes), again).statement
        draws += witness.taken()[0]
        one = PrivacyCharge(1.0, 0.2, 2) if privacy == "local" else PrivacyCharge(0.5, 1.0)
        # Three rounds, and the one that nobody can say wasn't seen.
        assert statement.epsilon == epsilon([one] * 4, statement.delta, "rdp")
    assert len(set(draws)) == len(draws)


def test_a_budget_that_a_broken_off_round_has_spent_ends_the_fit_early(
    tmp_path: Path, people: Panel
) -> None:
    changes: dict[str, Any] = {"frequencies": "half", "noise_multiplier": None, "epsilon": 3.0}
    folder = tmp_path / "kept"
    folder.mkdir()
    ctx = example_context(tmp_path / "broken", people, 0, checkpoint=folder)

    def die(fraction: float, message: str) -> None:
        (state,) = folder.glob("ledgers-*")
        ledger = state / "client-0.json"
        ledger.write_text(json.dumps(json.loads(ledger.read_text()) * 2))  # a round unseen
        raise KilledError

    with pytest.raises(KilledError):
        Generator().fit(people, params(**changes), replace(ctx, progress=die))
    fitted = Generator().fit(people, params(**changes), ctx)
    report = json.loads((tmp_path / "broken" / "artifacts" / "federation.json").read_text())
    assert fitted.statement.epsilon <= 3.0
    assert report["rounds"][-1]["refused"] == 1


@pytest.mark.parametrize("kind", ["secagg", "homomorphic"])
@pytest.mark.parametrize("lost", [None, 5])
def test_one_round_is_the_plain_one_within_the_stated_bound(
    tmp_path: Path, kind: str, lost: int | None
) -> None:
    def fate(number: int, client: int) -> str:
        return "after" if (number, client) == (1, lost) else ""

    plain = masked(tmp_path / "plain", fate, rounds=1, **SAME)
    secure = masked(tmp_path / "secure", fate, rounds=1, secure=hidden(kind), **SAME)
    assert [one["averaged"] for one in secure.report["rounds"]] == [8 if lost is None else 7]
    bound = 4.0 / (2**20 - 1) if kind == "secagg" else 1e-6
    largest = np.abs(vector(plain)).max()
    away = np.abs(vector(secure) - vector(plain)).max()
    assert 0 < away <= bound + 8 * largest * 2.0**-24
    assert secure.statement == plain.statement


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam"])
def test_all_strategies_aggregate_a_sum(tmp_path: Path, strategy: str) -> None:
    plain = masked(tmp_path / "plain", strategy=strategy, **SAME)
    alike: dict[str, Any] = {"strategy": strategy, "secure": hidden("secagg", bits=28), **SAME}
    secure, again = masked(tmp_path / "secure", **alike), masked(tmp_path / "again", **alike)
    # FedAdam divides by the root of a moment: what is near 0 there tells rounding apart.
    assert np.median(np.abs(vector(secure) - vector(plain))) < 1e-4
    assert vector(secure).tobytes() == vector(again).tobytes()  # fresh masks cancel exactly


def test_a_round_with_too_few_left_changes_nothing_and_is_charged(tmp_path: Path) -> None:
    def fate(number: int, client: int) -> str:
        return "after" if number == 2 and client < 5 else ""

    result = masked(tmp_path, fate, secure=hidden("secagg"))
    rounds = result.report["rounds"]
    assert [one["averaged"] for one in rounds] == [8, 0, 8]
    assert "expected at least 5" in rounds[1]["quarantined"][0]["found"] or rounds[1]["abandoned"]
    # Whoever trained has released something: an abandoned round is paid like any other.
    assert result.statement.epsilon == epsilon([PrivacyCharge(1.0, 0.5, 6)], 1e-6, "rdp")


def test_the_budget_stops_a_federation_behind_masks(tmp_path: Path) -> None:
    budget = epsilon([PrivacyCharge(1.0, 0.5, 2)] * 2, 1e-6, "rdp") + 1e-6
    result = masked(tmp_path, secure=hidden("secagg"), **(PRIVATE | {"epsilon": budget}))
    assert result.report["rounds_done"] == 2
    assert "every client refused" in result.report["stopped"]
    assert result.statement.epsilon <= budget


@pytest.mark.parametrize(
    "changes",
    [
        {"secure": {"kind": "secagg", "neighbours": 4}},
        {"edge": {"compression": "top_k", "top_share": 0.1}},
        {"edge": {"compression": "quantise", "bits": 4}},
        {"robust": {"rule": "multi_krum", "hostile": 2, "screen": True}},
    ],
)
def test_a_restart_gives_the_same_bytes_and_keeps_no_secrets(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    changes = changes | SAME
    whole = masked(tmp_path / "whole", **changes)

    def die(fraction: float, message: str) -> None:
        if fraction >= 0.6:
            raise KilledError

    with pytest.raises(KilledError):
        masked(tmp_path / "broken", progress=die, keep=True, **changes)
    path = tmp_path / "broken" / "checkpoint" / "federation.safetensors"
    with safe_open(path, framework="np") as file:
        states = [file.get_tensor(f"client/{client}").tobytes() for client in range(8)]
    assert all(b"ledger" in state for state in states)
    assert not any(b"cipher" in state or b"mask" in state for state in states)
    rounds: list[str] = []
    again = masked(
        tmp_path / "broken", progress=lambda f, m: rounds.append(m), keep=True, **changes
    )
    assert rounds == ["round 3 of 3"]
    assert vector(again).tobytes() == vector(whole).tobytes()
    assert again.statement == whole.statement
