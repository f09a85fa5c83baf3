"""What a clear error looks like from outside."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Bench = Callable[..., subprocess.CompletedProcess[str]]


def assert_one_clear_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, one line that says it all, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for word in words:
        assert word in errors[0], errors[0]
