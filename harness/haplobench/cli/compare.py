"""`bench compare`: what became better or worse from one run to another."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.output import echo, make_console


class Format(StrEnum):
    """A form of a comparison."""

    terminal = "terminal"
    md = "md"
    html = "html"
    junit = "junit"
    github_smaller = "github-smaller"
    github_bigger = "github-bigger"
    bencher = "bencher"
    json = "json"


SIDE_HELP = (
    "A run folder, a JSONL file (FILE@RUN), a baseline's name, a run's id, a suite's name "
    "(SUITE@RUN) or a git reference (REF:NAME); run:, baseline: or git: says which is meant."
)


def compare(
    base: Annotated[str, typer.Argument(help=SIDE_HELP)],
    head: Annotated[str, typer.Argument(help="As BASE.")],
    everything: Annotated[bool, typer.Option("--all", help="Unchanged numbers too.")] = False,
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", "-f", help="Print this form, or write it with --to (repeatable)."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="File for the form, or folder for several.")
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Pass where HEAD lacks what BASE has, or was interrupted."
        ),
    ] = False,
    suite: Annotated[
        str | None,
        typer.Option("--suite", help="Suite whose section `compare` counts (default: head's)."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder that holds the runs.")] = Path(
        "results"
    ),
    baselines: Annotated[
        Path, typer.Option("--baselines", help="Folder that holds the baselines.")
    ] = Path("results/baselines"),
) -> None:
    """Compare two runs, number by number, with tests and thresholds.

    Exits with 0 if nothing regressed, 1 if something did, newly fails or is missing from HEAD, 2
    on a mistake in the call, 3 if nothing could be compared.
    """
    from haplobench.comparison.compare import compare as compare_sides
    from haplobench.comparison.settings import load_settings
    from haplobench.comparison.sources import open_side
    from haplobench.comparison.terminal import print_comparison
    from haplobench.comparison.write import render, write_comparison
    from haplobench.errors import BenchError

    settings = load_settings(suite) if suite else None
    name = Path(suite).stem if suite else ""
    where = {"out": out, "baselines": baselines}
    second = open_side(head, suite=name, prefer="run", **where)
    first = open_side(base, suite=name or second.side.suite, prefer="baseline", **where)
    comparison = compare_sides(first, second, settings, allow_missing=allow_missing)
    forms = tuple(str(form) for form in formats or ())
    files = tuple(form for form in forms if form != Format.terminal)
    if len(files) > 1 and to is None:
        raise BenchError(f"{len(files)} formats on one output", hint="--to FOLDER")
    if files and to is None:
        echo(render(comparison, files[0], everything=everything), nl=False)
    if not files or to is not None or Format.terminal in forms:
        print_comparison(comparison, make_console(), everything=everything)
    if files and to is not None:
        for path in write_comparison(comparison, to, files, everything=everything):
            echo(f"written: {path}")
    if comparison.exit_code:
        raise typer.Exit(comparison.exit_code)
