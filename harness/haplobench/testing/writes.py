"""A watch over what a plugin writes, and where; and that it leaves held-out people alone."""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haplobench.testing.findings import Findings

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Which argument of an audit event is the path written.
_EVENTS = {
    "os.link": 1,
    "os.mkdir": 0,
    "os.remove": 0,
    "os.rename": 1,
    "os.rmdir": 0,
    "os.symlink": 1,
    "os.truncate": 0,
}
_watches: list[Watch] = []
_hooked = False


@dataclass
class Watch:
    """Where a plugin writes while it runs: `allowed` folders, and what went elsewhere.

    The folders `stage…/artifacts` and `stage…/scratch` under `root` are allowed too.

    `peeks` are files opened under `holdout`, for reading too.
    """

    allowed: tuple[str, ...]
    root: str
    holdout: str = ""
    strays: list[str] = field(default_factory=list)
    peeks: list[str] = field(default_factory=list)

    def of_a_stage(self, real: str) -> bool:
        """Whether a path lies in a folder that a stage was handed."""
        parts = os.path.relpath(real, self.root).split(os.sep)
        return parts[0].startswith("stage") and parts[1:2] in ([], ["artifacts"], ["scratch"])

    def see_opened(self, path: object) -> None:
        """Judge a path that is about to be opened in any way."""
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike):
            return
        real = os.path.realpath(path)
        if self.holdout and (real + os.sep).startswith(self.holdout + os.sep):
            self.peeks.append(real)

    def see(self, path: object) -> None:
        """Judge a path that is about to be written."""
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike):
            return
        real = os.path.realpath(path)
        if self.of_a_stage(real):
            return
        caches = (os.path.realpath(Path.home() / ".cache"), os.environ.get("NUMBA_CACHE_DIR", ""))
        for folder in (*self.allowed, "/dev", "/proc", *caches):
            if folder and (real == folder or real.startswith(folder + os.sep)):
                return
        if "__pycache__" not in real and real not in self.strays:
            self.strays.append(real)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches:
        return
    if event in ("open", "os.listdir", "os.scandir"):
        _watches[-1].see_opened(arguments[0])
    if event == "open":
        flags = arguments[2]
        if isinstance(flags, int) and flags & _WRITES:
            _watches[-1].see(arguments[0])
    elif event in _EVENTS:
        path = arguments[_EVENTS[event]]
        # A relative path may be relative to an open folder, which the event doesn't name.
        if event in ("os.link", "os.truncate") or arguments[-1] == -1 or os.path.isabs(path):
            _watches[-1].see(path)


@contextmanager
def watched(findings: Findings, folder: Path, *, holdout: str = "") -> Iterator[None]:
    """Run a plugin's code in an empty working folder; note what it writes outside `folder`.

    `holdout` names a folder under `folder` of which it must not open anything.

    Sees Python's own writes anywhere, and those of other programs in the working folder.
    Temporary files of libraries go under `folder`.
    """
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)  # can't be removed: it is idle while nothing is watched
        _hooked = True
    here, working, temporary = os.getcwd(), folder / "working", folder / "tmp"
    for made in (working, temporary):
        made.mkdir(exist_ok=True)
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    root = os.path.realpath(folder)
    watch = Watch(
        tuple(os.path.join(root, name) for name in ("artifacts", "scratch", "saved", "tmp")),
        root,
        os.path.join(root, holdout) if holdout else "",
    )
    os.chdir(working)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    _watches.append(watch)
    try:
        yield
    finally:
        _watches.pop()
        tempfile.tempdir = before
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable
        os.chdir(here)
        strays = watch.strays + [str(path) for path in working.iterdir()]
        findings.expect(
            not strays,
            "writes",
            "files only under ctx.artifacts, ctx.scratch and the folder given to save",
            ", ".join(strays[:5]),
            "Cells run side by side and are resumed: a file elsewhere is a hidden channel.",
        )
        if watch.holdout:
            findings.expect(
                not watch.peeks,
                "holdout",
                "no look into the folder of the held-out people, which lies beside the training "
                "people's",
                ", ".join(dict.fromkeys(watch.peeks)),
                "A generator that has seen the test can't be measured by it.",
            )


def needs_pickle(path: Path) -> bool:
    """Whether a saved file would be unpickled: pickle, joblib, torch.save, object arrays."""
    if not path.is_file():
        return False
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(
                name.endswith(".pkl") or (name.endswith(".npy") and _object_array(archive, name))
                for name in archive.namelist()
            )
    head = path.read_bytes()[:128]
    if head.startswith(b"\x93NUMPY"):
        return b"'|O'" in head
    return path.suffix in (".pkl", ".pickle", ".joblib") or (
        head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    )


def _object_array(archive: zipfile.ZipFile, name: str) -> bool:
    with archive.open(name) as handle:
        return b"'|O'" in handle.read(128)
