"""Sandbox of bubblewrap for stages of generators: nothing of the benchmark is seen or changed.

A stage in it sees the machine's files, read-only, but for other results, the people of the suite's
datasets, folders for temporary files and other processes; it writes into its own folders alone.
The network stays: ranks and federations talk through it. It guards the benchmark, not the machine:
what the user may read besides, and services reached by the network, are as open as without it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import haplobench
from haplobench.data.prepared import HOLDOUT
from haplobench.files import cache_folder
from haplobench.runner.worker.entry import log_of_rank
from haplobench.runner.worker.job import Job

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
