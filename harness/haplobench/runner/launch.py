"""Script that a stage's process starts as: bound to the harness's life, then `stage.main`.

Run as a file, so that nothing heavy is imported before the fork. The process that the
harness started stays behind as a guardian: when the harness dies, however suddenly, the
guardian is told by the kernel and kills the whole process group, so that nothing is left
running. The worker it forks does the work.

Usage: launch.py JOB.json HARNESS_PID
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _die_with_parent(sign: signal.Signals, parent: int) -> None:
    """Ask the kernel for a signal when the parent ends; if it has ended already, end too."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
    except (OSError, AttributeError):
        return  # not Linux: orphans are possible there
    if os.getppid() != parent:
        os._exit(1)


def _first_to_go() -> None:
    """Let the kernel, short of memory, take this process before the harness."""
    try:
        with open("/proc/self/oom_score_adj", "w") as handle:
            handle.write("1000")
    except OSError:
        pass


def _guard(worker: int) -> int:
    """Wait for the worker and pass its end on."""
    _, status = os.waitpid(worker, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> int:
    """Fork, guard, work."""
    job, harness = sys.argv[1], int(sys.argv[2])
    group = os.getpgrp()
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(group, signal.SIGKILL))
    _die_with_parent(signal.SIGTERM, harness)
    guardian = os.getpid()
    worker = os.fork()
    if worker:
        return _guard(worker)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent(signal.SIGKILL, guardian)
    _first_to_go()
    # Asked by the harness before a time limit kills: says in the log where the stage stands.
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    faulthandler.enable()
    from haplobench.runner.stage import main as work

    code = work(job)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that a plugin left behind must not keep the process alive.
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
