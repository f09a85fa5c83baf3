"""`bench run` and `bench validate`, and `bench evaluate` of cohorts that lie in files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from haplobench.cli.output import RUNS, OutOption, echo, make_console
from haplobench.errors import BenchError, FormatError

if TYPE_CHECKING:
    from rich.console import Console

    from haplobench.api import RealPeople

SuiteArgument = Annotated[
    str, typer.Argument(help="Take this suite: a YAML file, or the name of a shipped suite.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Override a value, as key=value: seeds=[1], sample.draws=1 … (repeatable).",
    ),
]


def run(
    suite: SuiteArgument,
    settings: SetOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            help="Run only the generator (besides controls) or dataset of this label (repeatable).",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--fresh", help="Reuse stages already computed, or compute all again."
        ),
    ] = True,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Run so many processes side by side (default: 1; on a cluster 16 jobs).",
        ),
    ] = None,
    restart: Annotated[
        int | None,
        typer.Option(
            "--restart",
            min=0,
            help="Begin a stage that died again from its checkpoint, up to so many times.",
        ),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option("--executor", help="Run stages here (local) or as jobs of a cluster (slurm)."),
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", help="Submit to this partition of Slurm.")
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option("--nodes", help="Spread a cell over at most so many nodes of Slurm."),
    ] = None,
    gpus_per_node: Annotated[
        int | None, typer.Option("--gpus-per-node", help="Ask Slurm for so many GPUs on each node.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time", help="Ask Slurm for so much time for a job (default: by the limits)."
        ),
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="Charge this account of Slurm.")
    ] = None,
    constraint: Annotated[
        str | None, typer.Option("--constraint", help="Ask Slurm for nodes with these features.")
    ] = None,
    out: OutOption = RUNS,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the plan with an estimate of time, memory and disk; nothing is run.",
        ),
    ] = False,
    report: Annotated[
        bool,
        typer.Option("--report/--no-report", help="Write the report at the end, or leave it out."),
    ] = True,
) -> None:
    """Run a suite: fit, sample and measure every generator on every dataset."""

    from haplobench.registry import load_registry
    from haplobench.runner.progress import reporter_for
    from haplobench.runner.run import run_suite
    from haplobench.suite.load import load_suite
    from haplobench.testing.checks import unchecked

    registry = load_registry()
    for plugin in registry.broken:
        echo(f"warning: plugin {plugin.source} failed to load: {plugin.error}", err=True)
    asked = {
        "limits.restart": restart,
        "executor.name": executor,
        "executor.partition": partition,
        "executor.nodes": nodes,
        "executor.gpus_per_node": gpus_per_node,
        "executor.time": time,
        "executor.account": account,
        "executor.constraint": constraint,
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in asked.items() if value is not None]
    loaded = load_suite(suite, overrides + (settings or []), registry, only=only or [])
    if dry_run:
        from haplobench.runner.estimate import estimate_run, estimate_text

        echo(loaded.describe())
        echo(estimate_text(estimate_run(loaded, registry, out)))
        return
    ready = [("generator", entry.name) for entry in loaded.generators if not entry.missing]
    ready += [("metric", entry.name) for entry in loaded.metrics if not entry.missing]
    ready += [("dataset", entry.name) for entry in loaded.datasets]
    for line in unchecked(registry, dict.fromkeys(ready)):
        echo(f"warning: {line}", err=True)
    reporter = reporter_for(make_console(markup=True))
    outcome = run_suite(loaded, registry, out, jobs=jobs, fresh=not resume, reporter=reporter)
    report_on(outcome.run_folder, make_console(), write=report)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def report_on(run_folder: Path, console: Console, *, write: bool) -> None:
    """Print a run's tables, and write its report where wanted.

    What was measured stands, whatever becomes of the report: a report that can't be made is a
    warning here.
    """
    from haplobench.report.leaderboard import leaderboards
    from haplobench.report.summary import summarise
    from haplobench.report.terminal import print_summary
    from haplobench.results.table import load_run

    echo(f"run: {run_folder}")
    try:
        summary = summarise(load_run(run_folder))
        boards = leaderboards(summary)
        print_summary(summary, console, boards)
        if not write:
            return
        from haplobench.report.write import write_summary

        paths = write_summary(summary, boards)
    except BenchError as error:
        echo(f"warning: no report: {error}", err=True)
        return
    for path in paths:
        echo(f"written: {path}")
    for problem in paths.problems:
        echo(f"warning: {problem}", err=True)


def validate(suite: SuiteArgument, settings: SetOption = None) -> None:
    """Check a suite and print the plan of its cells; nothing is run."""
    from haplobench.registry import load_registry
    from haplobench.suite.load import load_suite

    loaded = load_suite(suite, settings or [], load_registry(), only=[])
    echo(f"{suite}: fine")
    echo(loaded.describe())


def evaluate(
    real: Annotated[
        Path,
        typer.Option(
            "--real",
            help="Read the real people, whom the generator hasn't seen, from this file; with "
            "--contigs, {contig} in its name stands for each, here and elsewhere.",
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
    contigs: Annotated[
        str,
        typer.Option(
            "--contigs",
            help="Score these contigs as one genome, as 1..22,X: from a file of each, whose name "
            "has {contig} in it, or from one file of all.",
        ),
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
            "--min-maf",
            min=0,
            max=0.5,
            metavar="FLOAT",
            help="Leave out sites of a smaller minor allele frequency.",
        ),
    ] = 0.01,
    max_missing: Annotated[
        float,
        typer.Option(
            "--max-missing",
            metavar="FLOAT",
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
    no_snps_only: Annotated[
        bool,
        typer.Option("--no-snps-only", help="Read variants that aren't SNPs, too."),
    ] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="Measure this metric only (repeatable)."),
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
        int,
        typer.Option(
            "--seed", min=0, metavar="INTEGER", help="Seed splits and subsamples with this number."
        ),
    ] = 1,
    out: OutOption = RUNS,
) -> None:
    """Score synthetic cohorts against real people, from files; no plugin needed."""
    import tempfile

    from haplobench import api
    from haplobench.data.formats import Region
    from haplobench.runner.progress import reporter_for

    cohorts = synthetic or []
    _check_options(cohorts, label or [], labels or [], split)
    sources = {"real": real, "train": train, "synthetic": tuple(cohorts)}
    sources |= {"map": recombination_map, "fasta": fasta}
    names = api.check_contigs(contigs, sources, region)
    api.check_training(train, split, trained_on_everybody)
    if region:
        try:
            Region.parse(region)
        except ValueError as error:
            raise BenchError(f"--region: {error}") from None
    try:
        if not cohorts:
            with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
                whole = api.Reading(region, not no_snps_only, skip_unphased, Path(scratch), echo)
                first: RealPeople | None = None
                for contig in names or ("",):
                    reading = whole.of(contig) if contig else whole
                    people = reading.people(
                        real, None, panel_file, withdrawn=withdrawn, allow_unknown=allow_unknown
                    )
                    if first is None:
                        first = people = people.split(split, seed, echo)
                    else:
                        people = people.like(first.real, first.train)
                    _write_train(people, to, contig)
                assert first is not None  # there is one contig at least
                _hand_out(first, to, real, contigs, seed)
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
            contigs=contigs,
            recombination_map=recombination_map or "",
            fasta=fasta or "",
            min_maf=min_maf,
            max_missing=max_missing,
            absent_sites=cast(Any, absent_sites),
            own_sites=own_sites,
            skip_unphased=skip_unphased,
            snps_only=not no_snps_only,
            withdrawn=withdrawn,
            allow_unknown=allow_unknown,
            seed=seed,
            out=out,
            reporter=reporter_for(make_console(markup=True)),
        )
    except FormatError as error:
        error.hint = error.hint.replace("snps_only: false", "--no-snps-only").replace(
            "choose one by contig or region",
            "--region reads one of them, --contigs several, one by one: from this file, or from "
            "one of each with {contig} in its name",
        )
        raise
    report_on(result.folder, make_console(), write=True)
    if result.failures:
        raise typer.Exit(1)


def _check_options(
    cohorts: Sequence[Path], label: Sequence[str], labels: Sequence[Path], split: str
) -> None:
    """Raise BenchError for options that contradict each other."""

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


def _write_train(people: RealPeople, to: Path, contig: str) -> None:
    """Write the training part, of one contig where there are several."""
    from haplobench.data.formats import write_panel

    path = to / (f"train_{contig}.vcf.gz" if contig else "train.vcf.gz")
    to.mkdir(parents=True, exist_ok=True)
    assert people.train is not None  # after a split
    write_panel(people.train, path)
    echo(f"written: {path}: hand this to whoever trains the generator, and nothing else")


def _hand_out(people: RealPeople, to: Path, real: Path, contigs: str, seed: int) -> None:
    """Write who is held out, and labels of the others, and say what to do with them."""
    from haplobench.data.formats.people import write_labels

    held = to / "held_out.txt"
    assert people.train is not None  # after a split
    if people.train.labelled:
        write_labels(people.train, to / "train.tsv")
    held.write_text("\n".join(people.real.samples.tolist()) + "\n", encoding="utf-8")
    echo(f"written: {held}: keep it; when the cohort has come:")
    options = f"--real {shlex.quote(str(real))}" + f" --contigs {contigs}" * bool(contigs)
    echo(f"  bench evaluate {options} --split {held} --seed {seed} --synthetic COHORT")
