"""`bench evaluate`: score a cohort made by any other tool, from files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from haplobench.cli.output import echo, make_console

if TYPE_CHECKING:
    from haplobench.datasets.formats import ReadOptions
    from haplobench.panel import Panel


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
    max_missing: Annotated[
        float,
        typer.Option(
            "--max-missing",
            min=0,
            max=1,
            help="Share of missing alleles past which a site is left out, in any of the panels.",
        ),
    ] = 0.0,
    absent_sites: Annotated[
        str,
        typer.Option(
            "--absent-sites",
            help="Real sites that the cohort's file lacks within its region: 'fixed' if its tool "
            "leaves out sites at which nobody differs, 'leave-out' if it never had them.",
        ),
    ] = "fixed",
    skip_unphased: Annotated[
        bool,
        typer.Option(
            "--skip-unphased",
            help="Leave out sites with unphased genotypes, instead of metrics that need phase.",
        ),
    ] = False,
    snps_only: Annotated[
        bool,
        typer.Option(
            "--snps-only/--no-snps-only", help="Leave out variants that aren't SNPs, or read them."
        ),
    ] = True,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Only this metric (repeatable).")
    ] = None,
    withdrawn: Annotated[
        str,
        typer.Option("--withdrawn", help="List of people who withdrew: they are left out first."),
    ] = "",
    allow_unknown: Annotated[
        bool,
        typer.Option("--allow-unknown", help="The list may name people of other panels."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of splits and subsamples.")] = 1,
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs.")] = Path("results"),
) -> None:
    """Score a synthetic cohort against real people, from files; no plugin needed."""
    import tempfile

    from haplobench.cli.run import report_on
    from haplobench.consent import PeopleList, withdrawal_text
    from haplobench.datasets.file import read_surroundings
    from haplobench.datasets.formats import ReadOptions, Region
    from haplobench.errors import BenchError
    from haplobench.registry import load_registry
    from haplobench.runner import evaluate as score
    from haplobench.runner.evaluation_panels import AbsentSites
    from haplobench.runner.progress import reporter_for

    if region:
        try:
            Region.parse(region)
        except ValueError as error:
            raise BenchError(f"--region: {error}") from None
    if absent_sites not in get_args(AbsentSites):
        raise BenchError(
            f"--absent-sites: {absent_sites!r}; expected {' or '.join(get_args(AbsentSites))}"
        )
    plain = ReadOptions(
        region=region,
        snps_only=snps_only,
        # Left out by --max-missing once it's known what the panels have in common.
        max_missing=1.0,
        skip_unphased=skip_unphased,
    )
    labelled = plain.model_copy(update={"panel_file": panel_file})
    with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
        read = {
            name: _read(path, options, Path(scratch) / name)
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
        people = {name: panel for name, (panel, _) in read.items() if name != "synthetic"}
        counts = None
        if withdrawn:
            kept, counts = PeopleList.read(withdrawn).leave_out(
                *people.values(), allow_unknown=allow_unknown, key="--withdrawn"
            )
            people = dict(zip(people, kept, strict=True))
            echo(withdrawal_text(counts))
        genetic, sequence = read_surroundings(
            people["real"], str(recombination_map or ""), str(fasta or "")
        )
        outcome = score(
            people["real"],
            read["synthetic"][0],
            people.get("train"),
            metric or ("all",),
            registry=load_registry(),
            out=out,
            label=label,
            dataset=real.name,
            min_maf=min_maf,
            max_missing=max_missing,
            absent_sites=cast(AbsentSites, absent_sites),
            unread=sum(read["synthetic"][1].values()),
            seed=seed,
            recombination_map=genetic,
            sequence=sequence,
            provenance_of={
                "real": str(real),
                "synthetic": str(synthetic),
                "train": str(train or ""),
            },
            withdrawn=counts,
            reporter=reporter_for(make_console(markup=True)),
        )
    report_on(outcome.run_folder, make_console(), write=True)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _read(path: Path, options: ReadOptions, scratch: Path) -> tuple[Panel, dict[str, int]]:
    """Read a panel; if its haplotypes aren't known, say where and read it as unphased."""
    from haplobench.datasets.formats import read_panel
    from haplobench.errors import FormatError, UnphasedError

    scratch.mkdir()
    try:
        return read_panel(path, options, scratch=scratch)
    except UnphasedError as error:
        remedy = "" if options.skip_unphased else "; --skip-unphased leaves out such sites instead"
        echo(f"{error.args[0]}: read as not phased{remedy}")
    except FormatError as error:
        error.hint = error.hint.replace("snps_only: false", "--no-snps-only")
        raise
    unphased = {"allow_unphased": True, "skip_unphased": False}
    shutil.rmtree(scratch)
    scratch.mkdir()
    return read_panel(path, options.model_copy(update=unphased), scratch=scratch)
