"""Names of a new plugin: what it may be called, and what its parts are called then."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass

from haplobench.errors import BenchError
from haplobench.registry import Registry

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 24


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
