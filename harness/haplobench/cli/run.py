"""`bench run` and `bench validate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

SuiteArgument = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped suite.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a value, as key=value: seeds=[1], sample.draws=1 …"),
]


def run(
    suite: SuiteArgument,
    settings: SetOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Only this generator, besides the controls (repeatable)."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--fresh", help="Reuse stages already computed, or compute all again."
        ),
    ] = True,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Cells run side by side.")] = 1,
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs.")] = Path("results"),
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write the report at the end.")
    ] = True,
) -> None:
    """Run a suite: fit, sample and measure every generator on every dataset."""
    from rich.console import Console

    from haplobench.registry import load_registry
    from haplobench.runner import run_suite
    from haplobench.runner.progress import reporter_for
    from haplobench.suite import load_suite

    registry = load_registry()
    for plugin in registry.broken:
        typer.echo(f"warning: plugin {plugin.source} failed to load: {plugin.error}", err=True)
    console = Console()
    loaded = load_suite(suite, settings or [], registry, only=only or [])
    outcome = run_suite(
        loaded, registry, out, jobs=jobs, fresh=not resume, reporter=reporter_for(console)
    )
    report_on(outcome.run_folder, console, write=report)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def report_on(run_folder: Path, console: Console, *, write: bool) -> None:
    """Print a run's tables, and write its report where wanted.

    What was measured stands, whatever becomes of the report: a report that can't be made is a
    warning here.
    """
    from haplobench.errors import BenchError
    from haplobench.report import print_run, write_report

    typer.echo(f"run: {run_folder}")
    try:
        print_run(run_folder, console)
        paths = write_report(run_folder) if write else None
    except BenchError as error:
        typer.echo(f"warning: no report: {error}", err=True)
        return
    if paths is not None:
        for path in paths:
            typer.echo(f"written: {path}")
        for problem in paths.problems:
            typer.echo(f"warning: {problem}", err=True)


def validate(suite: SuiteArgument, settings: SetOption = None) -> None:
    """Check a suite and print the plan of its cells; nothing is run."""
    from haplobench.registry import load_registry
    from haplobench.suite import load_suite

    loaded = load_suite(suite, settings or [], load_registry(), only=[])
    typer.echo(f"{suite}: fine")
    typer.echo(loaded.describe())
