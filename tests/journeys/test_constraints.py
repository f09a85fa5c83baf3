"""Everything that pyproject.toml asks for is pinned, once, on each Python that README names."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def requirements() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for texts in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from (item for item in map(Requirement, texts) if item.name != project["name"])


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0", "3.13.0"])
def test_every_dependency_has_one_pin_that_fits(python: str) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins: dict[str, list[str]] = {}
    for pin in (Requirement(line) for line in lines if not line.startswith("#")):
        if pin.marker is None or pin.marker.evaluate({"python_full_version": python}):
            [exact] = pin.specifier
            assert exact.operator == "=="
            pins.setdefault(canonicalize_name(pin.name), []).append(exact.version)
    assert [name for name, versions in pins.items() if len(versions) > 1] == []
    for item in requirements():
        if item.marker and not item.marker.evaluate({"python_version": python.rpartition(".")[0]}):
            continue
        [version] = pins.get(canonicalize_name(item.name), ["none"])
        assert item.specifier.contains(version), f"{item} is pinned to {version}: make lock"
