"""Quick parameters, and a federation run on a panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from haplobench import Panel
from haplobench.noise import NoiseSource
from haplobench.testing import example_context
from haplobench_federated.federation import Federated, Simulation, federate
from haplobench_federated.generator import Federated as Generator
from haplobench_federated.generator import FittedFederated
from haplobench_federated.model import WindowCodeFamily
from haplobench_federated.params import FederatedParams

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
    return Generator(simulation=simulation).fit(panel, params(**changes), ctx)


def weights(fitted: FittedFederated) -> bytes:
    return b"".join(value.numpy().tobytes() for value in fitted.model.state_dict().values())


def run(folder: Path, panel: Panel, failures: Any = None, **changes: Any) -> Federated:
    folder.mkdir(parents=True, exist_ok=True)
    ctx = example_context(folder, panel, 0)
    simulation = Simulation(failures=failures)
    return federate(panel, params(**changes), ctx, WindowCodeFamily(), simulation)


class Witness:
    """Keeps all that any source draws."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.noise: list[bytes] = []
        self.batches: list[bytes] = []
        gaussian, batch = NoiseSource.discrete_gaussian, NoiseSource.batch

        def seen(source: NoiseSource, deviation: float, n: int) -> NDArray[np.int64]:
            values = gaussian(source, deviation, n)
            if n > 8:
                self.noise.append(values.tobytes())
            return values

        def seen_batch(source: NoiseSource, people: int, rate: float) -> NDArray[np.int64]:
            chosen = batch(source, people, rate)
            self.batches.append(chosen.tobytes())
            return chosen

        monkeypatch.setattr(NoiseSource, "discrete_gaussian", seen)
        monkeypatch.setattr(NoiseSource, "batch", seen_batch)

    def taken(self) -> tuple[list[bytes], list[bytes]]:
        taken = self.noise, self.batches
        self.noise, self.batches = [], []
        return taken
