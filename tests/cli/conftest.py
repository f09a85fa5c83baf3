"""Running the real `bench` program, as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_checks import Bench

BENCH = Path(sys.executable).parent / "bench"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Run `bench` with arguments in an empty folder; returns its exit code and output."""

    def run(*arguments: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BENCH), *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
