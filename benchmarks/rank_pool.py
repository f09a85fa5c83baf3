"""Ranks that are kept waiting, so that a benchmark times the work and not their start."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from haplobench.distributed import ProcessGroup
from haplobench.distributed.backends import open_group

Backend = Literal["torch", "horovod"]
Work = Callable[..., Any]
Prepare = Callable[[ProcessGroup, Path], Work]
_START = 120.0


class Ranks:
    """So many processes that form a group: `with Ranks(2, prepare, folder) as ranks: ranks(…)`.

    Each calls `prepare(group, folder)`, a function of a module, and then what it gave whenever
    the ranks are called; the call gives what rank 0's gave.
    """

    def __init__(self, size: int, prepare: Prepare, folder: Path, backend: Backend = "torch"):
        folder.mkdir(parents=True, exist_ok=True)
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for rank in range(size):
            here, there = context.Pipe()
            arguments = (there, prepare, folder, backend, rank, size)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def __enter__(self) -> Ranks:
        self._answers(_START)
        return self

    def __call__(self, *arguments: Any) -> Any:
        """What rank 0's work gave."""
        for pipe in self._pipes:
            pipe.send(arguments)
        return self._answers(None)[0]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()

    def _answers(self, seconds: float | None) -> list[Any]:
        answers = []
        for rank, pipe in enumerate(self._pipes):
            if seconds is not None and not pipe.poll(seconds):
                raise TimeoutError(f"rank {rank} didn't start in {seconds:g} s")
            ok, answer = pipe.recv()
            if not ok:
                raise RuntimeError(f"rank {rank}: {answer}")
            answers.append(answer)
        return answers


def _serve(
    pipe: Connection, prepare: Prepare, folder: Path, backend: Backend, rank: int, size: int
) -> None:
    try:
        group = open_group(
            backend, rank, size, local_rank=rank, local_size=size, meeting=folder / "meeting.json"
        )
        own = folder / f"rank{rank}"
        own.mkdir()
        work = prepare(group, own)
        pipe.send((True, None))
        while True:
            try:
                arguments = pipe.recv()
            except EOFError:
                break
            group.barrier()
            pipe.send((True, work(*arguments)))
        group.close()
    except BaseException:  # whatever it is, the benchmark should tell
        pipe.send((False, traceback.format_exc()))
