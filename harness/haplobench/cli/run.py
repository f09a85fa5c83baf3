"""`bench run` and `bench validate`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from haplobench.cli.output import echo, make_console

if TYPE_CHECKING:
    from rich.console import Console

    from haplobench.data.formats import ReadOptions
    from haplobench.data.panel import Panel


def evaluate(
    real: Annotated[
        Path,
        typer.Option(
            "--real", help="Read the real people, whom the generator hasn't seen, from this file."
        ),
    ],
    synthetic: Annotated[
        Path, typer.Option("--synthetic", help="Read the synthetic cohort from this file.")
    ],
    train: Annotated[
        Path | None,
        typer.Option(
            "--train",
            help="Read the generator's training people from this file; privacy metrics need them.",
        ),
    ] = None,
    label: Annotated[
        str, typer.Option("--label", help="Call the generator so in tables.")
    ] = "synthetic",
    panel_file: Annotated[
        Path | None,
        typer.Option(
            "--panel-file", help="Read labels of people from this table: sample, pop, super_pop."
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
    """Score a synthetic cohort against real people, from files; no plugin needed."""
    import tempfile

    from haplobench.data.consent import PeopleList, withdrawal_text
    from haplobench.data.formats import ReadOptions, Region
    from haplobench.datasets.file import read_surroundings
    from haplobench.errors import BenchError
    from haplobench.registry import load_registry
    from haplobench.runner.evaluate import Evaluation
    from haplobench.runner.evaluate import evaluate as score
    from haplobench.runner.given_panels import AbsentSites, SiteSettings
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
        evaluation = Evaluation(
            people["real"],
            read["synthetic"][0],
            people.get("train"),
            tuple(metric or ("all",)),
            label=label,
            dataset=real.name,
            sites=SiteSettings(
                min_maf,
                max_missing,
                cast(AbsentSites, absent_sites),
                unread=sum(read["synthetic"][1].values()),
            ),
            seed=seed,
            recombination_map=genetic,
            sequence=sequence,
            origin={"real": str(real), "synthetic": str(synthetic), "train": str(train or "")},
            withdrawn=counts,
        )
        outcome = score(
            evaluation, load_registry(), out, reporter=reporter_for(make_console(markup=True))
        )
    report_on(outcome.run_folder, make_console(), write=True)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _read(path: Path, options: ReadOptions, scratch: Path) -> tuple[Panel, dict[str, int]]:
    """Read a panel; if its haplotypes aren't known, say where and read it as unphased."""
    from haplobench.data.formats import read_panel
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
    out: Annotated[Path, typer.Option("--out", help="Write runs into this folder.")] = Path(
        "results"
    ),
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
    from haplobench.errors import BenchError
    from haplobench.report.leaderboard.board import leaderboards
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
