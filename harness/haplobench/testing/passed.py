"""Which plugins have passed `bench check`, with the code that they have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from haplobench.files import cache_folder, read_json, write_json
from haplobench.plugin import DatasetSpec, GeneratorSpec, MetricSpec
from haplobench.registry import Registry
from haplobench.runner.fingerprints import plugin_code

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
