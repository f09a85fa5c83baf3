"""What the help of every command says of its arguments and options."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import typer.main
from packaging.version import Version
from typer.testing import CliRunner

from haplobench import BenchError
from haplobench.cli import app


def commands() -> list[tuple[str, click.Command]]:
    found = []

    def walk(name: str, command: click.Command) -> None:
        for child, inner in getattr(command, "commands", {}).items():
            walk(f"{name} {child}", inner)
        found.append((name, command))

    walk("bench", typer.main.get_command(app))
    return found


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_argument_and_option_is_explained(name: str, command: click.Command) -> None:
    if Version(version("click")) >= Version("8.5"):
        pytest.skip("click >= 8.5 forgets the help of typer's arguments; haplobench asks for < 8.5")
    assert command.help
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        assert text, f"{name}: {parameter.name} has no help"
        assert re.fullmatch(r"[A-Z][a-z]+( \S+){2,}\.", text), f"{name}: {text!r} isn't a sentence"


@pytest.mark.parametrize(("name", "command"), commands())
def test_options_are_whole_at_80_columns(
    name: str, command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    seen = CliRunner().invoke(app, [*name.split()[1:], "--help"]).output
    names = [one for each in command.params if isinstance(each, click.Option) for one in each.opts]
    assert [one for one in names if not re.search(rf"(?m){one}(?=\s|$)", seen)] == []


@pytest.mark.parametrize("region", ["1:abc", "20:9-3", "20:0-5"])
def test_a_wrong_region_is_one_line(region: str) -> None:
    arguments = ["--real", "a.vcf", "--synthetic", "b.vcf", "--region", region]
    command = typer.main.get_command(app)
    with pytest.raises(BenchError, match=f"--region: {region!r} is not a region"):
        command(["evaluate", *arguments], standalone_mode=False)


def test_a_shell_that_says_it_has_no_columns_is_shown_tables(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from haplobench.cli import main; main()", "list", "suites"],
        cwd=tmp_path, env={**os.environ, "COLUMNS": "0"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert "smoke" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["show", "nothing"]])
def test_output_that_nobody_reads_ends_quietly(arguments: list[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", "from haplobench.cli import main; main()", *arguments],
        cwd=tmp_path,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    os.close(read)
    _, said = process.communicate(timeout=60)
    # A mistake stays one.
    assert process.returncode == (2 if "nothing" in arguments else 0), said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
