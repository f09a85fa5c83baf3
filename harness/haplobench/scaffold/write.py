"""Writing a distribution: templates filled in, all files or none."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from string import Template

from haplobench.errors import BenchError
from haplobench.files import new_folder
from haplobench.registry import Registry
from haplobench.scaffold.names import check_name

KINDS = ("generator", "metric", "dataset")
# Where each template goes; `{module}` is the package.
_COMMON = {
    "pyproject.toml": "pyproject.toml",
    "gitignore": ".gitignore",
}
_OF_KIND = {
    "README.md": "README.md",
    "init.py": "{module}/__init__.py",
    "code.py": "{module}/{kind}.py",
    "test.py": "tests/test_{module}.py",
    "suite.yaml": "suite.yaml",
}


def create(kind: str, name: str, to: Path, registry: Registry) -> Path:
    """Write a plugin's distribution into the new folder `to/name`; returns that folder.

    Raises BenchError for a name that can't be (see `check_name`) or a folder that exists.
    """
    names = check_name(kind, name, registry)
    target = to / name
    if target.exists():
        raise BenchError(f"{target}: exists; nothing is overwritten", hint="choose another --to")
    values = {
        "name": names.plugin,
        "module": names.module,
        "title": names.title,
        "kind": kind,
    }
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
