"""Reading in a process of its own: what a library does to its process at a damaged file."""

from __future__ import annotations

import faulthandler
import os
import pickle
import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from haplobench.data.bits import Bits
from haplobench.data.panel import Panel
from haplobench.errors import BenchError, FormatError

Reading = tuple[Panel, dict[str, int]]


@dataclass
class _Failure:
    """What a child raised, and where, if it wasn't a user's mistake."""

    error: Exception
    traceback: str


def read_apart(read: Callable[[], Reading], path: Path, scratch: Path | None) -> Reading:
    """What `read` returns, read by a forked child.

    The child's exceptions are raised here. Where processes can't fork, `read` is called here.

    Raises FormatError naming `path` if the child dies.
    """
    if not hasattr(os, "fork"):
        return read()
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="haplobench-read-", dir=scratch))
    try:
        with warnings.catch_warnings():
            # The child uses no thread or lock of the parent's.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            _serve(read, folder)
        try:
            _, status = os.waitpid(child, 0)
        except BaseException:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        answer = folder / "answer"
        if not answer.exists():
            raise FormatError(
                f"{path}: the library that reads it ended without a word ({_cause(status)})",
                hint="the file is damaged, or memory is short: make it anew, or fetch it again",
            )
        # Our own child wrote it, in a folder that is ours alone.
        told = pickle.loads(answer.read_bytes())
        if isinstance(told, _Failure):
            if told.traceback:
                told.error.add_note(f"in the process that reads {path}:\n{told.traceback}")
            raise told.error
        facts, skipped, haplotypes = told
        if haplotypes is None:  # the file's pages are this array's memory
            matrix: Any = np.asarray(np.load(folder / "haplotypes.npy", mmap_mode="c"))
        else:
            matrix = np.load(haplotypes, mmap_mode="r")
        if matrix.dtype == np.uint64:
            matrix = Bits(matrix, facts["positions"].size)
        return Panel(haplotypes=matrix, **facts), skipped
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(read: Callable[[], Reading], folder: Path) -> None:
    """Read, leave the answer in a folder, and end: nothing of the parent's is finished twice."""
    told: object
    faulthandler.disable()  # the parent tells of the end
    try:
        try:
            panel, skipped = read()
            facts = {
                field.name: getattr(panel, field.name)
                for field in fields(panel)
                if field.name != "haplotypes"
            }
            matrix = panel.haplotypes if panel.bits is None else panel.bits.words
            kept = getattr(matrix, "filename", None)
            if kept is None:
                np.save(folder / "haplotypes.npy", matrix)
            told = (facts, skipped, kept)
        except Exception as error:
            known = isinstance(error, BenchError)
            told = _Failure(error, "" if known else traceback.format_exc())
        try:
            answer = pickle.dumps(told)
        except Exception:
            answer = pickle.dumps(_Failure(RuntimeError(repr(told)), ""))
        (folder / "answer.part").write_bytes(answer)
        (folder / "answer.part").rename(folder / "answer")
    finally:
        os._exit(0)


def _cause(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
