"""`bench evaluate`: score a cohort made by any other tool, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haplobench.cli.output import echo, make_console


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
    region: Annotated[str, typer.Option("--region", help="contig:start-end, in bp.")] = "",
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
    import tempfile

    from haplobench.cli.run import report_on
    from haplobench.datasets.file import read_surroundings
    from haplobench.datasets.formats import ReadOptions, Region, read_panel
    from haplobench.errors import BenchError
    from haplobench.registry import load_registry
    from haplobench.runner import evaluate as score
    from haplobench.runner.progress import reporter_for

    if region:
        try:
            Region.parse(region)
        except ValueError as error:
            raise BenchError(f"--region: {error}") from None
    labelled = ReadOptions(region=region, panel_file=panel_file, allow_unphased=True)
    plain = ReadOptions(region=region, allow_unphased=True)
    with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
        read = {
            name: read_panel(path, options, scratch=_folder(scratch, name))
            for name, path, options in (
                ("real", real, labelled),
                ("synthetic", synthetic, plain),
                ("train", train, labelled),
            )
            if path is not None
        }
        for name, (panel, skipped) in read.items():
            left_out = ", ".join(f"{n:,} {reason}" for reason, n in skipped.items())
            echo(
                f"{name}: {panel.n_haplotypes:,} haplotypes at {panel.n_sites:,} sites"
                + (f"; left out: {left_out}" if left_out else "")
            )
        genetic, sequence = read_surroundings(
            read["real"][0], str(recombination_map or ""), str(fasta or "")
        )
        outcome = score(
            read["real"][0],
            read["synthetic"][0],
            read["train"][0] if train else None,
            metric or ("all",),
            registry=load_registry(),
            out=out,
            label=label,
            dataset=real.name,
            min_maf=min_maf,
            seed=seed,
            recombination_map=genetic,
            sequence=sequence,
            provenance_of={
                "real": str(real),
                "synthetic": str(synthetic),
                "train": str(train or ""),
            },
            reporter=reporter_for(make_console(markup=True)),
        )
    report_on(outcome.run_folder, make_console(), write=True)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _folder(scratch: str, name: str) -> Path:
    folder = Path(scratch) / name
    folder.mkdir()
    return folder
