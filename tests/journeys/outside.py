"""Distributions made for a test, as pip would leave them on the path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BENCH = Path(sys.executable).parent / "bench"
TOY = """
import numpy as np
from haplobench import GPU, Binary, GeneratorSpec, hookimpl

class Fitted:
    def __init__(self, frequencies):
        self.frequencies = frequencies

    def sample(self, request, ctx):
        def draw(block):
            draws = ctx.rng("sample", block).random((256, self.frequencies.size))
            return (draws < self.frequencies).astype(np.int8)
        return request.batches(draw)

    def save(self, directory):
        np.save(directory / "frequencies.npy", self.frequencies)

class Toy:
    def fit(self, train, params, ctx):
        return Fitted(train.frequencies)

    def load(self, directory, ctx):
        return Fitted(np.load(directory / "frequencies.npy"))

@hookimpl
def haplobench_generators():
    return [GeneratorSpec({name!r}, "1", __name__ + ":Toy", "A toy.", needs=({needs}))]
"""


def toy(name: str, needs: str = "") -> str:
    """Source of a module that declares one generator."""
    return TOY.replace("{name!r}", repr(name)).replace("{needs}", needs)


def distribute(folder: Path, distribution: str, source: str) -> None:
    """Leave a distribution of one module in a folder: its code and its metadata."""
    module = distribution.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[haplobench]\n{distribution} = {module}\n")


def bench(
    *arguments: object, cwd: Path, path: Sequence[Path] = (), program: Path = BENCH
) -> subprocess.CompletedProcess[str]:
    """Run `bench` with further folders on Python's path."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    else:
        environment.pop("PYTHONPATH", None)
    return subprocess.run(
        [str(program), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def records(run: Path) -> list[dict[str, object]]:
    """The records of a run folder."""
    lines = (run / "records.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
