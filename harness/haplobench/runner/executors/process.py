"""Run a stage's process within limits of time and memory, and end all of it, always."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from haplobench.runner.worker.entry import EXIT_EARLY, log_of_rank
from haplobench.runner.worker.job import EXIT_NO_SPACE, is_full, shorten_log

ENTRY = Path(__file__).parents[1] / "worker" / "entry.py"
_POLL = 0.1
_TRACE = 0.3
# Seconds for the guardian to end what a plugin has left, before it is ended itself.
_LAST_RITES = 6.0
# Seconds for a process that serves to end by itself.
_FAREWELL = 1.0
# Of the time, looking at shared pages may take at most one part in so many.
_RARELY = 10
_MARK = "HAPLOBENCH_JOB"

Ending = Literal["ok", "failed", "timeout", "memory", "stopped", "no-space"]


@dataclass(frozen=True)
class Outcome:
    """How a stage's process ended.

    `ending`: ok, failed (non-zero exit or a signal), timeout, memory (over the limit, or taken
    by the kernel for want of memory), stopped (on request), no-space (disk full or read-only).
    `wall` is seconds, `peak` the largest memory seen of its processes together, bytes. `rank`
    is the one that failed first, of several. `alone`: whether its process had done no other job
    before.
    """

    ending: Ending
    wall: float
    peak: int
    detail: str = ""
    rank: int | None = None
    alone: bool = True


@dataclass(frozen=True)
class RanksHere:
    """Which ranks of a cell run on this machine: `here` of `size`, from `first` on."""

    first: int = 0
    here: int = 1
    size: int = 1


def run_limited(
    job: Path,
    *,
    log: Path,
    memory_limit: int,
    time_limit: float,
    environment: Mapping[str, str],
    stop: threading.Event,
    ranks: RanksHere = RanksHere(),
    since: Callable[[], float | None] = lambda: None,
    watch: Callable[[], None] = lambda: None,
    sandbox: Sequence[str] = (),
) -> Outcome:
    """Run `entry.py JOB` in a session of its own until it ends or must be ended.

    Parameters
    ----------
    job : Path
        The job's file.
    log : Path
        Takes what the process prints; ranks after the first have logs beside it. Of a
        long one the middle is left out.
    memory_limit : int
        Bytes, of all its processes together. Pages that several share (a fork's, until
        it writes to them) count once; files mapped into memory don't, since the kernel can
        drop them.
    time_limit : float
        Seconds, from the start or from what `since` says last.
    environment : mapping
        All environment variables of the process.
    stop : threading.Event
        Set: kill it.
    ranks : RanksHere
        Processes to start: one for each rank of this machine.
    since : callable
        `time.monotonic()` from which the time limit counts; None: from the start.
    watch : callable
        Called at every look, some ten times a second.
    sandbox : sequence of str
        Command that is given the process's to run, see `Sandbox.command`.
    """
    start = time.monotonic()
    process = StageProcess(job, log, environment, ranks, sandbox)
    logs = [Path(log_of_rank(str(log), ranks.first + i)) for i in range(ranks.here)]
    return process.run(job, logs, start, memory_limit, time_limit, stop, since, watch)


class StageProcess:
    """A process that does a job, or with `serves` one job after the other, each with its own log.

    A process that serves is alive as long as `idle` after a job that went well; it isn't where
    the job has left processes behind. `served` counts jobs that went well.
    """

    def __init__(
        self,
        job: Path,
        log: Path,
        environment: Mapping[str, str],
        ranks: RanksHere = RanksHere(),
        sandbox: Sequence[str] = (),
        *,
        serves: bool = False,
    ) -> None:
        self._mark = job
        self._ranks = ranks
        self._channel: socket.socket | None = None
        theirs: socket.socket | int = subprocess.DEVNULL
        if serves:
            self._channel, theirs = socket.socketpair()
        self.served = 0
        self.idle = False
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*sandbox, sys.executable, "-P", str(ENTRY), str(job)]
                + ["0" if sandbox else str(os.getpid()), str(log)]
                + [str(number) for number in (ranks.first, ranks.here, ranks.size)]
                + ["serve"] * serves,
                stdin=theirs if isinstance(theirs, int) else theirs.fileno(),
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment, _MARK: str(job)},
                start_new_session=True,
            )
        if not isinstance(theirs, int):
            theirs.close()
        self._tree = _Tree(self._process.pid, sandboxed=bool(sandbox))

    def serve(
        self,
        job: Path,
        log: Path,
        memory_limit: int,
        time_limit: float,
        stop: threading.Event,
        since: Callable[[], float | None],
        watch: Callable[[], None],
    ) -> Outcome:
        """Do a job, the first or the next one, as `run_limited` says."""
        start = time.monotonic()
        if self.idle and self._channel is not None:
            self.idle = False
            with contextlib.suppress(OSError):  # it has died meanwhile, as the job's end says
                self._channel.sendall(f"{job}\0{log}\n".encode())
        return self.run(job, [log], start, memory_limit, time_limit, stop, since, watch)

    def run(
        self,
        job: Path,
        logs: Sequence[Path],
        start: float,
        memory_limit: int,
        time_limit: float,
        stop: threading.Event,
        since: Callable[[], float | None],
        watch: Callable[[], None],
    ) -> Outcome:
        """Watch the process until the job is done, or end it."""
        kills, peak = _kernel_kills(), 0
        ending: Ending | None = None
        self._done = False
        try:
            while ending is None and not self._over(
                _POLL if time.monotonic() - start > 1 else 0.02
            ):
                memory = self._tree.memory(memory_limit)
                peak = max(peak, memory)
                if stop.is_set():
                    ending = "stopped"
                elif memory > memory_limit:
                    ending = "memory"
                elif time.monotonic() - max(start, since() or start) > time_limit:
                    ending = "timeout"
                    self._tree.ask_for_trace()
                for path in logs:
                    shorten_log(path)
                watch()
        finally:
            self.idle = self._done and self._tree.alone
            code = 0 if self.idle else self.end()
            for path in logs:
                shorten_log(path)
        wall = time.monotonic() - start
        if self._done or (ending is None and code == 0):
            self.served += 1
            return Outcome("ok", wall, peak)
        if ending is None and (code == EXIT_NO_SPACE or is_full(job.parent)):
            ending = "no-space"
        alone = self.served == 0
        if ending is not None:
            return Outcome(ending, wall, peak, alone=alone)
        rank = _first_to_fail(job, self._ranks)
        ending, detail = _explained(code, kills)
        return Outcome(ending, wall, peak, detail, rank, alone)

    def _over(self, patience: float) -> bool:
        """Whether the job is done or its process has ended, after at most `patience` seconds."""
        if self._channel is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                return True
            return False
        if not select.select([self._channel], [], [], patience)[0]:
            return self._process.poll() is not None
        with contextlib.suppress(OSError):
            self._done = self._channel.recv(1) == b"+"
        return True

    def end(self) -> int:
        """End the process and all that it has started; its exit code."""
        if self._channel is not None:
            self._channel.close()
            if self.idle:  # with nothing left to do it ends by itself
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_FAREWELL)
        self.idle = False
        if self._process.poll() is None:
            self._tree.end(self._process)
        self._tree.kill()
        code = self._process.wait()
        if code < 0:
            _kill_marked(str(self._mark))
        return code


def _explained(code: int, kills: int) -> tuple[Ending, str]:
    """How a process that failed ended, by its exit code; `kills`: the kernel's until it began."""
    signalled = -code if code < 0 else code - 128 if code > 128 else 0
    if signalled == signal.SIGKILL and _kernel_kills() > kills:
        return "memory", "killed by the kernel, which was out of memory"
    if signalled:
        with contextlib.suppress(ValueError):
            return "failed", f"killed by {signal.Signals(signalled).name}"
    if code == EXIT_EARLY:
        return "failed", "ended with status 0 before it was done, as os._exit(0) does"
    return "failed", f"exit code {code}"


def _first_to_fail(job: Path, ranks: RanksHere) -> int | None:
    """The rank whose process ended first, as the guardian wrote; None if it is the only one."""
    with contextlib.suppress(OSError, ValueError):
        ended = json.loads(Path(f"{job}.{ranks.first}.ended").read_text())
        return int(ended["rank"])
    return None


class _Tree:
    """A process with all its descendants, and whatever else is in its session.

    It is the guardian, or a sandbox's process whose only child the guardian is.
    """

    def __init__(self, pid: int, *, sandboxed: bool = False) -> None:
        self.pid = pid
        self.sandboxed = sandboxed
        self.seen: dict[int, psutil.Process] = {}
        self._shared_at = 0.0
        self._shared = 0

    def _look(self) -> None:
        todo = [self.pid]
        while todo:
            pid = todo.pop()
            with contextlib.suppress(psutil.Error):
                if pid not in self.seen:
                    self.seen[pid] = psutil.Process(pid)
                todo += _children(self.seen[pid])

    def memory(self, limit: int) -> int:
        """Bytes that only ending the processes would free: anonymous and shared memory.

        What each process has in memory is quickly known and counts shared pages again and
        again: only where its sum passes the limit, pages are shared out, which takes the kernel
        some milliseconds for each GB.
        """
        self._look()
        total = sum(_unmapped(pid) for pid in self.seen)
        if total <= limit or len(self.seen) == 1:
            return total
        if time.monotonic() >= self._shared_at:
            start = time.monotonic()
            self._shared = sum(_proportional(pid) for pid in self.seen)
            took = time.monotonic() - start
            self._shared_at = start + (1 + _RARELY) * took
        return self._shared

    @property
    def alone(self) -> bool:
        """Whether nothing is left but the guardian and one worker."""
        with contextlib.suppress(psutil.Error):
            workers = _children(self._guardian())
            return len(workers) == 1 and not _children(psutil.Process(workers[0]))
        return False

    def ask_for_trace(self) -> None:
        """Have the workers write to their logs where they stand."""
        # Not the guardian, which has no handler for it: it would die.
        with contextlib.suppress(psutil.Error):
            for pid in _children(self._guardian()):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGUSR1)
        time.sleep(_TRACE)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Have the guardian kill whatever descends from it, and end."""
        with contextlib.suppress(psutil.Error):
            self._guardian().terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_RITES)

    def _guardian(self) -> psutil.Process:
        first = psutil.Process(self.pid)
        inside = _children(first) if self.sandboxed else []
        return psutil.Process(inside[0]) if inside else first

    def kill(self) -> None:
        """Kill the process group, and descendants that left it."""
        self._look()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for process in self.seen.values():
            # psutil compares start times: a pid used again by someone else is safe.
            with contextlib.suppress(psutil.Error):
                process.kill()


def _children(process: psutil.Process) -> list[int]:
    """Pids of a process's children; from its own folder in /proc, as looking at all is slow."""
    folder = f"/proc/{process.pid}/task"
    try:
        pids: list[int] = []
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/children") as children:
                pids += map(int, children.read().split())
        return pids
    except (OSError, ValueError):
        # The process or a thread has just ended, or the kernel doesn't tell.
        return [child.pid for child in process.children()]


def _told(path: str, names: tuple[str, ...]) -> int:
    """Bytes of some of the lines of a file of the kernel's, which has them in KiB."""
    with open(path) as lines:
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(names))


def _unmapped(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return _told(f"/proc/{pid}/status", ("RssAnon:", "RssShmem:"))
    if sys.platform.startswith("linux"):
        return 0
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _proportional(pid: int) -> int:
    """As `_unmapped`, but of pages that n processes share the n-th part."""
    try:
        return _told(f"/proc/{pid}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))
    except ProcessLookupError:
        return 0
    except (OSError, ValueError):
        # An older kernel, or a process that hides its memory.
        return _unmapped(pid)


def _kill_marked(job: str) -> None:
    """Kill a job's processes by their environment: their guardian was killed, by a plugin say.

    One that is just starting a program hides its environment, so the last look finds none.
    """
    looks, end = 2, time.monotonic() + _LAST_RITES
    while looks and time.monotonic() < end:
        looks -= 1
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == job and process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    looks = 2
        time.sleep(0.05)


def _kernel_kills() -> int:
    """How often the kernel has killed for want of memory since it started."""
    with contextlib.suppress(OSError, ValueError), open("/proc/vmstat") as lines:
        for line in lines:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def stage_environment(threads: int) -> dict[str, str]:
    """Environment of a stage's process: as ours, with `threads` for every numeric library.

    Hashing is fixed and GPU matrix products are deterministic, so that the same seed gives
    the same bytes.
    """
    environment = dict(os.environ)
    for name in (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ):
        environment[name] = str(threads)
    environment["PYTHONHASHSEED"] = "0"
    environment["PYTHONUNBUFFERED"] = "1"
    environment.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return environment
