"""`bench scale`: how a run's generators scale with the number of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.report import OutOption, RunArgument


def scale(
    run: RunArgument,
    out: OutOption = Path("results"),
    ranks: Annotated[
        list[int] | None,
        typer.Option("--ranks", min=1, help="Project to this world size (repeatable)."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for scaling.csv and the figures (SVG).")
    ] = None,
) -> None:
    """Print speed-up, efficiency and communication by ranks, measured and projected; profiles."""
    from rich.console import Console

    from haplobench.results.costs import read_costs
    from haplobench.results.run_folder import RunFolder, resolve_run
    from haplobench.scaling.curves import require_curves
    from haplobench.scaling.profiles import print_profiles, profiles_of
    from haplobench.scaling.tables import render_csv
    from haplobench.scaling.text import print_curves

    folder = resolve_run(run, out)
    curves = require_curves(folder, ranks or ())
    print_curves(curves, Console())
    print_profiles(profiles_of(read_costs(RunFolder(folder))), Console())
    if to is None:
        return
    from haplobench.scaling.figures import write_scaling_figures

    to.mkdir(parents=True, exist_ok=True)
    path = to / "scaling.csv"
    path.write_text(render_csv(curves), encoding="utf-8")
    for written in (path, *write_scaling_figures(folder, to / "figures", ranks or ())):
        typer.echo(str(written))
