"""Kernels compile where their code can be kept on disk, and where it can't."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from haplobench.kernels import compiled

ROOT = Path(__file__).parents[1]
# As in a container with `--user`, HOME=/ and a read-only installation: numba may write nowhere.
# Refused by hand, because a test that runs as root may write anywhere.
NOWHERE = """
import os, tempfile
def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")
os.makedirs = os.mkdir = tempfile.TemporaryFile = refuse
import importlib, pkgutil
import numpy as np
from haplobench.registry import load_registry
load_registry()
for package in [m.name for m in pkgutil.iter_modules() if m.name.startswith("haplobench_")]:
    path = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(path, package + "."):
        importlib.import_module(module.name)
from haplobench_fidelity.haplotype_words import align
keys, first, second = align(*(np.array(row) for row in ([1, 3], [5, 6], [2, 3], [7, 8])))
print(keys.tolist(), first.tolist(), second.tolist(), align.stats.cache_path)
"""


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def refusing(function: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(function, **options)

    monkeypatch.setattr(numba, "njit", refusing)
    assert compiled(lambda x: x + 1)(2) == 3


@pytest.mark.slow
def test_all_plugins_load_and_compute_where_numba_may_not_write() -> None:
    env = {**os.environ, "HOME": "/"}
    env.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", NOWHERE], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("]")[:3] == ["[1, 2, 3", " [5, 0, 6", " [0, 7, 8"]
    assert done.stdout.strip().endswith("None")


def test_nobody_else_compiles() -> None:
    """A module that calls numba itself would fail to import where nothing can be written."""
    modules = [*ROOT.glob("harness/**/*.py"), *ROOT.glob("plugins/**/*.py")]
    assert len(modules) > 150
    compilers = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil", "generated_jit"}
    callers = set()
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba"):
                names = {name.name for name in node.names}
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("numba", "nb"):
                names = {node.attr}
            else:
                continue
            if names & compilers:
                callers.add(path.relative_to(ROOT).as_posix())
    assert callers == {"harness/haplobench/kernels.py"}
