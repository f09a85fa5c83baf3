"""Whole federations: determinism, restart, budget, failures, consent, statement."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from federation_fixture import fit, params, run, weights
from hostile_clients import uneven

from haplobench import BenchError, FormatError, Panel, RunContext
from haplobench.testing import example_context
from haplobench_federated.accounting import least_delta


class KilledError(Exception):
    """Stands for a process that dies."""


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
        tmp_path, alone, clients=1, noise_multiplier=None, epsilon=0.5, accountant="prv",
        learning_rate=1e-6,  # else such noise may end in infinity
    ).statement  # fmt: skip
    assert (statement.n_records, statement.delta) == (1, 1e-6)
    assert 0 < statement.epsilon <= 0.5
    few = run(
        tmp_path / "few", people.select_samples([0, 1]), clients=2, noise_multiplier=200.0,
        delta=0.3, accountant="prv", learning_rate=1e-6,
    ).statement  # fmt: skip
    assert few.epsilon == 0  # delta alone covers it


def test_a_client_that_answers_too_late_is_left_out_of_its_round(
    tmp_path: Path, people: Panel
) -> None:
    changes: dict[str, Any] = {"rounds": 2, "frequencies": "half"}
    # Nobody answers within a nanosecond: no round moves the weights.
    late = run(tmp_path / "late", people, round_seconds=1e-9, **changes)
    assert [(one["lost"], one["answered"]) for one in late.report["rounds"]] == [(3, 0)] * 2
    in_time = run(tmp_path / "in-time", people, round_seconds=600.0, **changes)
    assert [(one["lost"], one["answered"]) for one in in_time.report["rounds"]] == [(0, 3)] * 2
    assert weights(late) != weights(in_time)


def test_a_model_starts_at_the_frequencies_of_a_file(tmp_path: Path, people: Panel) -> None:
    path = tmp_path / "public.tsv"
    path.write_text(f"{people.positions[0]}\t0.9\n\n{people.positions[2]}\t0.2\n1\t0.3\n")
    changes: dict[str, Any] = {"frequencies": "file", "frequencies_file": str(path)}
    still: dict[str, Any] = {"privacy": "none", "strategy": "fedavg", "learning_rate": 1e-9}
    result = run(tmp_path / "file", people, rounds=1, averaging=0.0, **changes, **still)
    assert result.facts.frequencies is not None
    assert result.facts.frequencies[:4].tolist() == [0.9, 0.5, 0.2, 0.5]
    start = 1 / (1 + np.exp(-result.model.state_dict()["decoder.logits"].numpy().mean(axis=2)))
    assert np.allclose(start.ravel()[:4], [0.9, 0.5, 0.2, 0.5], atol=0.1)
    for line in ("7\t1.5", "7", "seven\t0.5"):
        path.write_text(f"1\t0.3\n{line}\n")
        with pytest.raises(FormatError, match=r"public.tsv: line 2: found .* expected position"):
            run(tmp_path / "broken", people, **changes)
