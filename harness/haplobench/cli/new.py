"""`bench new`: start a plugin."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.output import echo


class Kind(StrEnum):
    """What a plugin can be."""

    generator = "generator"
    metric = "metric"
    dataset = "dataset"


def new(
    kind: Annotated[Kind, typer.Argument(help="What to write.")],
    name: Annotated[str, typer.Argument(help="Its name in suites and tables: my-generator.")],
    to: Annotated[
        Path, typer.Option("--to", help="Folder in which the new folder NAME is made.")
    ] = Path(),
) -> None:
    """Write a plugin of your own: package, test, suite and README, complete and working.

    It is a distribution of its own. Nothing that exists is overwritten.
    """
    from haplobench.registry import load_registry
    from haplobench.scaffold import create

    folder = create(kind.value, name, to, load_registry())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        echo(f"written: {path}")
    shown = os.path.relpath(folder)
    echo(
        "\nNext (README.md says more):\n"
        f"  cd {shown}\n"
        "  pip install -e '.[test]'\n"
        f"  bench check {name}\n"
        "  python -m pytest\n"
        "  bench run suite.yaml"
    )
