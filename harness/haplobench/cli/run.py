"""`bench run` and `bench validate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from haplobench.cli.output import echo, make_console

if TYPE_CHECKING:
    from rich.console import Console


SuiteArgument = Annotated[
    str, typer.Argument(help="Take this suite: a YAML file, or the name of a shipped suite.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Override a value, as key=value: seeds=[1], sample.draws=1 … (repeatable).",
    ),
]


def run(
    suite: SuiteArgument,
    settings: SetOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            help="Run only the generator (besides controls) or dataset of this label (repeatable).",
        ),
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
            "--jobs",
            "-j",
            min=1,
            help="Run so many processes side by side (default: 1; on a cluster 16 jobs).",
        ),
    ] = None,
    restart: Annotated[
        int | None,
        typer.Option(
            "--restart",
            min=0,
            help="Begin a stage that died again from its checkpoint, up to so many times.",
        ),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option("--executor", help="Run stages here (local) or as jobs of a cluster (slurm)."),
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", help="Submit to this partition of Slurm.")
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option("--nodes", help="Spread a cell over at most so many nodes of Slurm."),
    ] = None,
    gpus_per_node: Annotated[
        int | None, typer.Option("--gpus-per-node", help="Ask Slurm for so many GPUs on each node.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time", help="Ask Slurm for so much time for a job (default: by the limits)."
        ),
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="Charge this account of Slurm.")
    ] = None,
    constraint: Annotated[
        str | None, typer.Option("--constraint", help="Ask Slurm for nodes with these features.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Write runs into this folder.")] = Path(
        "results"
    ),
    report: Annotated[
        bool,
        typer.Option("--report/--no-report", help="Write the report at the end, or leave it out."),
    ] = True,
) -> None:
    """Run a suite: fit, sample and measure every generator on every dataset."""

    from haplobench.registry import load_registry
    from haplobench.runner.progress import reporter_for
    from haplobench.runner.run import run_suite
    from haplobench.suite.load import load_suite
    from haplobench.testing.passed import unchecked

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
    ready = [("generator", entry.name) for entry in loaded.generators if not entry.missing]
    ready += [("metric", entry.name) for entry in loaded.metrics if not entry.missing]
    ready += [("dataset", entry.name) for entry in loaded.datasets]
    for line in unchecked(registry, dict.fromkeys(ready)):
        echo(f"warning: {line}", err=True)
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
    from haplobench.report.leaderboard.board import leaderboards
    from haplobench.report.summary import summarise
    from haplobench.report.terminal import print_summary
    from haplobench.results.table import load_run

    echo(f"run: {run_folder}")
    try:
        summary = summarise(load_run(run_folder))
        boards = leaderboards(summary)
        print_summary(summary, console, boards)
        if not write:
            return
        from haplobench.report.write import write_summary

        paths = write_summary(summary, boards)
    except BenchError as error:
        echo(f"warning: no report: {error}", err=True)
        return
    for path in paths:
        echo(f"written: {path}")
    for problem in paths.problems:
        echo(f"warning: {problem}", err=True)


def validate(suite: SuiteArgument, settings: SetOption = None) -> None:
    """Check a suite and print the plan of its cells; nothing is run."""
    from haplobench.registry import load_registry
    from haplobench.suite.load import load_suite

    loaded = load_suite(suite, settings or [], load_registry(), only=[])
    echo(f"{suite}: fine")
    echo(loaded.describe())
