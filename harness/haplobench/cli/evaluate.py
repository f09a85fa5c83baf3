"""`bench evaluate`: cohorts that lie in files, and the split that comes before them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from haplobench.cli.output import echo, make_console
from haplobench.cli.run import report_on

if TYPE_CHECKING:
    from haplobench.api import RealPeople


def evaluate(
    real: Annotated[
        Path,
        typer.Option(
            "--real", help="Read the real people, whom the generator hasn't seen, from this file."
        ),
    ],
    synthetic: Annotated[
        list[Path] | None,
        typer.Option(
            "--synthetic",
            help="Read a synthetic cohort from this file (repeatable: rows of one report).",
        ),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            "--train",
            help="Read the generator's training people from this file; privacy metrics and the "
            "controls need them.",
        ),
    ] = None,
    trained_on_everybody: Annotated[
        bool,
        typer.Option(
            "--trained-on-everybody",
            help="Say that the generator was trained on all of --real: nothing can then be said of "
            "privacy.",
        ),
    ] = False,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            help="Hold out this share of --real (0.2), or those listed in a file. Without "
            "--synthetic, write the others for the generator to train on; with it, score cohorts.",
        ),
    ] = "",
    to: Annotated[
        Path, typer.Option("--to", help="Write the training part of --split into this folder.")
    ] = Path("split"),
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            help="Call a cohort so in tables (once for each --synthetic; default: by its file).",
        ),
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            "--labels",
            help="Read labels of a cohort's people from this table: sample, pop, super_pop (once "
            "for all, or once for each --synthetic).",
        ),
    ] = None,
    panel_file: Annotated[
        Path | None,
        typer.Option(
            "--panel-file",
            help="Read labels of real people from this table: sample, pop, super_pop.",
        ),
    ] = None,
    region: Annotated[
        str, typer.Option("--region", help="Use this region only, as contig:start-end in bp.")
    ] = "",
    recombination_map: Annotated[
        Path | None, typer.Option("--map", help="Read the recombination map from this file.")
    ] = None,
    fasta: Annotated[
        Path | None,
        typer.Option("--fasta", help="Read the reference sequence from this FASTA file."),
    ] = None,
    min_maf: Annotated[
        float,
        typer.Option(
            "--min-maf", min=0, max=0.5, help="Leave out sites of a smaller minor allele frequency."
        ),
    ] = 0.01,
    max_missing: Annotated[
        float,
        typer.Option(
            "--max-missing",
            min=0,
            max=1,
            help="Leave out sites with a larger share of missing alleles in any of the panels.",
        ),
    ] = 0.0,
    absent_sites: Annotated[
        str,
        typer.Option(
            "--absent-sites",
            help="Take real sites that the cohort's file lacks within its region as 'fixed' if "
            "its tool leaves out sites at which nobody differs; 'leave-out' if it never had them.",
        ),
    ] = "fixed",
    own_sites: Annotated[
        bool,
        typer.Option(
            "--own-sites",
            help="Score a cohort that has sites of its own, as a simulator's, by what needs no "
            "common ones.",
        ),
    ] = False,
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
            "--snps-only/--no-snps-only",
            help="Leave out variants that aren't SNPs, or read them too.",
        ),
    ] = True,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Measure this metric only (repeatable).")
    ] = None,
    withdrawn: Annotated[
        str,
        typer.Option(
            "--withdrawn",
            help="Leave out the people on this list, who withdrew, before anything else.",
        ),
    ] = "",
    allow_unknown: Annotated[
        bool,
        typer.Option(
            "--allow-unknown", help="Allow names on the list that are in none of the panels."
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", help="Seed splits and subsamples with this number.")
    ] = 1,
    out: Annotated[Path, typer.Option("--out", help="Write runs into this folder.")] = Path(
        "results"
    ),
) -> None:
    """Score synthetic cohorts against real people, from files; no plugin needed."""
    import tempfile

    from haplobench import api
    from haplobench.data.formats import Region
    from haplobench.errors import BenchError, FormatError
    from haplobench.runner.progress import reporter_for

    cohorts = synthetic or []
    _check_options(cohorts, label or [], labels or [], split)
    api.check_training(train, split, trained_on_everybody)
    if region:
        try:
            Region.parse(region)
        except ValueError as error:
            raise BenchError(f"--region: {error}") from None
    try:
        if not cohorts:
            with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
                reading = api.Reading(region, snps_only, skip_unphased, Path(scratch), echo)
                people = reading.people(
                    real, None, panel_file, withdrawn=withdrawn, allow_unknown=allow_unknown
                )
                _hand_out(people.split(split, seed, echo), to, real, seed)
            return
        result = api.evaluate(
            real,
            dict(zip(label or api.cohort_labels(cohorts), cohorts, strict=True)),
            train=train,
            metrics=metric or "all",
            split=split,
            trained_on_everybody=trained_on_everybody,
            panel_file=panel_file,
            labels=labels,
            region=region,
            recombination_map=recombination_map or "",
            fasta=fasta or "",
            min_maf=min_maf,
            max_missing=max_missing,
            absent_sites=cast(Any, absent_sites),
            own_sites=own_sites,
            skip_unphased=skip_unphased,
            snps_only=snps_only,
            withdrawn=withdrawn,
            allow_unknown=allow_unknown,
            seed=seed,
            out=out,
            reporter=reporter_for(make_console(markup=True)),
        )
    except FormatError as error:
        error.hint = error.hint.replace("snps_only: false", "--no-snps-only")
        raise
    report_on(result.folder, make_console(), write=True)
    if result.failures:
        raise typer.Exit(1)


def _check_options(
    cohorts: Sequence[Path], label: Sequence[str], labels: Sequence[Path], split: str
) -> None:
    """Raise BenchError for options that contradict each other."""
    from haplobench.errors import BenchError

    if not cohorts and not split:
        raise BenchError(
            "--synthetic: no cohort is given",
            hint="--split 0.2 writes the part of --real that a generator may be trained on",
        )
    if label and len(label) != len(cohorts):
        raise BenchError(
            f"--label: {len(label)} for {len(cohorts)} --synthetic; expected one for each"
        )
    if twice := [name for name in dict.fromkeys(label) if label.count(name) > 1]:
        raise BenchError(
            f"label {twice[0]!r}: {label.count(twice[0])} cohorts have it; expected one each "
            "(--label)"
        )
    if len(labels) > 1 and len(labels) != len(cohorts):
        raise BenchError(
            f"--labels: {len(labels)} for {len(cohorts)} --synthetic; expected one for all, or "
            "one for each"
        )


def _hand_out(people: RealPeople, to: Path, real: Path, seed: int) -> None:
    """Write the training part, and a list of those held out, and say what to do with them."""
    from haplobench.data.formats import write_panel
    from haplobench.data.formats.people import write_labels

    to.mkdir(parents=True, exist_ok=True)
    path, held = to / "train.vcf.gz", to / "held_out.txt"
    assert people.train is not None  # after a split
    write_panel(people.train, path)
    if people.train.labelled:
        write_labels(people.train, to / "train.tsv")
    held.write_text("\n".join(people.real.samples.tolist()) + "\n", encoding="utf-8")
    echo(f"written: {path}: hand this to whoever trains the generator, and nothing else")
    echo(f"written: {held}: keep it; when the cohort has come:")
    echo(f"  bench evaluate --real {real} --split {held} --seed {seed} --synthetic COHORT")
