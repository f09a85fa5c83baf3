"""Kernels compile where their code can be kept on disk, and where it can't."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numba
import pytest

from haplobench.kernels import compiled

# As in a container with `--user`, HOME=/ and a read-only installation: numba finds no folder.
NOWHERE = """
import importlib, pkgutil
import numpy as np
from numba.core import caching
for name in ("CacheImpl", "_CacheImpl"):
    if hasattr(caching, name):
        getattr(caching, name)._locator_classes = []
import haplobench_fidelity, haplobench_privacy, haplobench_vae
for package in (haplobench_fidelity, haplobench_privacy, haplobench_vae):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
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


def test_all_plugins_load_and_compute_where_numba_finds_no_folder() -> None:
    done = subprocess.run([sys.executable, "-c", NOWHERE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("]")[:3] == ["[1, 2, 3", " [5, 0, 6", " [0, 7, 8"]
    assert done.stdout.strip().endswith("None")
