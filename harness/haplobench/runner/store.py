"""The store of finished stages: folders named by what they rest on, whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from haplobench.errors import FormatError
from haplobench.files import (
    is_abandoned,
    is_gone,
    new_folder,
    owner,
    printable,
    read_as,
    read_json,
    read_regular,
    remove_tree,
    sync,
    write_json,
)
from haplobench.results.run_folder import RunFolder, find_runs
from haplobench.runner.progress import ProgressReporter
from haplobench.runner.worker.job import STAGE_FILE, MeasureFacts
from haplobench.suite.schema import Suite

_GENERATION = "generation.json"
_TIMINGS = "timings.json"
_LOCK_POLL = 0.2
_ABANDONED = 7 * 86_400
_READABLE, _EXECUTABLE = 0o444, 0o111
_KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}


@dataclass(frozen=True)
class StageStore:
    """Finished stages under one folder: `prepare/KEY/`, `fit/KEY/`, `sample/KEY/` and, a file
    each, `measure/KE/KEY.json` with its tables beside it.

    Every output says which generation of the store it is of: what a run older than that of this
    store's `least` generation has left doesn't count as there. A fresh run begins a generation
    (see `new_generation`), which, unlike the time of day, is the same on every machine.
    """

    root: Path
    generation: int = 0
    least: int = 0

    def folder(self, stage: str, key: str) -> Path:
        """Where a stage's output lies, or will."""
        return self.root / stage / key

    def finished(self, stage: str, key: str) -> dict[str, Any] | None:
        """What a finished stage tells of itself; None if it isn't there."""
        stored = read_json(self.folder(stage, key) / STAGE_FILE)
        return None if stored is None or generation_of(stored) < self.least else stored

    def measurement_path(self, key: str) -> Path:
        """Where a metric's result lies, or will."""
        return self.root / "measure" / key[:2] / f"{key}.json"

    def measurement(self, key: str) -> MeasureFacts | None:
        """A metric's stored result; None if it isn't there, FormatError if it isn't one."""
        try:
            stored = read_as(MeasureFacts, self.measurement_path(key))
        except FileNotFoundError:
            return None
        return stored if stored.generation >= self.least else None

    def timings(self) -> dict[str, float]:
        """Seconds that cells took in earlier runs, by name."""
        return {
            name: float(seconds)
            for name, seconds in (read_json(self.root / _TIMINGS) or {}).items()
            if isinstance(seconds, int | float)
        }

    def write_timings(self, timings: Mapping[str, float]) -> None:
        """Keep what `timings` gives."""
        write_json(self.root / _TIMINGS, dict(timings))

    @contextlib.contextmanager
    def workspace(self, stage: str, key: str) -> Iterator[Path]:
        """A folder to work in, on the store's own disk; removed at the end."""
        folder = new_folder(self.root / "work", f"{owner()}.{stage}-{key[:8]}-")
        try:
            yield folder
        finally:
            remove_tree(folder)

    def publish(self, output: Path, stage: str, key: str) -> None:
        """Put a finished output in its place: flushed to disk first, then renamed.

        Its files become read-only: what later results rest on isn't changed by a slip. All is as
        open as the workspace, which the umask was asked for: some libraries write files for their
        owner only, and who shares a results folder could not go on from there.
        """
        target = self.folder(stage, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        shared = stat.S_IMODE(output.parent.stat().st_mode)
        for path in (*sorted(output.rglob("*"), reverse=True), output):
            if path.is_symlink():
                continue
            if path.is_file():
                runs = path.stat().st_mode & stat.S_IXUSR
                path.chmod(shared & (_READABLE | _EXECUTABLE if runs else _READABLE))
            else:
                path.chmod(shared)
            sync(path)
        if target.exists():
            # Renamed first: no reader ever sees half a folder.
            old = self.root / "work" / f"{owner()}.old-{stage}-{key}"
            old.parent.mkdir(parents=True, exist_ok=True)
            target.rename(old)
            output.rename(target)
            remove_tree(old)
        else:
            output.rename(target)
        sync(target.parent)

    def checkpoint(self, stage: str, key: str) -> Path:
        """The folder in which a stage keeps its progress until it's done; made if not there.

        Progress of an older generation than `least` is dropped.
        """
        folder = self.root / "checkpoints" / f"{stage}-{key}"
        begun = folder.with_suffix(".begun")
        if generation_of(read_json(begun) or {}) < self.least:
            remove_tree(folder)
        if not folder.is_dir():
            folder.mkdir(parents=True)
            write_json(begun, {"generation": self.generation})
        return folder

    def discard(self, stage: str, key: str) -> None:
        """Remove a finished stage that isn't what it was."""
        remove_tree(self.folder(stage, key))

    def forget_checkpoint(self, stage: str, key: str) -> None:
        """Remove a stage's progress: it's done."""
        folder = self.root / "checkpoints" / f"{stage}-{key}"
        remove_tree(folder)
        folder.with_suffix(".begun").unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(
        self,
        stage: str,
        key: str,
        waiting: Callable[[str], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[None]:
        """Hold a stage, so that no other process does the same work; `waiting` is told who has it.

        Raises InterruptedError if `cancelled` while waiting.
        """
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / f"{stage}-{key}.lock")
        holder = folder / f"{stage}-{key}.holder"
        told = False
        while True:
            try:
                lock.acquire(timeout=0)
                break
            except filelock.Timeout:
                if not told:
                    waiting(holder_of(holder))
                    told = True
                if cancelled():
                    raise InterruptedError from None
                time.sleep(_LOCK_POLL)
        try:
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def sweep(self) -> None:
        """Remove what killed processes and full disks left behind: work folders and scratch files
        whose owner has gone, and progress that nobody has come back for in a week.
        """
        for begun in (self.root / "checkpoints").glob("*.begun"):
            folder = begun.with_suffix("")
            with contextlib.suppress(OSError):
                newest = max(path.stat().st_mtime for path in (begun, folder, *folder.rglob("*")))
                if newest < time.time() - _ABANDONED:
                    remove_tree(folder)
                    begun.unlink()
        for folder in (self.root / "work").glob("*"):
            gone = is_gone(folder.name.rsplit(".", 1)[0])
            with contextlib.suppress(OSError):
                if gone or folder.stat().st_mtime < time.time() - _ABANDONED:
                    remove_tree(folder)
        for places in (".*", "measure/*/.*", "checkpoints/**/.*"):
            for scratch in filter(is_abandoned, self.root.glob(places)):
                scratch.unlink(missing_ok=True)


def generation_of(stored: Mapping[str, Any]) -> int:
    """The generation that a stored output says it is of; 0 where it says nothing."""
    generation = stored.get("generation", 0)
    return generation if isinstance(generation, int) else 0


def last_generation(root: Path) -> int:
    """The generation that a store is in: how many fresh runs have begun there."""
    return generation_of(read_json(root / _GENERATION) or {})


def new_generation(root: Path) -> int:
    """Begin the store's next generation."""
    root.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(root / f"{_GENERATION}.lock"):
        generation = last_generation(root) + 1
        write_json(root / _GENERATION, {"generation": generation})
    return generation


def holder_of(path: Path) -> str:
    """Who holds a lock, as far as the file beside it says."""
    with contextlib.suppress(OSError, ValueError):
        if text := read_regular(path).decode().strip():
            return printable(text)
    return "another process"


def unstorable(output: Path) -> str:
    """What is in a stage's output that can't be stored, and why; empty where all of it can.

    Files, folders, and links to those inside: a FIFO would block whoever opens it, a link
    that leads out may change, vanish, or have no end.
    """
    root = output.resolve()
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output)
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            if not path.resolve().is_relative_to(root):
                return f"{name} is a link that leads out of its folder"
        elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return f"{name} is a {_KINDS.get(stat.S_IFMT(mode), 'device')}"
    artifacts = output / "artifacts"
    if os.path.lexists(artifacts) and (artifacts.is_symlink() or not artifacts.is_dir()):
        return "artifacts is no folder"
    return ""


STAGES = "stages"


@contextlib.contextmanager
def open_run(
    parent: Path, suite: Suite, state: str, *, fresh: bool, reporter: ProgressReporter
) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
    """The run folder to work in, locked: an unfinished run's of the same state, or a new one.

    Also yields what run.json should keep of the run's start. A new folder in which nothing
    was recorded is removed if the run ends with an error.
    """
    _remove_unborn(parent)
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


def _remove_unborn(parent: Path) -> None:
    """Remove the folders of runs that were killed before run.json said anything of them."""
    for holder in parent.glob("*/run.holder"):
        here = {path.name for path in holder.parent.iterdir() if not is_abandoned(path)}
        if here <= {"run.lock", "run.holder", "suite.yaml"}:
            pid, _, host = holder_of(holder).removeprefix("process ").partition(" on ")
            if is_gone(f"{host}.{pid}"):
                remove_tree(holder.parent)


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
