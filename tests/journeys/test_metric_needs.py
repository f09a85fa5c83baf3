"""A metric's code imports without the libraries that its description doesn't say it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from haplobench import Module
from haplobench.registry import load_registry

OPTIONAL = {"numba", "scipy", "sklearn", "altair", "pandas"}
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from haplobench.registry import resolve
for target in {targets!r}:
    resolve(target)
"""


def _by_needs() -> dict[tuple[str, ...], list[str]]:
    targets: dict[tuple[str, ...], list[str]] = {}
    for spec in load_registry().metrics.values():
        needed = {need.name for need in spec.needs if isinstance(need, Module)}
        targets.setdefault(tuple(sorted(OPTIONAL - needed)), []).append(spec.target)
    return targets


@pytest.mark.parametrize(("absent", "targets"), _by_needs().items(), ids=str)
def test_code_needs_what_it_says(absent: tuple[str, ...], targets: list[str]) -> None:
    program = WITHOUT.format(absent=absent, targets=targets)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
