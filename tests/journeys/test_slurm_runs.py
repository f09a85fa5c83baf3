"""Whole runs on a real Slurm of one node."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import slurm_cluster
from slurm_cluster import SlurmCluster
from slurm_jobs import GENERATORS, check, run

from haplobench.runner.executors.slurm import SlurmExecutor
from haplobench.suite.schema import ExecutorSettings

pytest.importorskip("submitit", reason="jobs are submitted through submitit")
pytest.importorskip("torch", reason="ranks talk over torch.distributed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    why_not = slurm_cluster.install()
    if why_not:
        pytest.skip(why_not)
    with SlurmCluster() as running:
        yield running


@pytest.mark.slow
def test_a_suite_runs_as_jobs_side_by_side(
    toys: Any, tmp_path: Path, cluster: SlurmCluster
) -> None:
    settings = ExecutorSettings(name="slurm", partition="tests", extra={"nice": 1})
    most = 0
    over = threading.Event()

    def count() -> None:
        nonlocal most
        while not over.wait(0.3):
            most = max(most, len(cluster.jobs()))

    counter = threading.Thread(target=count)
    counter.start()
    try:
        check(run(toys, GENERATORS, tmp_path, executor=SlurmExecutor(settings, jobs=4, poll=0.5)))
    finally:
        over.set()
        counter.join()
    assert most >= 2
    assert gone(cluster)


@pytest.mark.slow
def test_jobs_are_cancelled_when_a_run_is_stopped(
    toys: Any, tmp_path: Path, cluster: SlurmCluster
) -> None:
    text = "generators: [{name: shared, label: hung, world_size: 2, params: {misbehave: hang}}]"
    executor = SlurmExecutor(ExecutorSettings(name="slurm", partition="tests"), jobs=2, poll=0.5)
    original = executor.run

    def interrupted(task: Any, stop: threading.Event, watch: Any) -> Any:
        if task.job.stage == "fit" and task.job.name == "shared":
            threading.Timer(12.0, stop.set).start()
        return original(task, stop, watch)

    executor.run = interrupted  # type: ignore[method-assign]
    run(toys, text, tmp_path, executor=executor)
    assert gone(cluster)
    end = time.monotonic() + 30
    while workers(tmp_path) and time.monotonic() < end:
        time.sleep(0.3)
    assert workers(tmp_path) == []


def gone(cluster: SlurmCluster) -> bool:
    """Whether all jobs are over, some time after they were left."""
    end = time.monotonic() + 30
    while cluster.jobs() and time.monotonic() < end:
        time.sleep(0.3)
    return not cluster.jobs()


def workers(folder: Path) -> list[int]:
    """Processes of stages whose results were to lie in a folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in text for text in process.info["cmdline"] or ())
    ]


@pytest.mark.slow
def test_what_slurm_refuses_is_one_line(toys: Any, tmp_path: Path, cluster: SlurmCluster) -> None:
    from haplobench import BenchError

    executor = SlurmExecutor(ExecutorSettings(name="slurm", partition="nowhere"), poll=0.5)
    with pytest.raises(BenchError, match=r"Slurm refused the job: sbatch: error: .*artition"):
        run(toys, "generators: [frequency]", tmp_path, executor=executor)
