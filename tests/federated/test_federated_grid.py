"""Bytes on the wire."""

from __future__ import annotations

from pathlib import Path

from federation_fixture import run

from haplobench import Panel
from haplobench_federated.federation import Federated


def state(result: Federated) -> bytes:
    return b"".join(value.numpy().tobytes() for value in result.model.state_dict().values())


def test_bytes_are_those_of_the_weights_and_little_more(tmp_path: Path, people: Panel) -> None:
    result = run(tmp_path, people)
    size = len(state(result))
    for one in result.report["rounds"]:
        assert 3 * size < one["bytes_up"] < 3 * size + 3 * 2000
        assert 3 * size < one["bytes_down"] < 3 * size + 3 * 2000
        assert all(client["cpu_seconds"] > 0 for client in one["clients"].values())
