"""`vae` over ranks: the same loss curve, codes and haplotypes, whatever carries them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_programs import ALONE, horovodrun, started, torchrun

pytestmark = pytest.mark.slow  # ranks that train
pytest.importorskip("torch", reason="torch trains")

SCRIPT = Path(__file__).with_name("vae_ranks_script.py")


def outcome(folder: Path, *launcher: str) -> dict[str, Any]:
    started(SCRIPT, folder, launcher, timeout=400)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    with np.load(folder / "plain" / "found.npz") as arrays:
        found["arrays"] = dict(arrays)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(tmp_path_factory.mktemp("alone"), *ALONE)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(tmp_path_factory.mktemp("two"), *torchrun(2))


@pytest.fixture(scope="module")
def horovod(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(tmp_path_factory.mktemp("horovod"), *horovodrun(2))


def curve(found: dict[str, Any], case: str) -> Any:
    """Validation loss of every epoch, nats per haplotype."""
    return np.add(found[case]["code"], found[case]["allele"])


@pytest.mark.parametrize("world", ["two", "horovod"])
def test_the_loss_curve_and_the_model_do_not_depend_on_the_ranks(
    alone: dict[str, Any], request: pytest.FixtureRequest, world: str
) -> None:
    found = request.getfixturevalue(world)
    assert (found["size"], found["backend"]) == (2, "horovod" if world == "horovod" else "torch")
    one = curve(alone, "plain")
    assert len(one) == 5
    assert one[-1] < one[0]
    for case in ("plain", "in one piece", "resumed"):
        np.testing.assert_allclose(curve(found, case), one, atol=1e-3, rtol=0)
        assert found[case]["same"]
    assert np.mean(found["arrays"]["codes"] == alone["arrays"]["codes"]) >= 0.999
    assert np.mean(found["arrays"]["sampled"] == alone["arrays"]["sampled"]) >= 0.999


def test_torch_and_horovod_have_the_same_loss_curve(
    two: dict[str, Any], horovod: dict[str, Any]
) -> None:
    np.testing.assert_allclose(curve(horovod, "plain"), curve(two, "plain"), atol=1e-3, rtol=0)


@pytest.mark.parametrize("world", ["two", "horovod"])
def test_compressed_gradients_train_nearly_the_same(
    alone: dict[str, Any], request: pytest.FixtureRequest, world: str
) -> None:
    found = request.getfixturevalue(world)
    assert found["fp16"]["same"]
    assert found["fp16"]["bytes"] < 0.9 * found["plain"]["bytes"]
    np.testing.assert_allclose(curve(found, "fp16")[-1], curve(alone, "plain")[-1], rtol=0.02)


def test_the_published_design_is_the_same_on_every_rank(
    alone: dict[str, Any], two: dict[str, Any]
) -> None:
    (one,) = alone["paper"]["digests"]
    assert two["paper"]["digests"] == [one, one]
