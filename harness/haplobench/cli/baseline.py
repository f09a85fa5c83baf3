"""`bench baseline`: committed results that later runs are compared with."""

from __future__ import annotations

from typing import Annotated

import typer

from haplobench.cli.output import (
    BASELINES,
    RUNS,
    BaselinesOption,
    RunArgument,
    RunsOption,
    echo,
    make_console,
)

app = typer.Typer(help="Keep a run's numbers in a small text file to commit.", no_args_is_help=True)


@app.command("save")
def save(
    run: RunArgument,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Call the baseline so (default: by the suite's name)."),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Save what there is of a run that was interrupted or has gaps."
        ),
    ] = False,
    out: RunsOption = RUNS,
    baselines: BaselinesOption = BASELINES,
) -> None:
    """Save a run's numbers as a baseline, in place of one of the same name."""
    import re

    from haplobench.compare.baseline import render_baseline
    from haplobench.compare.sources import open_side
    from haplobench.errors import BenchError
    from haplobench.files import write_whole
    from haplobench.suite.schema import NAME

    measured = open_side(run, out=out, baselines=baselines, prefer="run")
    chosen = name or measured.side.suite
    if not re.match(NAME, chosen):
        raise BenchError(f"--name {chosen!r}: expected letters, digits and . _ + -")
    if not any(number.values for number in measured.numbers.values()):
        raise BenchError(f"{run}: no values, so nothing to compare with later")
    gaps = [] if measured.side.complete else ["it was interrupted, or is still running"]
    if empty := measured.unmeasured():
        gaps.append(f"nothing was measured of {', '.join(empty[:4])}")
    if gaps and not allow_missing:
        raise BenchError(
            f"{run}: not a whole run: {'; '.join(gaps)}",
            hint="`bench run` again goes on with it; --allow-missing saves it as it is",
        )
    baselines.mkdir(parents=True, exist_ok=True)
    path = baselines / f"{chosen}.jsonl"
    text = render_baseline(measured, chosen)
    write_whole(path, text)
    seeds = len(measured.side.seeds)
    echo(f"written: {path} ({len(text) / 1024:,.0f} KiB, {seeds} seeds)")
    if measured.side.git_dirty:
        echo("warning: the run was made with uncommitted changes", err=True)
    if any(measured.failures.values()):
        echo("warning: the run has failed cells, which stay failed in the baseline", err=True)
    if seeds < 7:
        echo(
            f"warning: {seeds} seeds: times can't be told apart with fewer than 7, and other "
            "numbers hardly with fewer than 5",
            err=True,
        )


@app.command("list")
def list_baselines(baselines: BaselinesOption = BASELINES) -> None:
    """List the baselines."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from haplobench.compare.sources import open_side

    paths = sorted(baselines.glob("*.jsonl"))
    if not paths:
        echo(f"no baselines in {baselines} (see `bench baseline save`)")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in ("name", "suite", "started", "commit", "machine", "seeds", "numbers", "KiB"):
        table.add_column(column, justify="right" if column in ("numbers", "KiB") else "left")
    for path in paths:
        measured = open_side(str(path))
        side = measured.side
        table.add_row(
            path.stem,
            side.suite,
            side.started[:10],
            side.git_sha[:9] + (" with changes" if side.git_dirty else ""),
            side.machine or side.hardware,
            str(len(side.seeds)),
            f"{len(measured.numbers):,}",
            f"{path.stat().st_size / 1024:,.0f}",
        )
    make_console().print(table)


@app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="Show the baseline of this name, or REF:NAME of a git reference.")
    ],
    everything: Annotated[
        bool, typer.Option("--all", help="Show all numbers, not only those of the main table.")
    ] = False,
    baselines: BaselinesOption = BASELINES,
) -> None:
    """Print a baseline's numbers: the mean over seeds, and their standard deviation."""
    import statistics

    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from haplobench.compare.show import describe_side
    from haplobench.compare.sources import open_side
    from haplobench.report.formatting import format_spread, format_value

    measured = open_side(name, baselines=baselines)
    console = make_console()
    console.print(describe_side(measured.side), highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in ("dataset · generator", "metric", "number", "mean", "± seeds", "seeds"):
        right = column in ("mean", "± seeds", "seeds")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    before = ""
    for key, number in measured.numbers.items():
        definition = measured.definitions.get((key.metric, key.submetric))
        if not everything and (key.labels or not (definition and definition.headline)):
            continue
        means = [statistics.fmean(draws.values()) for draws in number.values.values()]
        place = f"{key.dataset} · {key.generator}"
        labels = ", ".join(value for _, value in key.labels)
        title = definition.title if definition and definition.title else key.submetric
        mean = statistics.fmean(means)
        spread = statistics.stdev(means) if len(means) > 1 else None
        table.add_row(
            "" if place == before else place,
            key.metric,
            f"{title} ({labels})" if labels else title,
            format_value(mean),
            "" if spread is None else format_spread(spread, mean),
            str(len(means)),
        )
        before = place
    console.print(table)
