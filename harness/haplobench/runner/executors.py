"""Executors: where the processes of stages run. One interface; `LocalExecutor` is this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from haplobench.errors import BenchError
from haplobench.plugin import Binary, Module
from haplobench.runner.devices import Devices, TooFewError, visible_gpus
from haplobench.runner.jobs import Job
from haplobench.runner.process import Outcome, RanksHere, run_limited, stage_environment
from haplobench.runner.telemetry import Beat
from haplobench.suite_schema import ExecutorSettings


@dataclass(frozen=True)
class StageTask:
    """A job with its limits, ready to be run somewhere that sees the same files.

    `path` is where the job lies as JSON (`job.world_size` processes are to be started on it);
    `log` takes what they print. `memory_limit` bytes. `per_item`: the time limit counts from
    the start of each of the stage's items, see `Beat`.
    """

    job: Job
    path: Path
    log: Path
    memory_limit: int
    per_item: bool = False


class Executor(Protocol):
    """Runs stages. Called from `slots` threads at once."""

    @property
    def slots(self) -> int:
        """How many stages may run side by side."""

    def run(self, task: StageTask, stop: threading.Event, watch: Callable[[Beat], None]) -> Outcome:
        """Run a stage to its end or to its limits; kill it when `stop` is set.

        `watch` is handed the last beat, some times a second.
        """


class LocalExecutor:
    """Stages as processes of this machine, one for each rank.

    `jobs` processes run side by side (a cell of more ranks than that runs alone). A stage that
    has use for GPUs gets one for each rank, which nobody else gets meanwhile; others see none.
    `gpus` names them; None: all that are visible.
    """

    def __init__(self, jobs: int = 1, gpus: Sequence[str] | None = None) -> None:
        self.slots = max(1, jobs)
        self.devices = Devices(self.slots, visible_gpus() if gpus is None else gpus)

    def run(self, task: StageTask, stop: threading.Event, watch: Callable[[Beat], None]) -> Outcome:
        """Run its processes in a session of their own, see `run_limited`."""
        status = Path(task.job.status)
        size = task.job.world_size
        wanted = size if task.job.gpu and self.devices.gpus else 0
        try:
            with self.devices.lease(size, wanted, stop) as lease:
                environment = stage_environment(task.job.threads)
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(lease.gpus)
                return run_limited(
                    task.path,
                    log=task.log,
                    memory_limit=task.memory_limit,
                    time_limit=task.job.time_limit,
                    environment=environment,
                    stop=stop,
                    ranks=RanksHere(0, size, size),
                    since=lambda: Beat.read(status).since if task.per_item else None,
                    watch=lambda: watch(Beat.read(status)),
                )
        except InterruptedError:
            return Outcome("stopped", 0.0, 0)
        except TooFewError as error:
            return Outcome("failed", 0.0, 0, str(error))


def make_executor(settings: ExecutorSettings, jobs: int | None = None) -> Executor:
    """The executor that a suite asks for; `jobs` None: 1 here, 16 on a cluster.

    Raises BenchError if it isn't installed.
    """
    if settings.name == "local":
        return LocalExecutor(jobs or 1)
    missing = [
        need.missing()
        for need in (
            Module("submitit", "haplobench[slurm]"),
            Binary("sbatch", "run bench on a machine of the cluster that submits jobs"),
        )
        if need.missing()
    ]
    if missing:
        raise BenchError(f"executor slurm needs {'; '.join(missing)}")
    from haplobench.runner.slurm import SlurmExecutor

    return SlurmExecutor(settings, jobs or 16)
