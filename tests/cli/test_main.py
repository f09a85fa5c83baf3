"""What the help of every command says of its arguments and options."""

from __future__ import annotations

import re
from importlib.metadata import version

import click
import pytest
import typer.main
from packaging.version import Version

from haplobench import BenchError
from haplobench.cli.main import app


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


@pytest.mark.parametrize("region", ["1:abc", "20:9-3", "20:0-5"])
def test_a_wrong_region_is_one_line(region: str) -> None:
    arguments = ["--real", "a.vcf", "--synthetic", "b.vcf", "--region", region]
    command = typer.main.get_command(app)
    with pytest.raises(BenchError, match=f"--region: {region!r} is not a region"):
        command(["evaluate", *arguments], standalone_mode=False)
