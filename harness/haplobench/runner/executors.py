"""Executors: where the processes of stages run. One interface; `LocalExecutor` is this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from haplobench.runner.jobs import Job
from haplobench.runner.process import Outcome, run_limited, stage_environment
from haplobench.runner.telemetry import Beat


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
    """Stages as processes of this machine."""

    def __init__(self, jobs: int = 1) -> None:
        self.slots = max(1, jobs)

    def run(self, task: StageTask, stop: threading.Event, watch: Callable[[Beat], None]) -> Outcome:
        """Run one process in a session of its own, see `run_limited`."""
        status = Path(task.job.status)
        return run_limited(
            task.path,
            log=task.log,
            memory_limit=task.memory_limit,
            time_limit=task.job.time_limit,
            environment=stage_environment(task.job.threads),
            stop=stop,
            since=lambda: Beat.read(status).since if task.per_item else None,
            watch=lambda: watch(Beat.read(status)),
        )
