"""What a stage costs, by its meter and the GPU's watch, and how far it says it is."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from haplobench.runner.worker.cost import Beat, GPUWatch, Heartbeat, Meter


def test_the_meter_counts_time_and_memory_of_the_work_alone() -> None:
    before = np.ones(40_000_000)  # 320 MB, freed before the work: not the work's own peak
    base = before.nbytes
    del before
    with Meter() as meter:
        block = np.ones(10_000_000)
        total = 0.0
        for _ in range(20):
            total += float(np.sqrt(block).sum())
    work = meter.work()
    assert work.wall > 0
    assert work.cpu > 0
    grown = work.peak_rss - work.base_rss
    assert block.nbytes <= grown < 3 * block.nbytes < base
    assert work.peak_gpu_memory is None


def test_cpu_time_of_child_processes_counts() -> None:
    with Meter() as meter:
        burn = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
        subprocess.run([sys.executable, "-c", burn], check=True)
    assert meter.work().cpu >= 0.3


def test_beats(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert Beat.read(path) == Beat()
    heart = Heartbeat(path)
    heart.begin("ld-decay.0", 0.25)
    beat = Beat.read(path)
    assert (beat.item, beat.fraction) == ("ld-decay.0", 0.25)
    heart.progress(0.9, "soon done")  # too soon after the last to be written
    assert Beat.read(path) == beat
    time.sleep(0.25)
    heart.progress(0.9, "soon done")
    assert Beat.read(path) == Beat("ld-decay.0", beat.since, 0.9, "soon done")
    path.write_text("{")
    assert Beat.read(path) == Beat()


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
