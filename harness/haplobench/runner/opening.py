"""The folder that a run works in: an unfinished one to go on with, or a new one; locked."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from haplobench.errors import FormatError
from haplobench.files import is_abandoned
from haplobench.resolved_suite import Suite
from haplobench.results.run_folder import RunFolder, find_runs
from haplobench.runner.progress import ProgressReporter
from haplobench.runner.store import StageStore, holder_of, last_generation, new_generation

STAGES = "stages"


@contextlib.contextmanager
def open_run(
    parent: Path, suite: Suite, state: str, *, fresh: bool, reporter: ProgressReporter
) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
    """The run folder to work in, locked: an unfinished run's of the same state, or a new one.

    Also yields what run.json should keep of the run's start. A new folder in which nothing
    was recorded is removed if the run ends with an error.
    """
    for run in reversed(find_runs(parent.parent, suite.name)):
        try:
            info = run.info()
        except FormatError as error:
            reporter.message(f"passed over: {error}")
            continue
        if (
            info.get("state") != state
            or info.get("status") == "complete"
            or bool(info.get("fresh")) != fresh
            or not isinstance(info.get("generation"), int)
        ):
            continue
        lock = filelock.FileLock(run.path / "run.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            holder = holder_of(run.path / "run.holder")
            reporter.message(f"{run.path}: {holder} is running it; starting a run beside it")
            continue
        reporter.message(f"resuming {run.path}, started {info.get('started')}")
        with _held(run, lock):
            for scratch in filter(is_abandoned, run.path.rglob(".*")):
                scratch.unlink(missing_ok=True)
            yield run, {**info, "resumed": True}
        return
    started = datetime.now(UTC)
    run = _new_folder(parent, started, suite)
    lock = filelock.FileLock(run.path / "run.lock")
    lock.acquire(timeout=0)
    with _held(run, lock):
        yield (
            run,
            {
                "state": state,
                "fresh": fresh,
                "started": started.isoformat(timespec="seconds"),
                "generation": new_generation(parent / STAGES) if fresh else 0,
                "resumed": False,
            },
        )


def open_store(parent: Path, info: Mapping[str, Any]) -> StageStore:
    """The store that the runs in a folder share, swept; a fresh run sees what is as new as it."""
    root = parent / STAGES
    store = StageStore(root, last_generation(root), int(info["generation"]))
    store.sweep()
    return store


@contextlib.contextmanager
def _held(run: RunFolder, lock: filelock.BaseFileLock) -> Iterator[None]:
    holder = run.path / "run.holder"
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _new_folder(parent: Path, started: datetime, suite: Suite) -> RunFolder:
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        name = f"{started:%Y%m%dT%H%M%S.%fZ}-{suite.digest[:6]}{secrets.token_hex(2)}"
        try:
            (parent / name).mkdir()
        except FileExistsError:
            continue
        return RunFolder(parent / name)
