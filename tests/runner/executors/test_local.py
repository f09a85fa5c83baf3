"""Slots and GPUs of this machine, and who gets them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from haplobench import Panel, RunContext
from haplobench.runner.executors import local
from haplobench.runner.executors.local import (
    Devices,
    LocalExecutor,
    StageTask,
    TooFewError,
    visible_gpus,
)
from haplobench.runner.executors.process import Outcome
from haplobench.runner.worker.job import Job
from haplobench.runner.worker.prepare import make_prepared


@pytest.mark.parametrize("jobs", [1, 2, 1000])
def test_jobs_are_cells_side_by_side(jobs: int) -> None:
    assert LocalExecutor(jobs).slots == jobs


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("0,1", ("0", "1")),
        ("", ()),
        ("-1", ()),
        (" 3 , GPU-ab", ("3", "GPU-ab")),
        ("2,-1,3", ("2",)),
    ],
)
def test_visible_gpus_by_environment(
    monkeypatch: pytest.MonkeyPatch, named: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == expected


def test_visible_gpus_by_device_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia3", "nvidia5", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus(tmp_path) == ("0", "1")


def task(tmp_path: Path, name: str, world_size: int = 1, *, gpu: bool = True) -> StageTask:
    job = Job(
        stage="fit", plugins=(), output="", scratch="", artifacts="", error="", time_limit=60.0,
        status=str(tmp_path / f"{name}.status"), name=name, world_size=world_size, gpu=gpu,
    )  # fmt: skip
    return StageTask(job, tmp_path / f"{name}.json", tmp_path / f"{name}.log", 1 << 30)


class Recorded:
    """Stands in for the processes: notes which GPUs each stage saw, and when."""

    def __init__(self) -> None:
        self.now: dict[str, set[str]] = {}
        self.seen: list[tuple[str, str]] = []
        self.shared = False
        self.most = 0
        self.lock = threading.Lock()

    def __call__(self, path: Path, *, environment: Any, ranks: Any, **_: Any) -> Outcome:
        names = environment["CUDA_VISIBLE_DEVICES"]
        own = set(names.split(",")) - {""}
        with self.lock:
            self.shared |= any(own & others for others in self.now.values())
            self.now[path.stem] = own
            self.seen.append((path.stem, names))
            self.most = max(self.most, len(self.now))
        time.sleep(0.15)
        with self.lock:
            del self.now[path.stem]
        return Outcome("ok", 0.15, 0)


def run_all(executor: LocalExecutor, tasks: list[StageTask]) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}

    def one(i: int) -> None:
        outcomes[i] = executor.run(tasks[i], threading.Event(), lambda beat: None)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(tasks))]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    return [outcomes[i] for i in range(len(tasks))]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    found = Recorded()
    monkeypatch.setattr(local, "run_limited", found)
    return found


def test_cells_side_by_side_never_share_a_gpu(tmp_path: Path, recorded: Recorded) -> None:
    executor = LocalExecutor(8, gpus=("0", "1", "GPU-ab"))
    sizes = [1, 2, 1, 3, 1, 1]
    outcomes = run_all(executor, [task(tmp_path, f"t{i}", n) for i, n in enumerate(sizes)])
    assert {outcome.ending for outcome in outcomes} == {"ok"}
    assert not recorded.shared
    assert recorded.most > 1
    seen = dict(recorded.seen)
    assert [len(seen[f"t{i}"].split(",")) for i in range(len(sizes))] == sizes
    # In the order asked: the three GPUs of t3 were not given to later, smaller ones for ever.
    order = [name for name, _ in recorded.seen]
    assert order.index("t3") < order.index("t5")


def test_a_stage_without_use_for_a_gpu_sees_none(tmp_path: Path, recorded: Recorded) -> None:
    run_all(LocalExecutor(2, gpus=("0",)), [task(tmp_path, "plain", gpu=False)])
    assert recorded.seen == [("plain", "")]


def test_without_gpus_ranks_run_on_cpus(tmp_path: Path, recorded: Recorded) -> None:
    run_all(LocalExecutor(2, gpus=()), [task(tmp_path, "cpu", 2)])
    assert recorded.seen == [("cpu", "")]


def test_too_few_gpus_are_said(tmp_path: Path, recorded: Recorded) -> None:
    (outcome,) = run_all(LocalExecutor(2, gpus=("0",)), [task(tmp_path, "two", 2)])
    assert outcome.ending == "failed"
    assert outcome.detail.startswith("needs 2 GPUs, one for each rank; 1 is visible")
    assert recorded.seen == []


def test_ranks_count_as_slots(tmp_path: Path, recorded: Recorded) -> None:
    tasks = [task(tmp_path, f"t{i}", 2, gpu=False) for i in range(4)]
    run_all(LocalExecutor(3, gpus=()), tasks)
    assert recorded.most == 1


def test_waiting_ends_when_the_run_is_stopped() -> None:
    devices = Devices(1, ("0",))
    stop = threading.Event()
    stop.set()
    holding = devices.lease(1, 1, threading.Event())
    with holding, pytest.raises(InterruptedError), devices.lease(1, 1, stop):
        pass
    with devices.lease(1, 1, threading.Event()) as gpus:
        assert gpus == ("0",)
    with pytest.raises(TooFewError), devices.lease(1, 2, threading.Event()):
        pass


class Served:
    """Measure jobs of a toy metric, run by one executor."""

    def __init__(self, toys: Any, folder: Path) -> None:
        toys.write(
            "toy_served",
            """
            import os, subprocess, time
            from haplobench import MetricResult, MetricSpec, Measurement, Params, SubmetricSpec
            from haplobench import hookimpl

            class Do(Params):
                what: str = ""

            DONE = []

            def measure(reference, cohort, params, ctx):
                DONE.append(params.what)
                if params.what == "die" or (params.what == "be first" and len(DONE) > 1):
                    os.kill(os.getpid(), 9)
                if params.what == "hold":
                    DONE.append(b"x" * (300 << 20))
                if params.what == "wait":
                    time.sleep(1)
                if params.what == "leave":
                    subprocess.Popen(["sleep", "997"])
                return MetricResult({"pid": Measurement(os.getpid(), len(DONE))})

            @hookimpl
            def haplobench_metrics():
                pid = SubmetricSpec("pid", "Pid", "Process.", "info")
                return [MetricSpec(
                    name="served", version="1", target="toy_served:measure", summary="P.",
                    family="fidelity", submetrics=(pid,), params=Do, site_matched=False,
                )]
            """,
        )
        rng = np.random.default_rng(1)
        panel = Panel(
            rng.integers(0, 2, (12, 5), dtype=np.int8),
            np.arange(1, 6),
            "1",
            np.array(list("abcdef")),
        )
        self.folder, self.paths = folder, (str(toys.folder),)
        self.prepared = folder / "prepared"
        make_prepared(
            train=panel.select_samples(range(3)),
            holdout=panel.select_samples(range(3, 6)),
            validation=np.empty(0, np.int64),
            recombination_map=None,
            sequence=None,
            min_maf=0.0,
            max_missing=0.0,
            skipped={},
            provenance={},
            ctx=RunContext(seed=1, artifacts=folder, scratch=folder),
        ).save(self.prepared)
        self.executor = LocalExecutor(1, gpus=())
        self.n = 0

    def __call__(self, what: str = "", *, alone: bool = False, memory: int = 1 << 31) -> Any:
        self.n += 1
        work = self.folder / str(self.n)
        for name in ("output", "scratch", "artifacts"):
            (work / name).mkdir(parents=True)
        item = {
            "id": "served.0", "metric": "served", "params": {"what": what}, "replicate": 0,
            "result": str(work / "result.json"), "telemetry": None,
        }  # fmt: skip
        job = Job(
            stage="measure", plugins=("toy_served",), output=str(work / "output"),
            scratch=str(work / "scratch"), artifacts=str(work / "artifacts"), time_limit=60.0,
            error=str(work / "error.json"), status=str(work / "status.json"), paths=self.paths,
            settings={
                "prepared": str(self.prepared), "items": [item],
                "cohort": {"kind": "floor", "people": 1, "pool": "holdout"},
            },
        )  # fmt: skip
        job.write(work / "job.json")
        task = StageTask(job, work / "job.json", work / "log", memory, per_item=True, alone=alone)
        outcome = self.executor.run(task, threading.Event(), lambda beat: None)
        result = work / "result.json"
        if not result.is_file():
            return outcome, None, None
        (row,) = json.loads(result.read_text())["measurements"]
        return outcome, int(row["value"]), row["n"]


@pytest.fixture
def served(toys: Any, tmp_path: Path) -> Iterator[Served]:
    made = Served(toys, tmp_path)
    yield made
    made.executor.retire()


def test_one_process_measures_cell_after_cell_until_it_is_retired(served: Served) -> None:
    (_, pid, n), second, third = served(), served(), served(alone=True)
    assert n == 1
    assert second[1:] == (pid, 2)
    assert third[1] != pid
    assert served()[1:] == (pid, 3)
    served.executor.retire()
    assert not psutil.pid_exists(pid)
    assert served()[2] == 1


def test_a_death_costs_the_job_in_hand_and_says_whether_others_came_before(served: Served) -> None:
    served()
    outcome, pid, _ = served("be first")
    assert (outcome.ending, outcome.alone, pid) == ("failed", False, None)
    assert "SIGKILL" in outcome.detail
    assert served("be first", alone=True)[0].ending == "ok"
    outcome, _, _ = served("die")
    assert (outcome.ending, outcome.alone) == ("failed", True)


def test_memory_that_other_jobs_hold_is_told_and_what_they_leave_behind_ends(
    served: Served,
) -> None:
    assert served("hold")[0].ending == "ok"
    outcome, _, _ = served("wait", memory=300 << 20)
    assert (outcome.ending, outcome.alone) == ("memory", False)
    _, pid, _ = served("leave")
    assert not psutil.pid_exists(pid)
    assert served()[2] == 1
