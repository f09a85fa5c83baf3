"""Isolation: what keeps a generator from people, cohorts and records that aren't its own to touch.

Where bubblewrap works, stages of generators run in its sandbox (`executors.sandbox`). Elsewhere
nothing can be hidden from them; a `Witness` then notices what changed while one of them ran, and
what changed is made again before anything is measured by it.
"""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from haplobench.errors import BenchError
from haplobench.runner.executors.local import Executor, LocalExecutor
from haplobench.runner.executors.sandbox import Sandbox, find_sandbox
from haplobench.runner.fingerprints import source_files
from haplobench.runner.worker.job import Job, Stage
from haplobench.suite.schema import Suite

_CONFINED: tuple[Stage, ...] = ("fit", "sample")


@dataclass
class Isolation:
    """How stages of generators are kept apart in a run, and how many were.

    `why_not` says why there is no `sandbox`, `required` that none may do without.
    """

    sandbox: Sandbox | None
    why_not: str
    required: bool
    witness: Witness | None
    _inside: dict[str, bool] = field(default_factory=dict)

    def command(self, job: Job, work: Path, log: Path) -> tuple[str, ...]:
        """What is put before the command of a stage's process; nothing where it isn't confined."""
        if self.sandbox is None or job.stage not in _CONFINED:
            return ()
        return tuple(self.sandbox.command(job, work, log))

    def confines(self, stage: Stage) -> bool:
        """Whether a stage begun now is in the sandbox."""
        return self.sandbox is not None and stage in _CONFINED

    def refuses(self, stage: Stage, *, inside: bool) -> bool:
        """Whether what a stage left can't be used, as it wasn't in a sandbox."""
        return self.required and stage in _CONFINED and not inside

    def note(self, stage: Stage, key: str, *, inside: bool) -> None:
        """Count a stage that the run rests on, stored before or not."""
        if stage in _CONFINED:
            self._inside[f"{stage} {key}"] = inside

    def facts(self) -> dict[str, Any]:
        """Of run.json: `sandbox` (empty: none), why not, and how many stages ran in one or not."""
        inside = list(self._inside.values())
        return {
            "sandbox": f"bubblewrap {self.sandbox.version}" if self.sandbox else "",
            "why_not": self.why_not,
            "inside": sum(inside),
            "outside": len(inside) - sum(inside),
        }

    def watching(self, stage: Stage) -> AbstractContextManager[list[Path]]:
        """While a stage runs; the list then holds what it has changed and mustn't, if known."""
        if self.witness is None or stage not in _CONFINED:
            return contextlib.nullcontext([])
        return self.witness.watching()

    def trouble(self, path: Path) -> str:
        """Why something in the store isn't what the harness put there; empty where it is."""
        return self.witness.trouble(path) if self.witness else ""

    def changed(self) -> list[Path]:
        """What of the store isn't what the harness put there."""
        return self.witness.changed() if self.witness else []

    def check_code(self, during: str = "") -> None:
        """Raise BenchError if code that stages run has changed since the run began.

        `during`: a stage that has just ended.
        """
        if self.witness:
            self.witness.check_code(during)

    def seal(self, path: Path) -> None:
        """Vouch for what the harness has just stored."""
        if self.witness:
            self.witness.seal(path)


def isolate(
    suite: Suite,
    executor: Executor,
    results: Path,
    root: Path,
    people: Iterable[Path],
    modules: Iterable[str],
) -> Isolation:
    """The isolation of a run: as the suite asks for, and as this machine allows.

    `root` is the store's; `people` are files and folders from which the datasets come; `modules`
    those of all plugins. Raises BenchError where a suite requires a sandbox and there is none.
    """
    sandbox, why_not = None, "the suite turns it off"
    if not isinstance(executor, LocalExecutor):
        why_not = "jobs of a cluster have none"
    elif suite.sandbox != "off":
        root.mkdir(parents=True, exist_ok=True)
        found = find_sandbox(results, people)
        sandbox, why_not = (None, found) if isinstance(found, str) else (found, "")
    if sandbox is not None:
        # Stages in the sandbox can't keep the bytecode of what they import.
        for path in source_files(modules):
            _compile(path)
    required = suite.sandbox == "require"
    if required and sandbox is None:
        raise BenchError(
            f"sandbox: require: {why_not}",
            hint="install bubblewrap, allow user namespaces, or say sandbox: auto",
        )
    return Isolation(sandbox, why_not, required, None if sandbox else Witness(root, modules))


@cache
def _compile(path: Path) -> None:
    if path.suffix == ".py":
        compileall.compile_file(path, quiet=2)


class Witness:
    """Notices what changes in a store while stages of generators run.

    What the harness stores is sealed: its digest is kept in memory. What lay there before is
    sealed when it is first used, unless the file system says that it changed while such a stage
    ran. Times are those of the file system, which no program sets back as it does a file's. Where
    another harness shares the store, changes may be its own: they are made again, and blamed on
    nobody.
    """

    def __init__(self, root: Path, modules: Iterable[str]) -> None:
        self._root = root
        self._code = {path: (_state(path), _digest(path)) for path in source_files(modules)}
        self._lock = threading.Lock()
        self._digests: dict[Path, str] = {}
        self._watched: list[list[int]] = []
        root.mkdir(parents=True, exist_ok=True)
        self._door = (root / "harnesses").open("a")
        with contextlib.suppress(OSError):
            fcntl.flock(self._door, fcntl.LOCK_SH)
        os.utime(self._door.fileno())

    def _alone(self, since: int) -> bool:
        """Whether no other harness works on the store, or has come to it since then (ns)."""
        try:
            # All hold it together; whoever gets it alone is alone. It is shared again at once.
            fcntl.flock(self._door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._door, fcntl.LOCK_SH)
        return os.fstat(self._door.fileno()).st_ctime_ns < since

    def _now(self) -> int:
        with tempfile.TemporaryFile(dir=self._root) as file:
            return os.fstat(file.fileno()).st_ctime_ns

    @contextlib.contextmanager
    def watching(self) -> Iterator[list[Path]]:
        """While a generator's stage runs. What it alone can have changed stands in the list."""
        changed: list[Path] = []
        with self._lock:
            span = [self._now(), 0]
            alone = all(end for _, end in self._watched) and self._alone(span[0])
            begun = len(self._watched)
            self._watched.append(span)
        try:
            yield changed
        finally:
            with self._lock:
                span[1] = self._now()
                sealed = list(self._digests.items())
                if alone and len(self._watched) == begun + 1 and self._alone(span[0]):
                    changed += [
                        path
                        for path, digest in sealed
                        if _newest(path) >= span[0] and _digest(path) != digest
                    ]

    def seal(self, path: Path) -> None:
        """Vouch for a file or folder as it is now."""
        digest = _digest(path)
        with self._lock:
            self._digests[path.resolve()] = digest

    def trouble(self, path: Path) -> str:
        """What happened to a file or folder; empty where it is as it was."""
        with self._lock:
            known = self._digests.get(path.resolve())
            spans = [tuple(span) for span in self._watched]
        if known is not None:
            if _digest(path) == known:
                return ""
            return "changed since it was stored"
        newest = _newest(path)
        if any(start <= newest and (not end or newest <= end) for start, end in spans):
            return "came there or changed while a generator's stage ran outside a sandbox"
        self.seal(path)
        return ""

    def changed(self) -> list[Path]:
        """What is there still and isn't as it was sealed."""
        with self._lock:
            sealed = list(self._digests.items())
        return [path for path, digest in sealed if path.exists() and _digest(path) != digest]

    def check_code(self, during: str) -> None:
        """Raise BenchError if code that stages run has changed since the run began."""
        for path, (state, digest) in self._code.items():
            if _state(path) != state and _digest(path) != digest:
                raise BenchError(
                    f"{path}: changed since the run began"
                    + (f", when {during} ended" if during else ""),
                    hint="look at it, mend it if need be and run the same command again; what is "
                    "done is kept",
                )


def _state(path: Path) -> tuple[int, ...]:
    """What of a file can't stay the same when its content changes."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _files(path: Path) -> Sequence[Path]:
    return [path, *sorted(path.rglob("*"))]


def _newest(path: Path) -> int:
    """When anything of a file or folder last changed in any way, ns; 0 where it isn't there."""
    newest = 0
    for file in _files(path):
        with contextlib.suppress(OSError):
            newest = max(newest, file.lstat().st_ctime_ns)
    return newest


def _digest(path: Path) -> str:
    """SHA-256 of a file's content, or of all names and contents in a folder."""
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(str(file.relative_to(path)).encode(errors="surrogateescape"))
        with contextlib.suppress(OSError):
            if file.is_file() and not file.is_symlink():
                with file.open("rb") as handle:
                    digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
