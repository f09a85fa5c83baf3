"""What NVML says of a stage's GPU, with a stand-in for NVML where there is none."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from haplobench.runner.worker.cost import GPUWatch


def test_without_a_gpu_nothing_is_watched() -> None:
    with GPUWatch("cpu") as gpu:
        pass
    assert gpu.facts() == {"gpu_utilisation": None, "gpu_energy": None, "gpu_note": "no GPU"}


class NVMLError(Exception):
    pass


def stand_in(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[str]:
    asked: list[str] = []
    energy = iter((5000, 12_500))

    def handle(uuid: str) -> str:
        asked.append(uuid)
        return "handle"

    nvml = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: asked.append("shut down"),
        "nvmlDeviceGetHandleByUUID": handle,
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=75),
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: next(energy),
    }
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(**(nvml | changes)))
    torch = pytest.importorskip("torch")
    properties = SimpleNamespace(uuid="1234")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    return asked


def test_utilisation_and_energy_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stand_in(monkeypatch)
    with GPUWatch("cuda:0") as gpu:
        time.sleep(0.05)
    assert asked == ["GPU-1234", "shut down"]
    facts = gpu.facts()
    assert facts["gpu_utilisation"] == 0.75
    assert facts["gpu_energy"] == pytest.approx(7.5)
    assert facts["gpu_note"] == ""


def test_a_missing_driver_costs_nothing_but_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise NVMLError("NVML Shared Library Not Found")

    stand_in(monkeypatch, nvmlInit=fail)
    with GPUWatch("cuda:0") as gpu:
        pass
    facts = gpu.facts()
    assert facts["gpu_utilisation"] is None
    assert "Shared Library" in facts["gpu_note"]


def test_a_gpu_without_an_energy_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: str) -> None:
        raise NVMLError("Not Supported")

    stand_in(monkeypatch, nvmlDeviceGetTotalEnergyConsumption=fail)
    with GPUWatch("cuda:0") as gpu:
        time.sleep(0.01)
    assert gpu.facts()["gpu_energy"] is None
    assert gpu.facts()["gpu_utilisation"] == 0.75
