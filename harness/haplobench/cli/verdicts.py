"""`bench verdict`, `leaks`: what is said of each generator, and of whom it gives away."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from haplobench.cli.output import RUNS, RunArgument, RunsOption, echo, make_console, uncollected
from haplobench.errors import BenchError

if TYPE_CHECKING:
    from haplobench.report.model import Summary
    from haplobench.report.verdict import DatasetVerdicts

GeneratorOption = Annotated[
    str, typer.Option("--generator", "-g", help="Take this generator or control only.")
]
DatasetOption = Annotated[str, typer.Option("--dataset", "-d", help="Take this dataset only.")]


class VerdictFormat(StrEnum):
    """A form of a verdict."""

    text = "text"
    json = "json"


def verdict(
    run: RunArgument,
    generator: GeneratorOption = "",
    dataset: DatasetOption = "",
    form: Annotated[VerdictFormat, typer.Option("--format", help="Print this form.")] = (
        VerdictFormat.text
    ),
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", help="Write the statement on one generator on one page: .html or .pdf."
        ),
    ] = None,
    names: Annotated[
        bool,
        typer.Option("--names", help="Name the training person who is given away most surely."),
    ] = False,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            help="Follow the section `verdict` of this suite (default: the run's own rules).",
        ),
    ] = None,
    out: RunsOption = RUNS,
) -> None:
    """Say of each generator whether it is faithful, useful, and leaks; or state all about one."""
    from haplobench.report.leaderboard import leaderboards
    from haplobench.report.statement import (
        make_statement,
        render_json,
        render_text,
        write_statement,
    )
    from haplobench.report.summary import summarise
    from haplobench.report.verdict import reach_verdicts
    from haplobench.results.run_folder import resolve_run
    from haplobench.results.table import load_run
    from haplobench.suite.load import load_section
    from haplobench.suite.schema import VerdictSettings

    rules = load_section(suite, "verdict", VerdictSettings) if suite else None
    with uncollected():
        summary = summarise(load_run(resolve_run(run, out)), rules)
    summary.run.require(generator, dataset)
    found = reach_verdicts(summary, leaderboards(summary))
    rows = [
        row
        for one in found
        for row in one.rows
        if generator in ("", row.generator) and dataset in ("", row.dataset)
    ]
    if to is not None:
        chosen = rows if generator else [row for row in rows if row.role == "generator"]
        if len(chosen) != 1:
            listed = ", ".join(f"{row.generator} on {row.dataset}" for row in chosen[:6])
            raise BenchError(
                f"--to {to}: a statement is on one generator and one dataset, here are "
                f"{len(chosen)}: {listed}",
                hint="name one by -g and -d",
            )
        write_statement(make_statement(summary, chosen[0]), to, names)
        echo(f"written: {to}")
    elif form == VerdictFormat.json:
        echo(render_json([make_statement(summary, row) for row in rows], names), nl=False)
    elif generator:
        width = make_console().width
        echo("\n".join(render_text(make_statement(summary, row), names, width) for row in rows))
    else:
        _print_all([one for one in found if dataset in ("", one.dataset)], summary)


def _print_all(found: list[DatasetVerdicts], summary: Summary) -> None:
    from haplobench.report.terminal import print_rules, print_verdicts

    console = make_console()
    for one in found:
        print_verdicts(one, console, summary)
    print_rules(summary, console)


class LeaksFormat(StrEnum):
    """A form of the list of people."""

    table = "table"
    csv = "csv"
    json = "json"


def leaks(
    run: RunArgument,
    generator: GeneratorOption = "",
    dataset: DatasetOption = "",
    form: Annotated[LeaksFormat, typer.Option("--format", help="Print this form.")] = (
        LeaksFormat.table
    ),
    out: RunsOption = RUNS,
) -> None:
    """List the training people whom generators give away, by name, with the evidence.

    Somebody whom several cohorts give away is listed once, with the surest evidence.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from haplobench.report.evidence import find_leaks, render_csv, render_json
    from haplobench.results.run_folder import resolve_run
    from haplobench.results.table import load_run

    with uncollected():
        people = find_leaks(load_run(resolve_run(run, out)), generator, dataset)
    if form != LeaksFormat.table:
        echo(render_csv(people) if form == LeaksFormat.csv else render_json(people), nl=False)
        return
    if not people:
        echo("nobody is named")
        return
    console = make_console()
    for place in dict.fromkeys((one.dataset, one.generator) for one in people):
        listed = [one for one in people if (one.dataset, one.generator) == place]
        table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for column in ("sample", "population", "evidence", "q", "cohorts"):
            right = column in ("q", "cohorts")
            table.add_column(column, justify="right" if right else "left", overflow="fold")
        for one in listed:
            q = "" if one.q is None else f"{one.q:.2g}"
            cohorts = f"{one.cohorts} of {one.looked_at}"
            table.add_row(one.sample, one.population, one.evidence, q, cohorts)
        named = "person" if len(listed) == 1 else "people"
        console.print(f"{place[0]} · {place[1]}: {len(listed):,} training {named}")
        console.print(table, highlight=False)
