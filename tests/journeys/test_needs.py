"""What a spec says it needs is all that its code needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from haplobench import Module
from haplobench.registry import load_registry

HEAVY = (
    "altair", "bed_reader", "bio2zarr", "cyvcf2", "jinja2", "msprime", "numba", "pandas",
    "pgenlib", "PIL", "pyarrow", "pysam", "safetensors", "scipy", "sklearn", "stdpopsim",
    "torch", "tskit", "zarr",
)  # fmt: skip
PROGRAM = """
import json, sys
target, absent = json.loads(sys.argv[1])

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from haplobench.registry import resolve
resolve(target)
"""
# What brings a module along with it.
BRINGS = {
    "msprime": ("tskit",),
    "stdpopsim": ("msprime", "tskit"),
    "sklearn": ("scipy",),
    "opacus": ("scipy",),
}


@pytest.mark.slow
def test_targets_import_without_what_their_specs_do_not_name() -> None:
    registry = load_registry()
    failed = []
    for specs in (registry.generators, registry.metrics, registry.datasets):
        for name, spec in specs.items():
            present = {need.name for need in spec.needs if isinstance(need, Module)}
            present |= {more for module in present for more in BRINGS.get(module, ())}
            absent = [module for module in HEAVY if module not in present]
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, json.dumps([spec.target, absent])],
                capture_output=True,
                text=True,
            )
            if done.returncode:
                failed.append(f"{name}: {done.stderr.splitlines()[-1]}")
    assert not failed
