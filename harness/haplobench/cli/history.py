"""`bench history`: how numbers went from commit to commit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.output import echo, make_console


def history(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Suites, run folders, folders of runs, .jsonl files, or pytest-benchmark's "
            ".json files (default: every run)."
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", "-m", help="Only this metric, name or name/number (repeatable); plotted."
        ),
    ] = None,
    generators: Annotated[
        list[str] | None, typer.Option("--generator", "-g", help="Only this one (repeatable).")
    ] = None,
    datasets: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="Only this one (repeatable).")
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Only the newest N runs.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All numbers, not only those of the main table.")
    ] = False,
    to: Annotated[
        list[Path] | None,
        typer.Option(
            "--to",
            help="Write a file instead: .html (plots and tables) or .parquet (every record); "
            "repeatable.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder that holds the runs.")] = Path(
        "results"
    ),
) -> None:
    """Show how each number went from commit to commit, with its changes of level marked."""
    from haplobench.errors import BenchError
    from haplobench.history.reading import read_history, select, sources_of

    files = to or []
    for path in files:
        if path.suffix not in (".html", ".parquet"):
            raise BenchError(f"--to {path}: expected a name that ends in .html or .parquet")
    records, benchmarks = sources_of(sources or [], out)
    for path in files:
        if path.suffix == ".parquet":
            from haplobench.history.export import write_parquet

            count = write_parquet(records, path)
            echo(f"{path}: {count:,} records")
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
            from haplobench.history.page import write_page

            write_page(found, path)
            echo(path)
    if not files:
        from haplobench.history.terminal import print_history

        print_history(found, make_console(), plots=bool(metrics))
