"""`bench evaluate`: score a cohort made by any other tool, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    real: Annotated[Path, typer.Option("--real", help="Real people, unseen by the generator.")],
    synthetic: Annotated[Path, typer.Option("--synthetic", help="The synthetic cohort.")],
    train: Annotated[
        Path | None,
        typer.Option("--train", help="The generator's training people; needed for privacy."),
    ] = None,
    label: Annotated[str, typer.Option("--label", help="Name for the generator.")] = "synthetic",
    panel_file: Annotated[
        Path | None, typer.Option("--panel-file", help="Labels: sample, pop, super_pop.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", help="contig:start-end, in bp.")] = None,
    recombination_map: Annotated[
        Path | None, typer.Option("--map", help="Recombination map.")
    ] = None,
    fasta: Annotated[Path | None, typer.Option("--fasta", help="Reference sequence.")] = None,
    min_maf: Annotated[
        float, typer.Option("--min-maf", min=0, max=0.5, help="MAF under which sites are left out.")
    ] = 0.01,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Only this metric (repeatable).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of splits and subsamples.")] = 1,
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs.")] = Path("results"),
) -> None:
    """Score a synthetic cohort against real people, from files; no plugin needed."""
    from rich.console import Console

    from haplobench.cli.run import report_on
    from haplobench.datasets.file import FileParams, read_file
    from haplobench.registry import load_registry
    from haplobench.runner import evaluate as score

    raise NotImplementedError
