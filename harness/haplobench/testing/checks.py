"""What all conformance checks share: findings, descriptions, a watch over files, who passed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from haplobench.errors import BenchError, PluginError
from haplobench.files import cache_folder, read_json, write_json
from haplobench.plugin import DatasetSpec, GeneratorSpec, MetricSpec, Need, Params
from haplobench.registry import Registry, load_registry, missing_needs
from haplobench.runner.fingerprints import plugin_code

# Seconds to import, or programs' worth of memory: not for a plugin's descriptions.
HEAVY = (
    "allel",
    "altair",
    "cyvcf2",
    "jax",
    "matplotlib",
    "msprime",
    "numba",
    "pandas",
    "scipy",
    "sklearn",
    "stdpopsim",
    "tensorflow",
    "torch",
    "tskit",
    "zarr",
)
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


@dataclass(frozen=True)
class Failure:
    """A check that failed: what was expected, what was found, and why it matters."""

    check: str
    expected: str
    found: str
    why: str

    def __str__(self) -> str:
        return f"{self.check}: expected {self.expected}; found {self.found}. {self.why}"


class ConformanceError(BenchError, AssertionError):
    """A plugin breaks its contract; `failures` holds every failure found, `passed` the rest."""

    def __init__(
        self, subject: str, failures: tuple[Failure, ...], passed: tuple[str, ...] = ()
    ) -> None:
        lines = "".join(f"\n  - {failure}" for failure in failures)
        noun = "place" if len(failures) == 1 else "places"
        super().__init__(f"{subject} breaks its contract in {len(failures)} {noun}:{lines}")
        self.failures = failures
        self.passed = passed


class HaltError(Exception):
    """Ends a check early: what follows needs what just failed."""


@dataclass
class Findings:
    """Collects outcomes by check name; a check failed once counts as failed."""

    subject: str
    outcomes: dict[str, Failure | None] = field(default_factory=dict)

    def expect(self, ok: bool, check: str, expected: str, found: str, why: str) -> bool:
        """Note whether `ok`; returns it."""
        if not ok:
            if self.outcomes.get(check) is None:
                self.outcomes[check] = Failure(check, expected, found, why)
        else:
            self.outcomes.setdefault(check, None)
        return ok

    def require(self, ok: bool, check: str, expected: str, found: str, why: str) -> None:
        """Note whether `ok`; HaltError if not."""
        if not self.expect(ok, check, expected, found, why):
            raise HaltError

    @contextmanager
    def attempt(
        self, check: str, expected: str, why: str, *, vital: bool = False
    ) -> Iterator[None]:
        """Note an exception as a failure of `check`; where `vital`, HaltError follows."""
        try:
            yield
        except HaltError:
            raise
        except Exception as error:
            self.expect(False, check, expected, _describe(error), why)
            if vital:
                raise HaltError from None
        else:
            self.outcomes.setdefault(check, None)

    def conclude(self) -> tuple[str, ...]:
        """Names of the checks passed; raises ConformanceError if any failed."""
        failures = tuple(failure for failure in self.outcomes.values() if failure is not None)
        if failures:
            passed = tuple(check for check, failure in self.outcomes.items() if failure is None)
            raise ConformanceError(self.subject, failures, passed)
        return tuple(self.outcomes)


def _describe(error: Exception) -> str:
    """Type, message and innermost place of an exception, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}{place}"


def conformance(
    kind: str,
    plugin: Any,
    given: Mapping[str, Any] | Params | None,
    registry: Registry | None,
    check: Callable[[Any, Findings, Path, Params], None],
    *,
    describe: Callable[[Findings, Any], None] | None = None,
) -> tuple[str, ...]:
    """Check what all plugins have, then run `check(spec, findings, folder, params)`.

    `describe` checks the spec, instead of `check_description` alone.

    Returns the names of the checks passed; raises ConformanceError if any failed, PluginError
    as `named` does.
    """
    spec, module = named(kind, plugin, registry)
    findings = Findings(f"{kind} {spec.name!r}")
    with (
        tempfile.TemporaryDirectory(prefix="haplobench-check-") as folder,
        suppress(HaltError),
    ):
        (describe or check_description)(findings, spec)
        if module:
            check_light_import(findings, module)
        params = checked_params(findings, spec.params, given)
        check(spec, findings, Path(folder).resolve(), params)
    return findings.conclude()


def named(kind: str, plugin: Any, registry: Registry | None) -> tuple[Any, str]:
    """The spec that `plugin` is or names, and the module it came from (empty if it is a spec).

    Raises PluginError for an unknown name, or if this machine lacks what the plugin needs.
    """
    module = ""
    if isinstance(plugin, str):
        registry = registry or load_registry()
        spec = getattr(registry, kind)(plugin)
        module = registry.source(f"{kind}s", plugin).module
    else:
        spec = plugin
    needs: tuple[Need, ...] = spec.needs
    missing = missing_needs(needs)
    if missing:
        raise PluginError(f"{kind} {spec.name}: can't be checked without {', '.join(missing)}")
    return spec, module


def checked_params(
    findings: Findings, model: type[Params], given: Mapping[str, Any] | Params | None
) -> Params:
    """Check a params model and build the params of this check."""
    why = "A misspelt key in a suite must be an error, not a silent default."
    is_model = isinstance(model, type) and issubclass(model, Params)
    findings.require(is_model, "params", "a subclass of haplobench.Params", repr(model), why)
    config = model.model_config
    findings.expect(
        config.get("extra") == "forbid" and bool(config.get("frozen")),
        "params",
        "a frozen model that forbids unknown keys (as Params does)",
        f"extra={config.get('extra')!r}, frozen={config.get('frozen')!r}",
        why,
    )
    if isinstance(given, BaseModel):
        return given
    try:
        return model(**(given or {}))
    except ValidationError as error:
        findings.require(
            False,
            "params",
            "defaults for every parameter" if given is None else f"{dict(given)} to be valid",
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()),
            "A suite may name a plugin without parameters; pass `params` to check it with some.",
        )
        raise


def check_description(findings: Findings, spec: Any) -> None:
    """Check what all specs have in common."""
    why = "Records, tables and messages name plugins by these."
    name = str(spec.name)
    findings.expect(
        bool(name) and name == name.lower() and all(c.isalnum() or c in "-_." for c in name),
        "description",
        "a name of lower-case letters, digits and -",
        repr(name),
        why,
    )
    for part in ("version", "summary"):
        value = getattr(spec, part)
        there = isinstance(value, str) and bool(value.strip())
        findings.expect(there, "description", f"a {part}", repr(value), why)


def check_light_import(findings: Findings, module: str) -> None:
    """Import the plugin's module alone, in a fresh interpreter, and see what came with it."""
    code = (
        f"import sys, {module}; "
        f"print(' '.join(m for m in {HEAVY!r} if m in sys.modules)); "
        f"[spec for kind in ('generators', 'metrics', 'datasets') "
        f"for spec in getattr({module}, 'haplobench_' + kind, list)()]; "
        f"print(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    # A plugin that isn't installed lies where this process was told to look.
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    findings.expect(
        done.returncode == 0,
        "light import",
        f"`import {module}` to work in a fresh interpreter",
        (done.stderr.strip().splitlines() or ["no message"])[-1],
        "Every command of `bench` imports every plugin's descriptions.",
    )
    heavy = sorted(set(done.stdout.split()))
    findings.expect(
        not heavy,
        "light import",
        f"`import {module}` to import nothing heavy; do that in the target's module",
        f"imports {', '.join(heavy)}",
        "Every command of `bench` imports every plugin's descriptions.",
    )


@dataclass
class Watch:
    """What a plugin writes while it runs outside `allowed` and its stages' folders under `root`.

    The folders `stage…/artifacts` and `stage…/scratch` are a stage's. `peeks` are files opened
    under `holdout`, for reading too.
    """

    allowed: tuple[str, ...]
    root: str
    holdout: str = ""
    strays: list[str] = field(default_factory=list)
    peeks: list[str] = field(default_factory=list)

    def see(self, path: object, *, written: bool) -> None:
        """Judge a path that is about to be opened, made or changed."""
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike):
            return
        real = os.path.realpath(path)
        if not written:
            if self.holdout and (real + os.sep).startswith(self.holdout + os.sep):
                self.peeks.append(real)
            return
        parts = os.path.relpath(real, self.root).split(os.sep)
        if parts[0].startswith("stage") and parts[1:2] in ([], ["artifacts"], ["scratch"]):
            return
        caches = (os.path.realpath(Path.home() / ".cache"), os.environ.get("NUMBA_CACHE_DIR", ""))
        for folder in (*self.allowed, "/dev", "/proc", *caches):
            if folder and (real == folder or real.startswith(folder + os.sep)):
                return
        if "__pycache__" not in real and real not in self.strays:
            self.strays.append(real)


_watches: list[Watch] = []
_hooked = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches:
        return
    if event in ("open", "os.listdir", "os.scandir"):
        _watches[-1].see(arguments[0], written=False)
    if event == "open":
        flags = arguments[2]
        if isinstance(flags, int) and flags & _WRITES:
            _watches[-1].see(arguments[0], written=True)
    elif event in _EVENTS:
        path = arguments[_EVENTS[event]]
        # A relative path may be relative to an open folder, which the event doesn't name.
        if event in ("os.link", "os.truncate") or arguments[-1] == -1 or os.path.isabs(path):
            _watches[-1].see(path, written=True)


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


_OURS = "haplobench"


def note_passed(kind: str, spec: GeneratorSpec | MetricSpec | DatasetSpec) -> None:
    """Note that a plugin keeps its contract; where nothing can be written, it isn't noted."""
    with contextlib.suppress(OSError):
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**(read_json(path) or {}), f"{kind} {spec.name}": _code(spec)})


def unchecked(registry: Registry, used: Iterable[tuple[str, str]]) -> list[str]:
    """Lines on those plugins of others, by kind and name, that didn't pass as they are."""
    passed = read_json(_path()) or {}
    lines = []
    for kind, name in used:
        source = registry.source(f"{kind}s", name)
        if source.distribution == _OURS:
            continue
        if passed.get(f"{kind} {name}") != _code(getattr(registry, kind)(name)):
            since = "since it, or haplobench, was changed" if f"{kind} {name}" in passed else "yet"
            lines.append(
                f"{kind} {name} hasn't passed `bench check {name}` {since}: its numbers may not be "
                "what they seem"
            )
    return lines


def _code(spec: GeneratorSpec | MetricSpec | DatasetSpec) -> str:
    return plugin_code(spec.target, spec.needs).digest


def _path() -> Path:
    return cache_folder() / "checked.json"
