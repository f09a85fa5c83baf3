"""Executor slurm, through submitit's local cluster."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from slurm_jobs import GENERATORS, check, rows, run

from haplobench.runner.executors import slurm
from haplobench.runner.executors.local import StageTask
from haplobench.runner.executors.process import Outcome, RanksHere, run_limited, stage_environment
from haplobench.runner.executors.slurm import SlurmExecutor
from haplobench.runner.worker.job import Job
from haplobench.suite.schema import ExecutorSettings

pytest.importorskip("submitit", reason="jobs are submitted through submitit")
pytest.importorskip("torch", reason="ranks talk over torch.distributed")


@pytest.mark.slow
def test_a_stage_is_a_job(toys: Any, tmp_path: Path) -> None:
    executor = SlurmExecutor(ExecutorSettings(), jobs=4, cluster="local", poll=0.5)
    check(run(toys, GENERATORS, tmp_path, executor=executor))


@pytest.mark.parametrize(
    ("shown", "kept", "state", "reason"),
    [
        ("JobId=7 JobName=x JobState=PENDING Reason=Resources Dep=1", "", "PENDING", "Resources"),
        ("", "OUT_OF_MEMORY\n", "OUT_OF_MEMORY", ""),
        ("", "CANCELLED by 0\n", "CANCELLED", ""),
        ("", "", "COMPLETED", ""),
    ],
)
def test_what_slurm_says_of_a_job(
    monkeypatch: pytest.MonkeyPatch, shown: str, kept: str, state: str, reason: str
) -> None:
    said = {"scontrol": shown, "sacct": kept}
    monkeypatch.setattr(slurm, "_ask", lambda *command: said[command[0]])
    assert slurm.slurm_state("7") == slurm.JobState(state, reason)


@pytest.mark.parametrize(
    ("state", "ending"),
    [("TIMEOUT", "timeout"), ("OUT_OF_MEMORY", "memory"), ("NODE_FAIL", "failed")],
)
def test_a_job_whose_nodes_are_silent_ends_as_slurm_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, ending: str
) -> None:
    class Submitted:
        job_id = 7

        def cancel(self, check: bool) -> None:
            pass

    (tmp_path / "submitit").mkdir()
    (tmp_path / "submitit" / "7_0_log.err").write_text("slurmstepd: error: gone\n")
    executor = SlurmExecutor(ExecutorSettings(), poll=0.0)
    monkeypatch.setattr(slurm, "_GRACE", 2.0)
    monkeypatch.setattr(executor, "_state", lambda job: slurm.JobState(state, "Why"))
    status = str(tmp_path / "status.json")
    job = Job(
        stage="fit", plugins=(), output="", scratch="", artifacts="", status=status, error="",
        time_limit=1.0, world_size=2,
    )  # fmt: skip
    stage = StageTask(job, tmp_path / "job.json", tmp_path / "log", memory_limit=1)
    task = slurm.NodeTask(stage, tmp_path / "heartbeat", nodes=1, gpus=0)
    outcome = executor._wait(Submitted(), task, tmp_path, threading.Event(), lambda beat: None)
    assert outcome.ending == ending
    assert outcome.detail == f"job 7 ended as {state} (Why)\nslurmstepd: error: gone"


def test_gpus_that_a_node_does_not_have_are_one_clear_row(toys: Any, tmp_path: Path) -> None:
    settings = ExecutorSettings(nodes=2, gpus_per_node=1)
    executor = SlurmExecutor(settings, cluster="local", poll=0.5)

    class Task:
        class job:  # noqa: N801
            stage, world_size, gpu = "fit", 4, True

    outcome = executor.run(Task, threading.Event(), lambda beat: None)  # type: ignore[arg-type]
    assert outcome.ending == "failed"
    assert outcome.detail.startswith("needs 2 GPUs a node, one for each rank")


class TwoNodes:
    """Each rank under a guardian of its own, as on two machines that share files."""

    slots = 2

    def retire(self) -> None:
        pass

    def run(self, task: Any, stop: threading.Event, watch: Any) -> Outcome:
        size = task.job.world_size
        with ThreadPoolExecutor(size) as pool:
            nodes = [
                pool.submit(
                    run_limited,
                    task.path,
                    log=task.log,
                    memory_limit=task.memory_limit,
                    time_limit=task.job.time_limit,
                    environment=stage_environment(1),
                    stop=stop,
                    ranks=RanksHere(rank, 1, size),
                )
                for rank in range(size)
            ]
        return slurm._together([node.result() for node in nodes])


@pytest.mark.slow
def test_ranks_of_several_machines_meet(toys: Any, tmp_path: Path) -> None:
    text = "generators: [{name: shared, label: fine, world_size: [1, 2]}]"
    found = rows(run(toys, text, tmp_path, executor=TwoNodes()))
    assert found["fine", 1].status == found["fine", 2].status == "ok"
    assert found["fine", 1].value == found["fine", 2].value


def test_a_node_gives_up_when_the_harness_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(slurm, "ABANDONED", 2.5)
    heartbeat, stop = tmp_path / "heartbeat", threading.Event()
    heartbeat.touch()
    watcher = threading.Thread(target=slurm._watch_heartbeat, args=(heartbeat, stop), daemon=True)
    watcher.start()
    for _ in range(8):
        time.sleep(0.5)
        os.utime(heartbeat)
        assert not stop.is_set()
    assert stop.wait(10)
    removed = threading.Event()
    heartbeat.unlink()
    slurm._watch_heartbeat(heartbeat, removed)
    assert removed.is_set()
