"""What a stage costs, by its meter and the GPU's watch, and how far it says it is."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from haplobench.runner.worker.cost import (
    Beat,
    GPUWatch,
    Heartbeat,
    Meter,
    Profile,
)


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


torch = pytest.importorskip("torch", reason="torch.profiler profiles")


class Model(torch.nn.Module):  # type: ignore[name-defined, misc]
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.Sequential(torch.nn.Linear(200, 400), torch.nn.ReLU())
        self.head = torch.nn.Linear(400, 3)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(values))


def train(profile: Profile, steps: int) -> None:
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with profile:
        for _ in range(steps):
            loss = model(torch.randn(64, 200)).square().mean()
            loss.backward()
            optimizer.step()


def test_training_steps_are_profiled_by_operator_and_part(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json.gz"
    profile = Profile(True, trace, "cpu")
    train(profile, 20)
    found = profile.facts() or {}
    operators = {row["name"]: row for row in found["operators"]}
    parts = {row["name"]: row for row in found["parts"]}
    # Two linear layers, ten steps.
    assert operators["aten::addmm"]["calls"] == 20
    assert operators["aten::addmm"]["seconds"] > 0
    assert set(parts) == {"Model", "blocks", "blocks.0", "blocks.1", "head"}
    assert all(row["calls"] == 10 for row in parts.values())
    assert parts["blocks.0"]["seconds"] <= parts["blocks"]["seconds"] <= parts["Model"]["seconds"]
    # The parts are within the steps.
    assert parts["Model"]["seconds"] < found["wall"] < 60
    costs = [row["seconds"] for row in found["operators"]]
    assert costs == sorted(costs, reverse=True)
    assert json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    from torch.nn.modules import module

    before = dict(module._global_forward_hooks), dict(module._global_forward_pre_hooks)
    with pytest.raises(ZeroDivisionError), Profile(True, tmp_path / "t.json.gz", "cpu"):
        raise ZeroDivisionError
    assert (dict(module._global_forward_hooks), dict(module._global_forward_pre_hooks)) == before


def test_without_being_asked_nothing_is_profiled(tmp_path: Path) -> None:
    profile = Profile(False, tmp_path / "trace.json.gz", "cpu")
    train(profile, 20)
    assert profile.facts() is None
    assert not list(tmp_path.iterdir())


def test_a_training_of_too_few_steps_has_no_profile(tmp_path: Path) -> None:
    profile = Profile(True, tmp_path / "trace.json.gz", "cpu")
    train(profile, 3)
    assert profile.facts() is None


def test_parts_called_by_themselves_are_known_by_their_owner(tmp_path: Path) -> None:
    class Fitted:
        def __init__(self) -> None:
            self.model = Model()

    fitted = Fitted()
    trace = tmp_path / "trace.json.gz"
    with Profile(True, trace, "cpu", sampling=True, owner=fitted) as profile:
        for _ in range(6):
            fitted.model.blocks[0](torch.randn(8, 200))
            profile.step()
    # The first step warms up; the profile ends before ten.
    (part,) = (profile.facts() or {})["parts"]
    assert (part["name"], part["calls"]) == ("model.blocks.0", 5)


def test_kernels_are_not_counted_beside_the_operators_that_launched_them(tmp_path: Path) -> None:
    from torch._C._autograd import DeviceType

    def event(key: str, device: DeviceType, own: float, gpu: float) -> SimpleNamespace:
        times = {"cpu_time_total": own, "device_time_total": gpu}
        return SimpleNamespace(
            key=key,
            count=10,
            device_type=device,
            self_cpu_time_total=own,
            self_device_time_total=gpu,
            **times,
        )

    # As torch.profiler gives them on a GPU: kernels and the ranges' spans are rows of their own.
    events = [
        event("ProfilerStep*", DeviceType.CPU, 5e6, 0.0),
        event("ProfilerStep*", DeviceType.CUDA, 0.0, 4e6),
        event("aten::mm", DeviceType.CPU, 1e5, 2e6),
        event("sm90_gemm", DeviceType.CUDA, 0.0, 2e6),
        event("part:head", DeviceType.CPU, 2e5, 2e6),
        event("part:head", DeviceType.CUDA, 0.0, 3e6),
    ]
    traced = SimpleNamespace(key_averages=lambda: events, export_chrome_trace=lambda path: None)
    profile = Profile(True, tmp_path / "trace.json.gz", "cuda:0")
    profile._ready(traced)
    found = profile.facts() or {}
    (operator,), (part,) = found["operators"], found["parts"]
    assert (operator.pop("name"), part.pop("name")) == ("aten::mm", "head")
    assert operator == pytest.approx({"calls": 10, "seconds": 0.1, "device_seconds": 2.0})
    assert part == pytest.approx({"calls": 10, "seconds": 0.2, "device_seconds": 2.0})
    assert found["wall"] == pytest.approx(5.0)
