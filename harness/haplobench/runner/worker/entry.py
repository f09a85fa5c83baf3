"""Script that a stage's process starts as: bound to the harness's life, then `worker.main`.

Run as a file, so that nothing heavy is imported before the fork. The process that the
harness started stays behind as a guardian: when the harness dies, however suddenly, the
guardian is told by the kernel and kills the whole process group, so that nothing is left
running. The worker it forks does the work; of a cell with several ranks it forks one for
each rank on this machine, with torchrun's environment variables, and when one dies it ends
the others and writes which was first. What a plugin starts and leaves behind, however detached,
becomes the guardian's child and is killed with the stage.

In a sandbox the guardian is the first process of a namespace of its own: it has no parent there
(HARNESS_PID is 0), and with it all processes of the namespace end.

With `serve` a worker that is done with its job waits for the next one on standard input.

Usage: entry.py JOB.json HARNESS_PID [LOG FIRST_RANK RANKS_HERE WORLD_SIZE [serve]]
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TOGETHER = 0.05
# A worker's exit code once its stage is done: 0 is what a plugin's `os._exit(0)` gives, and
# that the guardian passes on as EXIT_EARLY.
_DONE = 76
EXIT_EARLY = 75
# A plugin that forks faster than it can be killed isn't waited for, seconds.
_LAST_RITES = 5.0


def _prctl(option: int, value: int) -> bool:
    """Ask the kernel for something; False where it isn't Linux, and orphans are possible."""
    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _die_with_parent(sign: signal.Signals, parent: int) -> None:
    """Ask the kernel for a signal when the parent ends; if it has ended already, end too."""
    if _prctl(_PR_SET_PDEATHSIG, int(sign)) and os.getppid() != parent:
        os._exit(1)


def _first_to_go() -> None:
    """Let the kernel, short of memory, take this process before the harness."""
    try:
        with open("/proc/self/oom_score_adj", "w") as handle:
            handle.write("1000")
    except OSError:
        pass


def _guard(workers: dict[int, int], job: str, first: int, size: int) -> int:
    """Wait for the workers (rank by pid) and pass their end on; one that dies ends all."""
    ended: list[tuple[int, int]] = []
    while workers and not any(code for _, code in ended):
        ended += _reap(workers, os.wait())
    if not any(code for _, code in ended):
        return 0
    # Those that ended for the same reason at the same time: the kernel tells in any order.
    time.sleep(_TOGETHER if workers else 0)
    while workers:
        end = os.waitpid(-1, os.WNOHANG)
        if not end[0]:
            break
        ended += _reap(workers, end)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    bad = [(rank, code) for rank, code in ended if code]
    rank, code = next(((rank, code) for rank, code in bad if code < 0), bad[0])
    if size > 1:
        with contextlib.suppress(OSError), open(f"{job}.{first}.ended", "w") as handle:
            json.dump({"rank": rank, "signalled": code < 0}, handle)
    return code if code >= 0 else 128 - code


def _reap(workers: dict[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """Rank and exit code of a process that `os.wait` told of; none if it is no worker."""
    pid, status = end
    if pid not in workers:
        return []
    code = os.waitstatus_to_exitcode(status)
    return [(workers.pop(pid), {0: EXIT_EARLY, _DONE: 0}.get(code, code))]


def _bury_orphans() -> None:
    """Kill all children, and theirs, who become ours as their parents end."""
    end = time.monotonic() + _LAST_RITES
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            for task in os.listdir("/proc/self/task"):
                with open(f"/proc/self/task/{task}/children") as children:
                    for pid in children.read().split():
                        os.kill(int(pid), signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _become_rank(rank: int, local_rank: int, here: int, size: int, log: str) -> None:
    """Set torchrun's environment variables; ranks after the first have a log of their own."""
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(size),
        LOCAL_RANK=str(local_rank),
        LOCAL_WORLD_SIZE=str(here),
    )
    if rank:
        handle = os.open(log_of_rank(log, rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(handle, 1)
        os.dup2(handle, 2)


def log_of_rank(log: str, rank: int) -> str:
    """Where a rank prints to: `x.log`, `x.rank1.log`, …"""
    return f"{log.removesuffix('.log')}.rank{rank}.log" if rank else log


def _next_job(channel: int) -> str:
    """Tell the harness that a job is done and wait for the next: its file, or empty if none is."""
    os.write(channel, b"+")
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(channel, 65_536)
        if not part:
            return ""
        line += part
    job, log = line.decode(errors="surrogateescape").rstrip("\n").split("\0")
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    return job


def main() -> int:
    """Fork, guard, work."""
    job, harness = sys.argv[1], int(sys.argv[2])
    log = sys.argv[3] if len(sys.argv) > 3 else ""
    first, here, size = (int(text) for text in sys.argv[4:7]) if log else (0, 1, 1)
    group = os.getpgrp()
    guardian = os.getpid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def end_all(*_: object) -> None:
        _bury_orphans()
        os.killpg(group, signal.SIGKILL)
        # The first process of a namespace outlives its own signals.
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end_all)
    _die_with_parent(signal.SIGTERM, harness)
    workers: dict[int, int] = {}
    for local_rank in range(here):
        worker = os.fork()
        if not worker:
            if size > 1:
                _become_rank(first + local_rank, local_rank, here, size, log)
            break
        workers[worker] = first + local_rank
    else:
        code = _guard(workers, job, first, size)
        _bury_orphans()
        return code
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent(signal.SIGKILL, guardian)
    _first_to_go()
    # Asked by the harness before a time limit kills: says in the log where the stage stands.
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    faulthandler.enable()
    from haplobench.runner.worker.main import main as work

    # Out of a plugin's reach, which finds nothing on its standard input.
    channel = os.dup(0) if len(sys.argv) > 7 else -1
    if channel >= 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    while True:
        code = work(job)
        sys.stdout.flush()
        sys.stderr.flush()
        if code or channel < 0 or not (job := _next_job(channel)):
            break
    # Threads that a plugin left behind must not keep the process alive.
    os._exit(code or _DONE)


if __name__ == "__main__":
    sys.exit(main())
