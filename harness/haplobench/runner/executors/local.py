"""Executors: where the processes of stages run. One interface; `LocalExecutor` is this machine."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from haplobench.errors import BenchError, SuiteError
from haplobench.runner.executors.process import (
    Outcome,
    RanksHere,
    StageProcess,
    run_limited,
    stage_environment,
)
from haplobench.runner.worker.cost import Beat
from haplobench.runner.worker.job import Job


class StoppedError(Exception):
    """The run was asked to stop."""


class UserError(BenchError):
    """Something that the user must mend: other pieces of work still end, then it is raised."""


def run_all(work: Sequence[Callable[[], None]], slots: int, stop: threading.Event) -> None:
    """Do pieces of work in order, as many at a time as there are slots.

    What the user must mend is raised when the others are done. Any other exception stops
    everything: stages in flight are killed, the rest isn't begun.
    """
    with ThreadPoolExecutor(slots, "cell") as pool:
        todo = list(work)
        running: set[Future[None]] = set()
        errors: list[BaseException] = []
        try:
            while (todo and not stop.is_set()) or running:
                while todo and not stop.is_set() and len(running) < slots:
                    running.add(pool.submit(todo.pop(0)))
                # A time limit, so that Ctrl-C is heard.
                done, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                endings = [future.exception() for future in done]
                errors += [error for error in endings if error is not None]
                if not all(isinstance(error, UserError) for error in errors):
                    stop.set()
        except BaseException:
            stop.set()
            raise
    serious = [error for error in errors if not isinstance(error, StoppedError)]
    users = [error for error in serious if isinstance(error, UserError)]
    if serious and len(users) < len(serious):
        raise next(error for error in serious if not isinstance(error, UserError))
    if len(users) == 1:
        raise BenchError(str(users[0]))
    if users:
        raise SuiteError([str(error) for error in users])


_POLL = 0.2


def visible_gpus(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """Names of the GPUs that a process started here would see, as in CUDA_VISIBLE_DEVICES."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        cards = [path for path in folder.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
        return tuple(str(i) for i in range(len(cards)))
    names: list[str] = []
    for name in named.split(","):
        # CUDA stops at the first that is no device.
        if not name.strip() or name.strip() == "-1":
            break
        names.append(name.strip())
    return tuple(names)


class TooFewError(Exception):
    """More GPUs are asked for than there are."""


class Devices:
    """Hands out slots and GPUs in the order in which they are asked for.

    Parameters
    ----------
    slots : int
        How many processes may run side by side; a stage of more ranks than that runs alone.
    gpus : sequence of str
        Each is one stage's only.
    """

    def __init__(self, slots: int, gpus: Sequence[str] = ()) -> None:
        self.slots = slots
        self.gpus = tuple(gpus)
        self._free_slots = slots
        self._free_gpus = list(gpus)
        self._queue: deque[object] = deque()
        self._change = threading.Condition()

    @contextlib.contextmanager
    def lease(self, ranks: int, gpus: int, stop: threading.Event) -> Iterator[tuple[str, ...]]:
        """Hold slots for `ranks` processes, and GPUs of these names; wait for them if need be.

        Raises TooFewError if there never will be so many GPUs, InterruptedError when `stop` is
        set while waiting.
        """
        if gpus > len(self.gpus):
            raise TooFewError(
                f"needs {gpus} GPUs, one for each rank; {len(self.gpus)} "
                f"{'is' if len(self.gpus) == 1 else 'are'} visible (CUDA_VISIBLE_DEVICES= runs "
                "it on CPUs)"
            )
        slots = min(ranks, self.slots)
        held = self._wait(slots, gpus, stop)
        try:
            yield held
        finally:
            with self._change:
                self._free_slots += slots
                # In their order, so that the first are used first.
                self._free_gpus = [
                    gpu for gpu in self.gpus if gpu in self._free_gpus or gpu in held
                ]
                self._change.notify_all()

    def _wait(self, slots: int, gpus: int, stop: threading.Event) -> tuple[str, ...]:
        turn = object()
        with self._change:
            self._queue.append(turn)
            try:
                while not (
                    self._queue[0] is turn
                    and self._free_slots >= slots
                    and len(self._free_gpus) >= gpus
                ):
                    if stop.is_set():
                        raise InterruptedError
                    self._change.wait(_POLL)
                self._free_slots -= slots
                held = tuple(self._free_gpus[:gpus])
                del self._free_gpus[:gpus]
                return held
            finally:
                self._queue.remove(turn)
                self._change.notify_all()


@dataclass(frozen=True)
class StageTask:
    """A job with its limits, ready to be run somewhere that sees the same files.

    `path` is where the job lies as JSON (`job.world_size` processes are to be started on it);
    `log` takes what they print. `memory_limit` bytes. `per_item`: the time limit counts from
    the start of each of the stage's items, see `Beat`. `sandbox` is put before the command, see
    `Sandbox.command`. `alone`: in a process of its own, whatever others do.
    """

    job: Job
    path: Path
    log: Path
    memory_limit: int
    per_item: bool = False
    sandbox: tuple[str, ...] = ()
    alone: bool = False


class Executor(Protocol):
    """Runs stages. Called from `slots` threads at once."""

    @property
    def slots(self) -> int:
        """How many stages may run side by side."""

    def run(self, task: StageTask, stop: threading.Event, watch: Callable[[Beat], None]) -> Outcome:
        """Run a stage to its end or to its limits; kill it when `stop` is set.

        `watch` is handed the last beat, some times a second.
        """

    def retire(self) -> None:
        """End processes that wait for more to do, and those at work once they have done it."""


class LocalExecutor:
    """Stages as processes of this machine, one for each rank.

    `jobs` processes run side by side (a cell of more ranks than that runs alone). A stage that
    has use for GPUs gets one for each rank, which nobody else gets meanwhile; others see none.
    `gpus` names them; None: all that are visible. Cells are measured by as many processes as run
    side by side, which keep what they have imported and prepared, unless with a GPU.
    """

    def __init__(self, jobs: int = 1, gpus: Sequence[str] | None = None) -> None:
        self.slots = max(1, jobs)
        self.devices = Devices(self.slots, visible_gpus() if gpus is None else gpus)
        self._waiting: list[tuple[dict[str, str], StageProcess]] = []
        self._retired = 0
        self._lock = threading.Lock()

    def run(self, task: StageTask, stop: threading.Event, watch: Callable[[Beat], None]) -> Outcome:
        """Run its processes in a session of their own, see `run_limited`."""
        status = Path(task.job.status)
        size = task.job.world_size
        wanted = size if task.job.gpu and self.devices.gpus else 0

        def since() -> float | None:
            return Beat.read(status).since if task.per_item else None

        def look() -> None:
            watch(Beat.read(status))

        try:
            with self.devices.lease(size, wanted, stop) as gpus:
                environment = stage_environment(task.job.threads)
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
                limits = (task.memory_limit, task.job.time_limit)
                if task.job.stage == "measure" and not wanted and not task.alone:
                    process, era = self._server(task, environment)
                    outcome = process.serve(task.path, task.log, *limits, stop, since, look)
                    self._keep(environment, process, era)
                    return outcome
                return run_limited(
                    task.path,
                    log=task.log,
                    memory_limit=task.memory_limit,
                    time_limit=task.job.time_limit,
                    environment=environment,
                    stop=stop,
                    ranks=RanksHere(0, size, size),
                    since=since,
                    watch=look,
                    sandbox=task.sandbox,
                )
        except InterruptedError:
            return Outcome("stopped", 0.0, 0)
        except TooFewError as error:
            return Outcome("failed", 0.0, 0, str(error))

    def _server(self, task: StageTask, environment: dict[str, str]) -> tuple[StageProcess, int]:
        """A process that waits for more to do, else a new one; and how often all were retired."""
        with self._lock:
            for i, (mine, process) in enumerate(self._waiting):
                if mine == environment:
                    del self._waiting[i]
                    return process, self._retired
            return StageProcess(task.path, task.log, environment, serves=True), self._retired

    def _keep(self, environment: dict[str, str], process: StageProcess, era: int) -> None:
        with self._lock:
            if process.idle and era == self._retired:
                self._waiting.append((environment, process))
                return
        if process.idle:
            process.end()

    def retire(self) -> None:
        """See `Executor`."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._retired += 1
        for _, process in waiting:
            process.end()
