"""A results folder that colleagues share: everything in it is for whom the umask says."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_runs import HARNESS

from haplobench import Panel
from haplobench.data.formats import write_panel
from haplobench.files import new_folder, write_whole

# As tempfile and safetensors do: for their owner only.
PRIVATE = """
import os
import tempfile
from haplobench import GeneratorSpec, hookimpl
from toy_generators import Frequency, FrequencyParams


class Private(Frequency):
    def fit(self, panel, params, ctx):
        fitted = super().fit(panel, params, ctx)
        save = fitted.save
        def save_privately(folder):
            save(folder)
            inner = tempfile.mkdtemp(dir=folder)
            os.close(tempfile.mkstemp(dir=inner)[0])
        fitted.save = save_privately
        return fitted


@hookimpl
def haplobench_generators():
    return [
        GeneratorSpec(
            name="private", version="1", target="toy_private:Private", summary="Private.",
            params=FrequencyParams,
        )
    ]
"""


@pytest.fixture(params=[0o002, 0o022], ids="{:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def closed(folder: Path, umask: int) -> list[str]:
    """What in a folder is less open than the umask says: names and modes."""
    wrong = []
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        # Finished outputs are read-only.
        allowed = (0o777,) if path.is_dir() else (0o666, 0o444)
        if mode not in [most & ~umask for most in allowed]:
            wrong.append(f"{mode:o} {path.relative_to(folder)}")
    return wrong


def test_a_run_is_as_open_as_the_umask_says(
    umask: int, toys: Any, suite_text: str, tmp_path: Path
) -> None:
    toys.write("toy_private", PRIVATE)
    out = tmp_path / "out"
    suite = toys.suite_file(suite_text)
    harness = HARNESS.replace('"toy_metrics"', '"toy_metrics", "toy_private"')
    small = ("generators=[private]", "sample.draws=1", "floor.draws=1")
    subprocess.run(
        [sys.executable, "-c", harness, str(suite), str(out), *small],
        env={**os.environ, "PYTHONPATH": str(toys.folder)},
        check=True,
    )
    assert len(list(out.rglob("stages/fit/*/*/tmp*/tmp*"))) == 1
    assert closed(out, umask) == []


def test_what_is_written_outside_a_run_is_too(umask: int, tmp_path: Path) -> None:
    panel = Panel(
        haplotypes=np.eye(4, dtype=np.int8),
        positions=np.arange(1, 5),
        contig="20",
        samples=np.array(["a", "b"]),
        ref=np.full(4, "A"),
        alt=np.full(4, "C"),
    )
    folder = tmp_path / "out"
    panel.save(folder / "panel")
    for name in ("a.vcz", "a.pgen", "a.vcf.gz", "a.bcf", "a.bed", "a.hapt"):
        write_panel(panel, folder / name)
    write_whole(folder / "a.txt", b"x")
    new_folder(folder, "x-")
    assert closed(folder, umask) == []


def test_saved_models_and_checkpoints_of_vae_are_too(umask: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `vae`")
    from haplobench_vae.storage import CheckpointFile, write_model

    folder = tmp_path / "out"
    folder.mkdir()
    write_model(folder, {}, {"a": torch.zeros(2)})
    CheckpointFile(folder / "checkpoint", {}).write({"a": torch.zeros(2)}, {})
    assert closed(folder, umask) == []
