"""New plugins: a complete distribution written from templates."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from haplobench.errors import BenchError
from haplobench.files import new_folder
from haplobench.registry import Registry

__all__ = ["KINDS", "Names", "check_name", "create"]
KINDS = ("generator", "metric", "dataset")
# Where each template goes; `{module}` is the package.
_COMMON = {"pyproject.toml": "pyproject.toml", "gitignore": ".gitignore"}
_OF_KIND = {
    "README.md": "README.md",
    "init.py": "{module}/__init__.py",
    "code.py": "{module}/{kind}.py",
    "test.py": "tests/test_{module}.py",
    "suite.yaml": "suite.yaml",
}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 24


def create(kind: str, name: str, to: Path, registry: Registry) -> Path:
    """Write a plugin's distribution into the new folder `to/name`; returns that folder.

    Raises BenchError for a name that can't be (see `check_name`) or a folder that exists.
    """
    names = check_name(kind, name, registry)
    target = to / name
    if target.exists():
        raise BenchError(f"{target}: exists; nothing is overwritten", hint="choose another --to")
    values = {"name": names.plugin, "module": names.module, "title": names.title, "kind": kind}
    made = {
        **{f"common/{template}": path for template, path in _COMMON.items()},
        **{f"{kind}/{template}": path for template, path in _OF_KIND.items()},
        **({"dataset/params.py": "{module}/params.py"} if kind == "dataset" else {}),
    }
    scratch = new_folder(to, f".{name}.")
    try:
        for template, path in made.items():
            # No tool takes a template for the Python or TOML that it isn't yet.
            source = files("haplobench.scaffold").joinpath("templates", f"{template}.template")
            text = source.read_text("utf-8")
            file = scratch / path.format(module=names.module, kind=kind)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template(text).substitute(values), encoding="utf-8")
        (scratch / names.module / "py.typed").touch()
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


@dataclass(frozen=True)
class Names:
    """Of a plugin and its distribution (`my-generator`), its package and its classes' stem."""

    plugin: str
    module: str
    title: str


def check_name(kind: str, name: str, registry: Registry) -> Names:
    """The names for a new plugin.

    Raises BenchError if `name` isn't normalised as PEP 503 says, can't be a Python package, or
    is taken: by a plugin of that kind, a distribution, or a module that it would hide.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:_LONGEST]
        raise BenchError(
            f"{name!r} can't be a plugin's name: expected lower-case letters, digits and single "
            f"hyphens, a letter first, at most {_LONGEST}",
            hint=f"did you mean {near}?" if _NAME.fullmatch(near) else "",
        )
    module = name.replace("-", "_")
    plugins: dict[str, object] = getattr(registry, f"{kind}s")
    if name in plugins or (f"{kind}s", name) in registry.duplicates:
        raise BenchError(
            f"{name!r}: a {kind} of that name is installed: "
            f"{registry.sources.get((f'{kind}s', name), 'twice')}",
            hint="two of one name can't be used side by side",
        )
    if name == "floor" or name == "all":
        raise BenchError(f"{name!r} is the harness's own word in suites and tables")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        raise BenchError(f"{name!r}: the package {module} would hide a word of Python's own")
    if _distribution(name) or importlib.util.find_spec(module) is not None:
        raise BenchError(f"{name!r}: a distribution or module of that name is installed")
    return Names(name, module, "".join(part.capitalize() for part in name.split("-")))


def _distribution(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
