"""Isolation: what keeps a generator from people, cohorts and records that aren't its own to touch.

Where bubblewrap works, stages of generators run in its sandbox. A stage in it sees the machine's
files, read-only, but for other results, the people of the suite's datasets, folders for temporary
files and other processes; it writes into its own folders alone. The network stays: ranks and
federations talk through it. It guards the benchmark, not the machine: what the user may read
besides, and services reached by the network, are as open as without it.

Elsewhere nothing can be hidden from them; a `Witness` then notices what changed while one of them
ran, and what changed is made again before anything is measured by it.
"""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import haplobench
from haplobench.data.prepared import HOLDOUT
from haplobench.errors import BenchError
from haplobench.files import cache_folder
from haplobench.runner.executors.local import Executor, LocalExecutor
from haplobench.runner.fingerprints import source_files
from haplobench.runner.worker.entry import log_of_rank
from haplobench.runner.worker.job import Job, Stage
from haplobench.suite.schema import Suite

Shown = Literal["hidden", "read", "write"]

PROGRAM = "bwrap"
# Root keeps its right to read other people's files, and no other.
_BASE = (
    "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--as-pid-1",
    "--cap-drop", "ALL", "--cap-add", "CAP_DAC_OVERRIDE",
    "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
)  # fmt: skip
_TEMPORARY = ("/tmp", "/var/tmp")
_DEVICES = ("nvidia*", "dri", "kfd", "infiniband")
# Services that would do outside what a plugin may not do inside.
_SERVICES = (
    "/run/docker.sock", "/run/podman", "/run/containerd", "/run/crio", "/run/snapd.socket",
    "/run/systemd/private", "/run/dbus", "/run/munge", f"/run/user/{os.getuid()}",
)  # fmt: skip
_SEARCHED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
_PATIENCE = 10.0
_PROBE = 'test ! -e "$1" && test ! -e "$2" && ! touch "$3" 2>/dev/null && touch "$4" /tmp/probe'


@dataclass(frozen=True)
class Sandbox:
    """bubblewrap, which works here.

    Attributes
    ----------
    program : str
        Its path.
    version : str
    results : Path
        Folder of results, in which the suites' are.
    people : tuple of Path
        Files and folders from which the suite's datasets come.
    """

    program: str
    version: str
    results: Path
    people: tuple[Path, ...] = ()

    def command(self, job: Job, work: Path, log: Path) -> list[str]:
        """What is put before a command to run a stage's process in the sandbox.

        `work` is the stage's own folder, `log` what its ranks print to.
        """
        shown = self._shown(job, work, log)
        words = [self.program, *_BASE]
        for path in sorted(path for name in _DEVICES for path in Path("/dev").glob(name)):
            words += ["--dev-bind", str(path), str(path)]
        own = work / "tmp"
        own.mkdir(exist_ok=True)
        for folder in _private():
            words += ["--bind", str(own), str(folder)]
        # What lies deeper is laid over what it lies in.
        for path, how in sorted(shown.items(), key=lambda item: len(item[0].parts)):
            if how == "hidden" and os.path.isdir(path):
                words += ["--tmpfs", str(path)]
            elif how == "hidden":
                words += ["--ro-bind", "/dev/null", str(path)]
            else:
                words += ["--ro-bind" if how == "read" else "--bind", str(path), str(path)]
        words += ["--setenv", "TMPDIR", "/tmp"]
        if kernels := _kernels(job, work):
            words += ["--bind", str(kernels), str(kernels)]
            words += ["--setenv", "NUMBA_CACHE_DIR", str(kernels)]
        return [*words, "--"]

    def _shown(self, job: Job, work: Path, log: Path) -> dict[Path, Shown]:
        """How each path is shown that isn't read-only as it is."""
        hidden = [Path(name) for name in _SERVICES if os.path.exists(name)]
        hidden += [*self.people, *result_folders(self.results)]
        masked = {path.resolve() for path in hidden}
        needed = [*_named(job.params)]
        prepared = Path(job.settings["prepared"])
        if not prepared.is_relative_to(work):
            needed.append(prepared)
            masked.add(prepared / HOLDOUT)
        if "model" in job.settings:
            needed.append(Path(job.settings["model"]))
        shown: dict[Path, Shown] = dict.fromkeys(masked, "hidden")
        # What lies in a folder that is covered comes back; the current folder and that of a plugin
        # do from temporary folders, but not from results.
        private = _private()
        needed += [path for path in _code(job) if not _within(path, masked)]
        for path in needed:
            if path not in private and _within(path, (*masked, *private)):
                shown[path] = "read"
        logs = [Path(log_of_rank(str(log), rank)) for rank in range(job.world_size)]
        own = [work, *logs, *([Path(job.checkpoint)] if job.checkpoint else ())]
        return shown | dict.fromkeys((path.resolve() for path in own), "write")


def find_sandbox(results: Path, people: Iterable[Path]) -> Sandbox | str:
    """bubblewrap, tried out in the folder of results; or why there is no sandbox here."""
    program = shutil.which(PROGRAM)
    if program is None:
        return f"{PROGRAM} isn't installed"
    try:
        told = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{PROGRAM} doesn't run: {error}"
    version = told.stdout.strip().split(" ")[-1]
    there = tuple(sorted({path.resolve() for path in people if os.path.exists(path)}))
    sandbox = Sandbox(program, version, results.resolve(), there)
    why = _try(sandbox)
    return f"{PROGRAM} doesn't work here: {why}" if why else sandbox


def _try(sandbox: Sandbox) -> str:
    """What keeps the sandbox from working, after trying it on a stage that does nothing."""
    from haplobench.files import new_folder, remove_tree

    probe = new_folder(sandbox.results, ".sandbox.")
    try:
        others, work = probe / "others", probe / "others" / "stages" / "work"
        prepared = probe / "others" / "stages" / "prepared"
        for folder in (work, prepared / HOLDOUT):
            folder.mkdir(parents=True)
        secrets = (others / "stages" / "secret", prepared / HOLDOUT / "secret")
        for file in (*secrets, others / "log", work / "written"):
            file.touch()
        job = Job(
            stage="fit",
            plugins=(),
            output="",
            scratch="",
            artifacts="",
            status="",
            error="",
            time_limit=1.0,
            settings={"prepared": str(prepared)},
        )
        words = Sandbox(sandbox.program, "", probe).command(job, work, others / "log")
        arguments = [str(path) for path in (*secrets, prepared / "new", work / "written")]
        done = subprocess.run(
            [*words, "sh", "-c", _PROBE, "sh", *arguments],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            cwd=probe,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    finally:
        remove_tree(probe)
    if not done.returncode:
        return ""
    return (done.stderr.strip().splitlines() or ["what is to be hidden can be seen"])[-1]


def result_folders(results: Path) -> Iterator[Path]:
    """Folders of suites in a folder of results; what else lies there isn't the harness's."""
    with contextlib.suppress(OSError):
        yield from (path for path in results.iterdir() if (path / "stages").is_dir())


def _private() -> tuple[Path, ...]:
    folders = (Path(folder) for folder in _TEMPORARY)
    return tuple(folder for folder in folders if folder.is_dir() and not folder.is_symlink())


def _within(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _code(job: Job) -> set[Path]:
    """Where Python, the plugins and programs lie; the current folder, in which they are run."""
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(haplobench.__file__).parents[1]}
    found |= {Path(entry) for entry in job.paths}
    for name in _SEARCHED:
        found |= {Path(entry) for entry in os.environ.get(name, "").split(os.pathsep) if entry}
    with contextlib.suppress(OSError):
        found.add(Path.cwd())
    return {path.absolute() for path in found if os.path.exists(path)}


def _named(value: Any) -> Iterator[Path]:
    """Existing files and folders that a generator's parameters name, words of commands too."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, str):
        for word in {value, *re.split(r"[\s'\"=;|<>]+", value)}:
            path = os.path.expanduser(word)
            if word.strip("./") and "\0" not in word and os.path.exists(path):
                yield Path(path).resolve()
    elif isinstance(value, Sequence):
        for item in value:
            yield from _named(item)


def _kernels(job: Job, work: Path) -> Path | None:
    """Where numba keeps what it compiles: a folder of the plugin's package alone.

    A shadow, which is trained on held-out people, gets a copy: it leaves nothing to its like.
    """
    folder = cache_folder() / "kernels" / "-".join(sorted({m.split(".")[0] for m in job.plugins}))
    if not job.plugins:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if Path(job.settings["prepared"]).is_relative_to(work):
            return Path(shutil.copytree(folder, work / "kernels", dirs_exist_ok=True))
    except OSError:
        return None
    return folder.resolve() if os.access(folder, os.W_OK) else None


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
