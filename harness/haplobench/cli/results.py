"""`bench show`, `report`, `compare`, `history`, `scale`, `baseline`: what is read of a run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from haplobench.cli.output import (
    BASELINES,
    RUNS,
    AllOption,
    BaselinesOption,
    RunArgument,
    RunsOption,
    echo,
    make_console,
    uncollected,
)
from haplobench.errors import BenchError
from haplobench.units import counted

if TYPE_CHECKING:
    from haplobench.report.model import Summary

baselines_app = typer.Typer(
    help="Keep a run's numbers in a small text file to commit.", no_args_is_help=True
)


@baselines_app.command("save")
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
    replace_fuller: Annotated[
        bool,
        typer.Option(
            "--replace-fuller",
            help="Replace a baseline that holds more datasets, generators, metrics or seeds.",
        ),
    ] = False,
    out: RunsOption = RUNS,
    baselines: BaselinesOption = BASELINES,
) -> None:
    """Save a run's numbers as a baseline, in place of one of the same name that holds no more."""
    import re

    from haplobench.compare.baseline import lacking, render_baseline
    from haplobench.compare.sources import open_side
    from haplobench.files import write_whole
    from haplobench.suite.values import NAME

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
    if path.is_file() and not replace_fuller:
        lost = lacking(open_side(str(path)), measured)
        if lost:
            more = f" and {len(lost) - 4} more" if len(lost) > 4 else ""
            raise BenchError(
                f"{path} holds more than {run}: {', '.join(lost[:4])}{more}",
                hint="--replace-fuller replaces it all the same; --name saves beside it",
            )
    text = render_baseline(measured, chosen)
    write_whole(path, text)
    seeds = len(measured.side.seeds)
    echo(f"written: {path} ({len(text) / 1024:,.0f} KiB, {counted(seeds, 'seed')})")
    if measured.side.git_dirty:
        echo("warning: the run was made with uncommitted changes", err=True)
    if any(measured.failures.values()):
        echo("warning: the run has failed cells, which stay failed in the baseline", err=True)
    if seeds < 7:
        echo(
            f"warning: {counted(seeds, 'seed')}: times can't be told apart with fewer than 7, and "
            "many other numbers not with fewer than 5",
            err=True,
        )


@baselines_app.command("list")
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


@baselines_app.command("show")
def show_baseline(
    name: Annotated[
        str, typer.Argument(help="Show the baseline of this name, or REF:NAME of a git reference.")
    ],
    everything: AllOption = False,
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
            format_value(mean, unit=definition.unit if definition else ""),
            "" if spread is None else format_spread(spread, mean),
            str(len(means)),
        )
        before = place
    console.print(table)


class ComparisonFormat(StrEnum):
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
    "Take a run folder, a JSONL file (FILE@RUN), a baseline's name, a run's id, a suite's name "
    "(SUITE@RUN) or a git reference (REF:NAME); run:, baseline: or git: says which is meant."
)


def compare(
    base: Annotated[str, typer.Argument(help=SIDE_HELP)],
    head: Annotated[
        str, typer.Argument(help="Take what is compared with BASE, named in the same ways.")
    ],
    everything: Annotated[bool, typer.Option("--all", help="Show unchanged numbers too.")] = False,
    formats: Annotated[
        list[ComparisonFormat] | None,
        typer.Option("--format", "-f", help="Print this form, or write it with --to (repeatable)."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Write the form into this file, or several into this folder."),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Pass where HEAD lacks what BASE has, or was interrupted."
        ),
    ] = False,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite", help="Follow the section `compare` of this suite (default: that of HEAD's)."
        ),
    ] = None,
    out: RunsOption = RUNS,
    baselines: BaselinesOption = BASELINES,
) -> None:
    """Compare two runs, number by number, with tests and thresholds.

    Exits with 0 if nothing regressed, 1 if something did, newly fails or is missing
    from HEAD, 2 on a mistake in the call, 3 if nothing could be compared, or if the
    runs have too little power to find anything in a generator's gated fidelity,
    privacy or utility.
    """
    from haplobench.compare.compare import compare as compare_sides
    from haplobench.compare.exchange import render, write_comparison
    from haplobench.compare.show import print_comparison
    from haplobench.compare.sources import open_side
    from haplobench.suite.load import load_section
    from haplobench.suite.schema import CompareSettings

    settings = load_section(suite, "compare", CompareSettings) if suite else None
    name = Path(suite).stem if suite else ""
    where = {"out": out, "baselines": baselines}
    second = open_side(head, suite=name, prefer="run", **where)
    first = open_side(base, suite=name or second.side.suite, prefer="baseline", **where)
    comparison = compare_sides(first, second, settings, allow_missing=allow_missing)
    forms = tuple(str(form) for form in formats or ())
    files = tuple(form for form in forms if form != ComparisonFormat.terminal)
    if len(files) > 1 and to is None:
        raise BenchError(f"{len(files)} formats on one output", hint="--to FOLDER")
    if files and to is None:
        echo(render(comparison, files[0], everything=everything), nl=False)
    if not files or to is not None or ComparisonFormat.terminal in forms:
        print_comparison(comparison, make_console(), everything=everything)
    if files and to is not None:
        for path in write_comparison(comparison, to, files, everything=everything):
            echo(f"written: {path}")
    if comparison.exit_code:
        raise typer.Exit(comparison.exit_code)


def history(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Take suites, run folders, folders of runs, .jsonl files, or pytest-benchmark's "
            ".json files (default: every run)."
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            "-m",
            help="Show and plot this metric only, as name or name/number (repeatable).",
        ),
    ] = None,
    generators: Annotated[
        list[str] | None,
        typer.Option("--generator", "-g", help="Show this generator only (repeatable)."),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="Show this dataset only (repeatable)."),
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Take the newest N runs only.")
    ] = None,
    everything: AllOption = False,
    to: Annotated[
        list[Path] | None,
        typer.Option(
            "--to",
            help="Write a file instead: .html (plots and tables) or .parquet (every record); "
            "repeatable.",
        ),
    ] = None,
    out: RunsOption = RUNS,
) -> None:
    """Show how each number went from commit to commit, with its changes of level marked."""
    from haplobench.history.reading import read_history, select, sources_of

    files = to or []
    for path in files:
        if path.suffix not in (".html", ".parquet"):
            raise BenchError(f"--to {path}: expected a name that ends in .html or .parquet")
    records, benchmarks = sources_of(sources or [], out)
    for path in files:
        if path.suffix == ".parquet":
            from haplobench.history.reading import write_parquet

            count = write_parquet(records, path)
            echo(f"{path}: {counted(count, 'record')}")
    if files and all(path.suffix == ".parquet" for path in files):
        return
    found = select(
        read_history(records, benchmarks, last=last),
        metrics=metrics or [],
        generators=generators or [],
        datasets=datasets or [],
        everything=everything,
    )
    for path in files:
        if path.suffix == ".html":
            from haplobench.history.show import write_page

            write_page(found, path)
            echo(path)
    if not files:
        from haplobench.history.show import print_history

        print_history(found, make_console(), plots=bool(metrics))


class TableFormat(StrEnum):
    """A form of `bench show`."""

    terminal = "terminal"
    md = "md"
    csv = "csv"
    json = "json"


def show(
    run: RunArgument,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", "-m", help="Show this metric only, as name or name/number (repeatable)."
        ),
    ] = None,
    form: Annotated[
        TableFormat,
        typer.Option("--format", "-f", help="Print the tables in this form."),
    ] = TableFormat.terminal,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", help="Order generators by rank, by name, or by a number: name/number."
        ),
    ] = "rank",
    everything: AllOption = False,
    out: RunsOption = RUNS,
) -> None:
    """Print a run's tables."""
    from haplobench.report.leaderboard import by_rank, leaderboards
    from haplobench.report.summary import order_by, select, summarise
    from haplobench.report.terminal import print_dataset, print_marks, print_summary
    from haplobench.results.run_folder import resolve_run
    from haplobench.results.table import load_run

    with uncollected():
        summary = summarise(load_run(resolve_run(run, out)))
        if form == TableFormat.terminal and sort == "rank" and not (metrics or everything):
            print_summary(summary, make_console())
            return
        if sort == "rank":
            summary = by_rank(summary, leaderboards(summary))
        else:
            summary = order_by(summary, sort)
        summary = select(summary, metrics or (), everything=everything)
        if form == TableFormat.terminal:
            console = make_console()
            for dataset in summary.datasets.values():
                print_dataset(dataset, console)
            print_marks(summary, console)
        else:
            echo(_tables(summary, form), nl=False)


def _tables(summary: Summary, form: TableFormat) -> str:
    import json

    from haplobench.report.exchange import render_tidy, tidy_rows
    from haplobench.report.markdown import render_tables

    if form == TableFormat.json:
        return json.dumps(tidy_rows(summary), ensure_ascii=False, indent=1) + "\n"
    return render_tidy(summary) if form == TableFormat.csv else render_tables(summary)


def report(
    run: RunArgument,
    out: RunsOption = RUNS,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Write the report into this folder (default: in the run's)."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            help="Write these forms only: html, md, csv, svg, png; latex, bib, pdf (for a paper), "
            "multiqc. Separate several by commas.",
        ),
    ] = None,
    width: Annotated[
        str, typer.Option("--width", help="Make tables and figures of a paper this wide.")
    ] = "85mm",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Have these generators alone in a paper, by commas."),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", "-m", help="Have this metric, or metric/number, alone in a paper."
        ),
    ] = None,
) -> None:
    """Write a run's report: Markdown, CSV, figures, and one self-contained HTML page.

    For a paper, `-f latex,bib,pdf` writes tables, a methods paragraph, references
    and figures.
    """
    from haplobench.report.paper import Selection
    from haplobench.report.write import FORMATS, write_report
    from haplobench.results.run_folder import resolve_run
    from haplobench.units import parse_width

    chosen = _split(formats) or FORMATS
    folder = resolve_run(run, out)
    selection = Selection(_split(only), _split(metrics))
    with uncollected():
        paths = write_report(folder, to, chosen, selection, parse_width(width))
    for path in paths:
        echo(path)
    for problem in paths.problems:
        echo(f"warning: {problem}", err=True)


def _split(texts: list[str] | None) -> tuple[str, ...]:
    """What several options hold, each of which may be a list by commas."""
    return tuple(part.strip() for text in texts or () for part in text.split(",") if part.strip())


def site(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Take suites, run folders or folders of runs (default: every run)."),
    ] = None,
    to: Annotated[Path, typer.Option("--to", help="Write the pages into this folder.")] = Path(
        "site"
    ),
    title: Annotated[str, typer.Option("--title", help="Head the index so.")] = "haplobench runs",
    out: RunsOption = RUNS,
) -> None:
    """Write a leaderboard of many runs: an index to sort, and each run's page; no server needed."""
    from haplobench.history.reading import sources_of
    from haplobench.report.write import write_site

    records, _ = sources_of(sources or [], out)
    with uncollected():
        index, left_out = write_site([path.parent for path in records], to, title)
    echo(index)
    for line in left_out:
        echo(f"warning: left out {line}", err=True)


def scale(
    run: RunArgument,
    out: RunsOption = RUNS,
    ranks: Annotated[
        list[int] | None,
        typer.Option("--ranks", min=1, help="Project to this world size (repeatable)."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", help="Write scaling.csv, losses.csv and figures (SVG) into this folder."
        ),
    ] = None,
) -> None:
    """Print how time, memory and losses depend on ranks and back ends, measured and projected."""
    from haplobench.results.notes import read_costs
    from haplobench.results.run_folder import RunFolder, resolve_run
    from haplobench.scaling.curves import memory_points, require_curves
    from haplobench.scaling.losses import print_profiles, profiles_of, same_trainings
    from haplobench.scaling.text import (
        print_curves,
        print_losses,
        print_memory,
        render_csv,
        render_losses,
    )

    folder = RunFolder(resolve_run(run, out))
    costs = read_costs(folder)
    curves = require_curves(folder.path, ranks or (), costs)
    console = make_console()
    print_curves(curves, console)
    groups = same_trainings(folder, costs)
    print_losses(groups, console)
    print_memory(memory_points(costs), console)
    print_profiles(profiles_of(costs), console)
    if to is None:
        return
    from haplobench.scaling.figures import write_scaling_figures

    to.mkdir(parents=True, exist_ok=True)
    tables = {"scaling.csv": render_csv(curves)}
    if groups:
        tables["losses.csv"] = render_losses(groups)
    for name, text in tables.items():
        (to / name).write_text(text, encoding="utf-8")
    paths = [to / name for name in tables]
    figures = write_scaling_figures(folder.path, to / "figures", ranks or (), costs)
    for written in (*paths, *figures):
        echo(str(written))
