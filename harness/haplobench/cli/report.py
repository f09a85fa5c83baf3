"""`bench show` and `bench report`: what a run found."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.output import echo, make_console

RunArgument = Annotated[
    str, typer.Argument(help="A run folder, a run's id, or a suite's name for its newest run.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder that holds the runs.")]


class Format(StrEnum):
    """A form of the report."""

    html = "html"
    md = "md"
    csv = "csv"
    svg = "svg"


def show(run: RunArgument, out: OutOption = Path("results")) -> None:
    """Print a run's tables."""
    from haplobench.report import print_run
    from haplobench.results.run_folder import resolve_run

    print_run(resolve_run(run, out), make_console())


def report(
    run: RunArgument,
    out: OutOption = Path("results"),
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the report (default: in the run's).")
    ] = None,
    formats: Annotated[
        list[Format] | None, typer.Option("--format", "-f", help="Only this form (repeatable).")
    ] = None,
) -> None:
    """Write a run's report: Markdown, CSV, figures, and one self-contained HTML page."""
    from haplobench.report import write_report
    from haplobench.results.run_folder import resolve_run

    chosen = tuple(str(item) for item in formats) if formats else tuple(str(f) for f in Format)
    paths = write_report(resolve_run(run, out), to, chosen)
    for path in paths:
        echo(path)
    for problem in paths.problems:
        echo(f"warning: {problem}", err=True)
