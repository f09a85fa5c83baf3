"""The store of finished stages: folders named by what they rest on, whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import psutil

STAGE_FILE = "stage.json"
_LOCK_POLL = 0.2
_ABANDONED = 7 * 86_400


@dataclass(frozen=True)
class StageStore:
    """Finished stages under one folder: `prepare/KEY/`, `fit/KEY/`, `sample/KEY/` and, a file
    each, `measure/KE/KEY.json` with its tables beside it.

    `not_before` (seconds since the epoch): what was finished earlier doesn't count as there.
    """

    root: Path
    not_before: float = 0.0

    def folder(self, stage: str, key: str) -> Path:
        """Where a stage's output lies, or will."""
        return self.root / stage / key

    def finished(self, stage: str, key: str) -> dict[str, Any] | None:
        """What a finished stage tells of itself; None if it isn't there."""
        facts = _read(self.folder(stage, key) / STAGE_FILE)
        if facts is None or facts.get("finished", 0.0) < self.not_before:
            return None
        return facts

    def measurement_path(self, key: str) -> Path:
        """Where a metric's result lies, or will."""
        return self.root / "measure" / key[:2] / f"{key}.json"

    def measurement(self, key: str) -> dict[str, Any] | None:
        """A metric's stored result; None if it isn't there."""
        path = self.measurement_path(key)
        try:
            if path.stat().st_mtime < self.not_before:
                return None
        except OSError:
            return None
        return _read(path)

    @contextlib.contextmanager
    def workspace(self, stage: str, key: str) -> Iterator[Path]:
        """A folder to work in, on the store's own disk; removed at the end."""
        parent = self.root / "work"
        parent.mkdir(parents=True, exist_ok=True)
        owner = f"{socket.gethostname()}.{os.getpid()}"
        folder = Path(tempfile.mkdtemp(prefix=f"{owner}.{stage}-{key[:8]}-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, output: Path, stage: str, key: str) -> None:
        """Put a finished output in its place: flushed to disk first, then renamed."""
        target = self.folder(stage, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in sorted(output.rglob("*"), reverse=True):
            _sync(path)
        _sync(output)
        if target.exists():
            # Renamed first: no reader ever sees half a folder.
            old = target.with_name(f".{target.name}.{os.getpid()}.old")
            target.rename(old)
            output.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            output.rename(target)
        _sync(target.parent)

    def checkpoint(self, stage: str, key: str) -> Path:
        """The folder in which a stage keeps its progress until it's done; made if not there.

        Progress from before `not_before` is dropped.
        """
        folder = self.root / "checkpoints" / f"{stage}-{key}"
        begun = folder.with_suffix(".begun")
        with contextlib.suppress(OSError):
            if begun.stat().st_mtime < self.not_before:
                shutil.rmtree(folder, ignore_errors=True)
        if not folder.is_dir():
            folder.mkdir(parents=True)
            begun.touch()
        return folder

    def forget_checkpoint(self, stage: str, key: str) -> None:
        """Remove a stage's progress: it's done."""
        folder = self.root / "checkpoints" / f"{stage}-{key}"
        shutil.rmtree(folder, ignore_errors=True)
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
        """Remove what killed processes left behind: work folders whose owner has gone, and
        progress that nobody has come back for in a week.
        """
        for begun in (self.root / "checkpoints").glob("*.begun"):
            folder = begun.with_suffix("")
            with contextlib.suppress(OSError):
                newest = max(path.stat().st_mtime for path in (begun, folder, *folder.rglob("*")))
                if newest < time.time() - _ABANDONED:
                    shutil.rmtree(folder, ignore_errors=True)
                    begun.unlink()
        for folder in (self.root / "work").glob("*"):
            owner = folder.name.rsplit(".", 1)[0]
            host, _, pid = owner.rpartition(".")
            gone = (
                host == socket.gethostname() and pid.isdigit() and not psutil.pid_exists(int(pid))
            )
            with contextlib.suppress(OSError):
                if gone or folder.stat().st_mtime < time.time() - _ABANDONED:
                    shutil.rmtree(folder, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Have a file in a second place, whole or not at all, without doubling it where that can be."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    try:
        os.link(source, scratch)
    except OSError:
        shutil.copyfile(source, scratch)
        _sync(scratch)
    scratch.replace(target)


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all: temporary name, flushed, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        _sync(scratch)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def holder_of(path: Path) -> str:
    """Who holds a lock, as far as the file beside it says."""
    with contextlib.suppress(OSError):
        if text := path.read_text().strip():
            return text
    return "another process"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _sync(path: Path) -> None:
    if path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
