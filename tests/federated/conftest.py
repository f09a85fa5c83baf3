"""A small panel, quick parameters, and a federation run on them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from haplobench import Panel
from haplobench.testing import example_context, example_panel
from haplobench_federated.generator import Federated, FittedFederated
from haplobench_federated.params import FederatedParams

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

QUICK: dict[str, Any] = {
    "clients": 3,
    "rounds": 3,
    "local_steps": 2,
    "sampling_rate": 0.2,
    # A given noise: searching for it takes longer than the training.
    "noise_multiplier": 1.0,
    "epsilon": None,
    "accountant": "rdp",
    "model": {"window": 8, "codes": 4},
}


@pytest.fixture(scope="session")
def people() -> Panel:
    return example_panel(n_samples=48, n_sites=40, seed=3)


def params(**changes: Any) -> FederatedParams:
    return FederatedParams.model_validate(QUICK | changes)


def fit(
    folder: Path,
    panel: Panel,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    simulation: Any = None,
    **changes: Any,
) -> FittedFederated:
    folder.mkdir(parents=True, exist_ok=True)
    ctx = example_context(folder, panel, seed, checkpoint=checkpoint)
    return Federated(simulation=simulation).fit(panel, params(**changes), ctx)


def weights(fitted: FittedFederated) -> bytes:
    return b"".join(value.numpy().tobytes() for value in fitted.model.state_dict().values())
