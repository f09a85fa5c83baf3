"""`bench run` and `bench validate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from haplobench.cli.output import echo, make_console

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
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Processes side by side (default: 1; on a cluster 16 jobs)."
        ),
    ] = None,
    restart: Annotated[
        int | None,
        typer.Option(
            "--restart", min=0, help="Begin a stage that died again, so often, from its checkpoint."
        ),
    ] = None,
    executor: Annotated[
        str | None, typer.Option("--executor", help="Where stages run: local or slurm.")
    ] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="Slurm's.")] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", help="Slurm: nodes of one cell, at most.")
    ] = None,
    gpus_per_node: Annotated[int | None, typer.Option("--gpus-per-node", help="Slurm's.")] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="Slurm: of a job (default: by the limits).")
    ] = None,
    account: Annotated[str | None, typer.Option("--account", help="Slurm's.")] = None,
    constraint: Annotated[str | None, typer.Option("--constraint", help="Slurm's.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs.")] = Path("results"),
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write the report at the end.")
    ] = True,
) -> None:
    """Run a suite: fit, sample and measure every generator on every dataset."""

    from haplobench.registry import load_registry
    from haplobench.runner import run_suite
    from haplobench.runner.progress import reporter_for
    from haplobench.suite import load_suite

    registry = load_registry()
    for plugin in registry.broken:
        echo(f"warning: plugin {plugin.source} failed to load: {plugin.error}", err=True)
    asked = {
        "limits.restart": restart,
        "executor.name": executor,
        "executor.partition": partition,
        "executor.nodes": nodes,
        "executor.gpus_per_node": gpus_per_node,
        "executor.time": time,
        "executor.account": account,
        "executor.constraint": constraint,
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in asked.items() if value is not None]
    loaded = load_suite(suite, overrides + (settings or []), registry, only=only or [])
    reporter = reporter_for(make_console(markup=True))
    outcome = run_suite(loaded, registry, out, jobs=jobs, fresh=not resume, reporter=reporter)
    report_on(outcome.run_folder, make_console(), write=report)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def report_on(run_folder: Path, console: Console, *, write: bool) -> None:
    """Print a run's tables, and write its report where wanted.

    What was measured stands, whatever becomes of the report: a report that can't be made is a
    warning here.
    """
    from haplobench.errors import BenchError
    from haplobench.report import print_run, write_report

    echo(f"run: {run_folder}")
    try:
        print_run(run_folder, console)
        paths = write_report(run_folder) if write else None
    except BenchError as error:
        echo(f"warning: no report: {error}", err=True)
        return
    if paths is not None:
        for path in paths:
            echo(f"written: {path}")
        for problem in paths.problems:
            echo(f"warning: {problem}", err=True)


def validate(suite: SuiteArgument, settings: SetOption = None) -> None:
    """Check a suite and print the plan of its cells; nothing is run."""
    from haplobench.registry import load_registry
    from haplobench.suite import load_suite

    loaded = load_suite(suite, settings or [], load_registry(), only=[])
    echo(f"{suite}: fine")
    echo(loaded.describe())
