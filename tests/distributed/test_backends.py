"""The same training, by one rank, torch's, Horovod's: the same loss curve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_programs import ALONE, horovodrun, started, torchrun

# Processes of several ranks, each of which imports torch.
pytestmark = pytest.mark.slow

pytest.importorskip("torch", reason="torch trains")

SCRIPT = Path(__file__).with_name("data_parallel_script.py")


def outcome(folder: Path, *launcher: str) -> dict[str, Any]:
    started(SCRIPT, folder / "found.json", launcher)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(tmp_path_factory.mktemp("alone"), *ALONE)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(tmp_path_factory.mktemp("two"), *torchrun(2))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(tmp_path_factory.mktemp("four"), *torchrun(4))


@pytest.fixture(scope="module")
def horovod(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(tmp_path_factory.mktemp("horovod"), *horovodrun(2))


def curve(found: dict[str, Any], case: str) -> np.ndarray[Any, Any]:
    return np.array(found[case]["losses"])


@pytest.mark.parametrize("case", ["plain", "in one piece"])
@pytest.mark.parametrize(
    "world", ["alone", "two", pytest.param("four", marks=pytest.mark.slow), "horovod"]
)
def test_loss_and_parameters_do_not_depend_on_the_ranks(
    alone: dict[str, Any], request: pytest.FixtureRequest, world: str, case: str
) -> None:
    found = request.getfixturevalue(world)
    one = curve(alone, "plain")
    assert one[-1] < 0.6 * one[0]
    assert found[case]["spread"] == 0.0
    np.testing.assert_allclose(curve(found, case), one, rtol=1e-5)
    np.testing.assert_allclose(
        found[case]["parameters"], alone["plain"]["parameters"], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("world", "case"), [("two", "fp16"), ("horovod", "fp16")])
def test_half_precision_halves_the_bytes(
    alone: dict[str, Any], request: pytest.FixtureRequest, world: str, case: str
) -> None:
    found = request.getfixturevalue(world)
    assert found[case]["bytes"] == pytest.approx(found["plain"]["bytes"] / 2, rel=0.01)
    assert found[case]["spread"] == 0.0
    np.testing.assert_allclose(curve(found, case), curve(alone, "plain"), rtol=1e-3)


def test_sharded_ranks_keep_their_part_and_have_the_same_loss_curve(
    alone: dict[str, Any], two: dict[str, Any]
) -> None:
    assert alone["sharded"]["kept"] == two["plain"]["kept"] == 1
    assert two["sharded"]["kept"] == 0.5
    np.testing.assert_allclose(curve(two, "sharded"), curve(alone, "plain"), rtol=1e-5)
    parameters = two["sharded"]["parameters"]
    np.testing.assert_allclose(parameters, alone["plain"]["parameters"], atol=1e-5, rtol=0)
    # A step gathers a rank's half twice and scatters the whole gradient once.
    assert two["sharded"]["bytes"] == pytest.approx(2 * two["plain"]["bytes"], rel=0.01)


def test_torch_and_horovod_have_the_same_loss_curve(
    two: dict[str, Any], horovod: dict[str, Any]
) -> None:
    assert (two["backend"], horovod["backend"]) == ("torch", "horovod")
    np.testing.assert_allclose(curve(horovod, "plain"), curve(two, "plain"), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "world", ["alone", "two", pytest.param("four", marks=pytest.mark.slow), "horovod"]
)
def test_collectives(request: pytest.FixtureRequest, world: str) -> None:
    found = request.getfixturevalue(world)
    size = found["size"]
    total = size * (size + 1) // 2
    assert found["collectives"] == {
        "sum": [[0, total, 2 * total], [3 * total, 4 * total, 5 * total]],
        "dtypes": ["int8", "int16", "int32", "int64", "float32", "float64"],
        "broadcast": [[float(size)] * 2] * 2,
        "gather": [{"rank": rank, "of": size} for rank in range(size)],
    }


def test_steps_are_metered(alone: dict[str, Any], two: dict[str, Any]) -> None:
    for found in (alone, two):
        steps = found["plain"]["steps"]
        assert steps["steps"] == 30
        assert all(steps[part] > 0 for part in ("data", "forward", "backward", "optimiser"))
    assert alone["plain"]["steps"]["all_reduce"] == 0.0
    assert two["plain"]["steps"]["all_reduce"] > 0.0
