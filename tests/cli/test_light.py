"""The light commands stay light."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "msprime", "stdpopsim", "numba", "scipy", "pandas", "altair", "sklearn", "zarr"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["list"], ["run", "--help"], ["validate", "1kg"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    heavy = HEAVY if arguments[0] == "validate" else HEAVY | {"numpy"}
    code = (
        "import sys\n"
        "from haplobench.cli import main\n"
        f"sys.argv = ['bench', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"heavy = sorted({heavy!r} & set(sys.modules))\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_list_shows_status_of_everything() -> None:
    code = "from haplobench.cli import main; main(['list'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"COLUMNS": "200"}
    )
    for word in ("generators", "metrics", "datasets", "suites", "ready", "vae-paper", "1kg"):
        assert word in done.stdout
