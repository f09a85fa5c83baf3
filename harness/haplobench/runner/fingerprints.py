"""Fingerprints of code: which source files and installed versions a stage's result rests on.

A plugin is its package, with the packages of ours and the parts of the harness that it imports.
Of the harness, a stage rests on the files that its process runs (`STAGES`); on no report,
comparison or command line.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from haplobench.files import digest_of
from haplobench.plugin import Binary, Need
from haplobench.runner.worker.job import Stage

HARNESS = "haplobench"
_HERE = Path(__file__).parents[1]
_WORKER = ("cost", "entry", "job", "main", "prepare")
_ALL = ("*.py", *(f"{folder}/*.py" for folder in ("data", "distributed", "plugin")))
_ALL += tuple(f"runner/worker/{name}.py" for name in _WORKER)
_FIT = (*_ALL, "runner/worker/sample.py")
STAGES: dict[Stage, tuple[str, ...]] = {
    "prepare": (*_ALL, "data/formats/*.py", "datasets/*.py"),
    "fit": _FIT,
    "sample": _FIT,
    "join": _ALL,
    "measure": (*_ALL, "runner/floor.py", "runner/worker/measure.py"),
}
"""Files of the harness that the process of a stage runs, as patterns; see `stage_files`."""
_API = "api.py"  # runs stages, and is run by none
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_CACHED = {".pyc", ".nbi", ".nbc"}
_LARGE = 64 << 20
_RELATIVE = "."  # among the names that a file imports: some that are told from its place


@dataclass(frozen=True)
class Code:
    """What code something rests on.

    Attributes
    ----------
    digest : str
        SHA-256 over files, installed versions, programs and Python's version.
    versions : dict
        Distribution to version, of every third-party distribution that is imported.
    modules : frozenset of str
        Top-level names of the third-party modules imported.
    """

    digest: str
    versions: dict[str, str]
    modules: frozenset[str]


def plugin_code(target: str, needs: Iterable[Need] = ()) -> Code:
    """The code of the package that a spec's target, `package.module:name`, lies in.

    All its files count; so do those of packages it imports that aren't installed as a copy,
    and of the harness's modules that it imports, but for reports. Other imports count by their
    distribution's version, programs among `needs` by size and time of their file.
    """
    package = target.partition(":")[0].partition(".")[0]
    if package == HARNESS:
        return _harness_code("prepare")  # the datasets that come with it
    return _plugin_code(package, tuple(need.name for need in needs if isinstance(need, Binary)))


@cache
def _plugin_code(package: str, programs: tuple[str, ...]) -> Code:
    files: dict[str, Path] = {}
    todo, packages = [package], set[str]()
    while todo:
        root = todo.pop()
        if root in packages or not (root == package or _is_ours(root)):
            continue
        packages.add(root)
        for name, path in _package_files(root):
            files[name] = path
            for module in _source(path).imports:
                todo.append(module.partition(".")[0])
                files |= _harness_files(module)
    return _code(files, packages, programs)


@cache
def imported(target: str) -> frozenset[str]:
    """Top-level names of the third-party modules that a spec's target imports, now or later.

    Those of its own module, and of the modules of packages of ours and of the harness that this
    imports: others of its package may need more. Relative imports aren't followed: with any, those
    of the whole package.
    """
    roots, seen = set[str](), set[str]()
    todo = [target.partition(":")[0]]
    while todo:
        module = todo.pop()
        root = module.partition(".")[0]
        if module in seen:
            continue
        seen.add(module)
        if root == HARNESS:
            for path in _harness_files(module).values():
                roots |= {name.partition(".")[0] for name in _source(path).imports}
        elif not _is_ours(root):
            roots.add(root)
        elif (file := _module_file(module)) is not None:
            imports = _source(file).imports
            if _RELATIVE in imports:
                return plugin_code(target).modules
            todo += [*imports, *([parent] if (parent := module.rpartition(".")[0]) else [])]
    return frozenset(roots - {HARNESS, *sys.stdlib_module_names})


def source_files(modules: Iterable[str]) -> set[Path]:
    """Files of the harness and of the packages of some modules; caches left out."""
    found = set(_HERE.rglob("*.py"))
    for root in {module.partition(".")[0] for module in modules} - {HARNESS}:
        if _is_ours(root):
            found |= {path for _, path in _package_files(root)}
    return found


def harness_code(stage: Stage) -> str:
    """Digest of the harness's own code that a stage rests on."""
    return _harness_code(stage).digest


def stage_files(stage: Stage) -> set[Path]:
    """Files of the harness that the process of a stage runs."""
    return {path for pattern in STAGES[stage] for path in _HERE.glob(pattern)} - {_HERE / _API}


@cache
def _harness_code(stage: Stage) -> Code:
    return _code({f"{HARNESS}/{path.relative_to(_HERE)}": path for path in stage_files(stage)})


def _code(
    files: dict[str, Path], packages: Iterable[str] = (), programs: Iterable[str] = ()
) -> Code:
    roots = {
        module.partition(".")[0] for path in files.values() for module in _source(path).imports
    }
    modules = frozenset(roots - {"", HARNESS, *packages, *sys.stdlib_module_names})
    versions = _versions(modules)
    digest = digest_of(
        {
            "files": {name: _source(path).digest for name, path in sorted(files.items())},
            "versions": versions,
            "programs": {name: _program(name) for name in programs},
            "python": platform.python_version(),
        }
    )
    return Code(digest, versions, modules)


@cache
def _root_file(root: str) -> Path | None:
    """The file of a top-level module, or the `__init__.py` of a package; found, not imported."""
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _is_ours(root: str) -> bool:
    """Whether a package's code may change without a version: no copy of another distribution."""
    if root == HARNESS or root in sys.stdlib_module_names or (path := _root_file(root)) is None:
        return False
    copied = {"site-packages", "dist-packages"} & set(path.parts)
    return not copied or HARNESS in _distributions().get(root, ())


def _module_file(module: str) -> Path | None:
    """The file of a module of a package that is there; None for other names in it."""
    root, *parts = module.split(".")
    origin = _root_file(root)
    if origin is None or not parts or origin.name != "__init__.py":
        return None if parts else origin
    base = origin.parent.joinpath(*parts)
    paths = base.with_suffix(".py"), base / "__init__.py"
    return next((path for path in paths if path.is_file()), None)


def _package_files(root: str) -> Iterator[tuple[str, Path]]:
    """Name and path of a package's files, data among them; or of the one file of a module."""
    origin = _root_file(root)
    if origin is None:
        return
    if origin.name != "__init__.py":
        yield origin.name, origin
        return
    for path in origin.parent.rglob("*"):
        if path.is_file() and path.suffix not in _CACHED and not path.name.startswith("."):
            yield f"{root}/{path.relative_to(origin.parent)}", path


def _harness_files(module: str) -> dict[str, Path]:
    """Files of a module of the harness, or beside a package's `__init__.py`; none of reports."""
    root, *parts = module.split(".")
    if root != HARNESS or not parts or parts[0] == "report":
        return {}
    base = _HERE.joinpath(*parts)
    paths = base.glob("*.py") if base.is_dir() else [base.with_suffix(".py")]
    return {f"{HARNESS}/{path.relative_to(_HERE)}": path for path in paths if path.is_file()}


@dataclass(frozen=True)
class _Source:
    """A file's digest, for Python of its meaning alone, and what modules it imports."""

    digest: str
    imports: frozenset[str] = frozenset()


@cache
def _source(path: Path) -> _Source:
    stat = path.stat()
    if stat.st_size > _LARGE:
        return _Source(f"{stat.st_size} {stat.st_mtime_ns}")
    content = path.read_bytes()
    return (
        _python(content) if path.suffix == ".py" else _Source(hashlib.sha256(content).hexdigest())
    )


@lru_cache(4096)
def _python(text: bytes) -> _Source:
    """Comments, docstrings and layout left out."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return _Source(hashlib.sha256(text).hexdigest())
    imports = set[str]()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports.add(node.module)
            imports |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            imports.add(_RELATIVE)
        elif isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return _Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), frozenset(imports))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all statements within it; expressions are passed over."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _statements(child)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        return "absent"
    stat = Path(path).resolve().stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


# --- installed versions -----------------------------------------------------------------------


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _versions(modules: Iterable[str]) -> dict[str, str]:
    """Versions of the distributions of some modules, and of all that those require."""
    versions: dict[str, str] = {}
    todo = [name for module in modules for name in _distributions().get(module, [])]
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name in versions or name == HARNESS:
            continue
        version, required = _distribution(name)
        if version:
            versions[name] = version
            todo += required
    return dict(sorted(versions.items()))


@cache
def _distribution(name: str) -> tuple[str, tuple[str, ...]]:
    """Version of a distribution and what it requires here; an empty version if it isn't there."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return "", ()
    required = []
    for line in distribution.requires or []:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required.append(requirement.name)
    return distribution.version, tuple(required)


def forget() -> None:
    """Forget what was read of source files, which may change within one process's life."""
    for function in (_plugin_code, imported, _harness_code, _root_file, _source):
        function.cache_clear()
