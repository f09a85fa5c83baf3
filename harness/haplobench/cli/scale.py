"""`bench scale`: how a run's generators scale with the number of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.output import echo, make_console
from haplobench.cli.report import OutOption, RunArgument


def scale(
    run: RunArgument,
    out: OutOption = Path("results"),
    ranks: Annotated[
        list[int] | None,
        typer.Option("--ranks", min=1, help="Project to this world size (repeatable)."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder for scaling.csv, losses.csv and figures (SVG)."),
    ] = None,
) -> None:
    """Print how time, memory and losses depend on ranks and back ends, measured and projected."""
    from haplobench.results.costs import read_costs
    from haplobench.results.run_folder import RunFolder, resolve_run
    from haplobench.scaling.curves import require_curves
    from haplobench.scaling.losses import same_trainings
    from haplobench.scaling.memory import memory_points
    from haplobench.scaling.profiles import print_profiles, profiles_of
    from haplobench.scaling.tables import render_csv, render_losses
    from haplobench.scaling.text import print_curves, print_losses, print_memory

    folder = RunFolder(resolve_run(run, out))
    curves = require_curves(folder.path, ranks or ())
    costs = read_costs(folder)
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
    for written in (*paths, *write_scaling_figures(folder.path, to / "figures", ranks or ())):
        echo(str(written))
