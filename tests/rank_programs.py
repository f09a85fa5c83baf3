"""A script of training, started alone, under torchrun or under Horovod."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ALONE = (sys.executable,)


def started(script: Path, out: Path, launcher: tuple[str, ...], timeout: float = 300) -> None:
    """Run `script out`, whose exit status is to be 0 within `timeout` seconds."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    done = subprocess.run(
        [*launcher, str(script), str(out)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def torchrun(ranks: int) -> tuple[str, ...]:
    options = ("--standalone", "--nproc-per-node", str(ranks))
    return (sys.executable, "-m", "torch.distributed.run", *options)


def horovodrun(ranks: int) -> tuple[str, ...]:
    """Skips the test where Horovod isn't installed."""
    if importlib.util.find_spec("horovod") is None:
        pytest.skip("Horovod is not installed (make horovod)")
    program = shutil.which("horovodrun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program is not None
    return (program, "--gloo", "-np", str(ranks), sys.executable)
