"""Whole federations whose server sees sums only: the plain one's result, budget, restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from secure_helpers import parameters

from haplobench import PrivacyCharge
from haplobench.testing import example_context, example_panel
from haplobench_federated.accounting import epsilon
from haplobench_federated.family import WindowCodeFamily
from haplobench_federated.federation import Federated, Simulation, federate

PRIVATE = {"privacy": "local", "noise_multiplier": 1.0, "epsilon": None, "accountant": "rdp"}
# Two runs that are compared value by value need the same noise.
SAME: dict[str, Any] = {"repeatable_noise": True}


class KilledError(Exception):
    """Stands for a process that dies."""


def run(
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


@pytest.mark.parametrize("kind", ["secagg", "homomorphic"])
@pytest.mark.parametrize("lost", [None, 5])
def test_one_round_is_the_plain_one_within_the_stated_bound(
    tmp_path: Path, kind: str, lost: int | None
) -> None:
    def fate(number: int, client: int) -> str:
        return "after" if (number, client) == (1, lost) else ""

    plain = run(tmp_path / "plain", fate, rounds=1, **SAME)
    secure = run(tmp_path / "secure", fate, rounds=1, secure=hidden(kind), **SAME)
    assert [one["averaged"] for one in secure.report["rounds"]] == [8 if lost is None else 7]
    bound = 4.0 / (2**20 - 1) if kind == "secagg" else 1e-6
    largest = np.abs(vector(plain)).max()
    away = np.abs(vector(secure) - vector(plain)).max()
    assert 0 < away <= bound + 8 * largest * 2.0**-24
    assert secure.statement == plain.statement


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam"])
def test_all_strategies_aggregate_a_sum(tmp_path: Path, strategy: str) -> None:
    plain = run(tmp_path / "plain", strategy=strategy, **SAME)
    alike: dict[str, Any] = {"strategy": strategy, "secure": hidden("secagg", bits=28), **SAME}
    secure, again = run(tmp_path / "secure", **alike), run(tmp_path / "again", **alike)
    # FedAdam divides by the root of a moment: what is near 0 there tells rounding apart.
    assert np.median(np.abs(vector(secure) - vector(plain))) < 1e-4
    assert vector(secure).tobytes() == vector(again).tobytes()  # fresh masks cancel exactly


def test_a_round_with_too_few_left_changes_nothing_and_is_charged(tmp_path: Path) -> None:
    def fate(number: int, client: int) -> str:
        return "after" if number == 2 and client < 5 else ""

    result = run(tmp_path, fate, secure=hidden("secagg"))
    rounds = result.report["rounds"]
    assert [one["averaged"] for one in rounds] == [8, 0, 8]
    assert "expected at least 5" in rounds[1]["quarantined"][0]["found"] or rounds[1]["abandoned"]
    # Whoever trained has released something: an abandoned round is paid like any other.
    assert result.statement.epsilon == epsilon([PrivacyCharge(1.0, 0.5, 6)], 1e-6, "rdp")


def test_the_budget_stops_a_federation_behind_masks(tmp_path: Path) -> None:
    budget = epsilon([PrivacyCharge(1.0, 0.5, 2)] * 2, 1e-6, "rdp") + 1e-6
    result = run(tmp_path, secure=hidden("secagg"), **(PRIVATE | {"epsilon": budget}))
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
    whole = run(tmp_path / "whole", **changes)

    def die(fraction: float, message: str) -> None:
        if fraction >= 0.6:
            raise KilledError

    with pytest.raises(KilledError):
        run(tmp_path / "broken", progress=die, keep=True, **changes)
    path = tmp_path / "broken" / "checkpoint" / "federation.safetensors"
    with safe_open(path, framework="np") as file:
        states = [file.get_tensor(f"client/{client}").tobytes() for client in range(8)]
    assert all(b"ledger" in state for state in states)
    assert not any(b"cipher" in state or b"mask" in state for state in states)
    rounds: list[str] = []
    again = run(tmp_path / "broken", progress=lambda f, m: rounds.append(m), keep=True, **changes)
    assert rounds == ["round 3 of 3"]
    assert vector(again).tobytes() == vector(whole).tobytes()
    assert again.statement == whole.statement
