"""Pieces of work side by side, in order, until the first that must stop all others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from haplobench.errors import BenchError, SuiteError


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
                found = [future.exception() for future in done]
                errors += [error for error in found if error is not None]
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
