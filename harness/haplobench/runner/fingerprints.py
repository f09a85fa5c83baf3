"""Fingerprints of code: which source files and installed versions a stage's result rests on."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from haplobench.plugin import Binary, Need
from haplobench.suite.model import digest_of

HARNESS = "haplobench"
# Modules of the harness that every stage rests on; a stage adds its own.
CORE = (
    "haplobench.data.panel",
    "haplobench.plugin",
    "haplobench.data.genome",
    "haplobench.data.genome",
    "haplobench.data.prepared",
)
_LOADERS = {"importlib", "runpy", "pkgutil", "__import__", "exec", "eval"}
_LARGE = 64 << 20


@dataclass(frozen=True)
class Code:
    """What code something rests on.

    Attributes
    ----------
    digest : str
        SHA-256 over source files, installed versions, programs and Python's version.
    versions : dict
        Distribution to version, of every third-party distribution that is imported.
    modules : frozenset of str
        Top-level names of the third-party modules imported.
    """

    digest: str
    versions: dict[str, str] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()


def plugin_code(target: str, plugins: Iterable[str], needs: Iterable[Need] = ()) -> Code:
    """The code that a spec's target rests on.

    Parameters
    ----------
    target : str
        `package.module:name`.
    plugins : iterable of str
        Modules of all plugins: imports are followed into their packages and into the harness,
        function-level imports included; other imports count by their distribution's version.
        Where a module imports by name at run time, all of its package counts.
    needs : iterable of Need
        Programs among them count by size and time of their file.
    """
    roots = frozenset({module.partition(".")[0] for module in plugins} | {HARNESS})
    roots |= {target.partition(".")[0].partition(":")[0]}
    programs = tuple(need.name for need in needs if isinstance(need, Binary))
    return _code((target.partition(":")[0],), roots, programs)


def harness_code(*modules: str) -> Code:
    """The code of some modules of the harness, with what they import of it."""
    return _code((*CORE, *modules), frozenset({HARNESS}), ())


@cache
def _code(start: tuple[str, ...], roots: frozenset[str], programs: tuple[str, ...]) -> Code:
    sources, external = _closure(start, roots)
    modules = frozenset(external - set(sys.stdlib_module_names))
    versions = _versions(modules)
    digest = digest_of(
        {
            "sources": {name: _file_digest(path) for name, path in sources.items()},
            "versions": versions,
            "programs": {name: _program(name) for name in programs},
            "python": platform.python_version(),
        }
    )
    return Code(digest, versions, modules)


def _closure(start: Iterable[str], roots: frozenset[str]) -> tuple[dict[str, Path], set[str]]:
    """Source files reached from some modules within the roots, and other modules imported."""
    sources: dict[str, Path] = {}
    external: set[str] = set()
    todo = list(start)
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        root = name.partition(".")[0]
        if root not in roots and not _is_local(root):
            external.add(root)
            continue
        path = _module_file(name)
        if path is None:
            continue
        sources[name] = path
        for package in _packages_above(name):
            init = _module_file(package)
            if init is not None:
                sources.setdefault(package, init)
        for file in _data_files(name, path):
            sources[f"{name}:{file.name}"] = file
        if path.suffix != ".py":
            continue
        imported, dynamic = _imports(name, path)
        if dynamic and root != HARNESS:
            # What it loads can't be seen from here: everything beside it counts.
            todo += _siblings(name)
        # The harness's package module re-exports its API: that is in CORE already.
        todo += [module for module in imported if module != HARNESS]
        if root == HARNESS:
            external.add("numpy")
    return dict(sorted(sources.items())), external


@cache
def _is_local(root: str) -> bool:
    """Whether a package's code may change without its version: it isn't installed as a copy."""
    path = None if root in sys.stdlib_module_names else _module_file(root)
    return path is not None and not {"site-packages", "dist-packages"} & set(path.parts)


@cache
def _module_file(name: str) -> Path | None:
    """The file of a module, found without importing it or the packages above it."""
    parts = name.split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    if len(parts) == 1:
        return Path(spec.origin)
    base = Path(spec.origin).parent.joinpath(*parts[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return next((path for path in base.parent.glob(f"{base.name}.*.so")), None)


def _packages_above(name: str) -> Iterator[str]:
    parts = name.split(".")
    for end in range(1, len(parts)):
        package = ".".join(parts[:end])
        if package != HARNESS:
            yield package


def _data_files(name: str, path: Path) -> list[Path]:
    """Files beside a module that it may read: data, not code."""
    if name == HARNESS:
        return []
    if path.name != "__init__.py" and "." not in name:
        return []  # a single-file plugin; what lies beside it is not its own
    return [
        file
        for file in sorted(path.parent.iterdir())
        if file.is_file()
        and file.suffix not in (".py", ".pyc", ".pyi", ".so", ".typed", ".nbi")
        and file.name != "py.typed"
        and not file.name.startswith(".")
    ]


def _siblings(name: str) -> list[str]:
    root = _module_file(name.partition(".")[0])
    if root is None or root.name != "__init__.py":
        return []
    folder = root.parent
    found = []
    for file in sorted(folder.rglob("*.py")):
        parts = [name.partition(".")[0], *file.relative_to(folder).with_suffix("").parts]
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


@dataclass(frozen=True)
class _Source:
    """What a source file says: its meaning's digest, its imports, and whether it loads by name."""

    digest: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...] = ()
    dynamic: bool = False


@lru_cache(4096)
def _source(text: bytes) -> _Source:
    """Digest of the meaning alone: comments, docstrings and layout left out."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return _Source(hashlib.sha256(text).hexdigest())
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    dynamic = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            imports.append((node.level, node.module or "", names))
            dynamic |= node.level == 0 and node.module in _LOADERS
            dynamic |= node.module == "haplobench.registry" and "resolve" in names
        elif isinstance(node, ast.Name):
            dynamic |= node.id in _LOADERS
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return _Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imports), dynamic)


def _drop_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> None:
    first = node.body[0] if node.body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        node.body = node.body[1:] or [ast.Pass()]


@cache
def _imports(name: str, path: Path) -> tuple[frozenset[str], bool]:
    """Modules that a source file imports anywhere in it, and whether it may load others by name."""
    source = _source(path.read_bytes())
    found: set[str] = set()
    package = (name if path.name == "__init__.py" else name.rpartition(".")[0]).split(".")
    for level, module, names in source.imports:
        base = module
        if level:
            above = package[: len(package) - level + 1]
            base = ".".join([*above, module] if module else above)
        modules = [f"{base}.{item}" for item in names if _module_file(f"{base}.{item}")]
        found.update(modules)
        if not names or len(modules) < len(names):
            found.add(base)
    return frozenset(found), source.dynamic


@cache
def _file_digest(path: Path) -> str:
    """Digest of a source file's meaning, or of another file's bytes."""
    stat = path.stat()
    if stat.st_size > _LARGE:
        return f"{stat.st_size} {stat.st_mtime_ns}"
    content = path.read_bytes()
    return _source(content).digest if path.suffix == ".py" else hashlib.sha256(content).hexdigest()


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
    found: dict[str, str] = {}
    todo = [name for module in modules for name in _distributions().get(module, [])]
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name in found or name == HARNESS:
            continue
        version, required = _distribution(name)
        if version:
            found[name] = version
            todo += required
    return dict(sorted(found.items()))


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
    for function in (_code, _is_local, _module_file, _imports, _file_digest):
        function.cache_clear()
