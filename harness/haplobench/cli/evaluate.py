"""`bench evaluate`: cohorts that lie in files, and the split that comes before them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from haplobench.cli.output import echo, make_console
from haplobench.cli.run import report_on

if TYPE_CHECKING:
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

    from haplobench.data.consent import PeopleList, withdrawal_text
    from haplobench.data.formats import ReadOptions, Region
    from haplobench.datasets.file import read_surroundings
    from haplobench.errors import BenchError
    from haplobench.registry import load_registry
    from haplobench.runner.evaluate import Evaluation
    from haplobench.runner.evaluate import evaluate as score
    from haplobench.runner.given_panels import AbsentSites, GivenCohort, SiteSettings
    from haplobench.runner.progress import reporter_for

    cohorts = synthetic or []
    _check_options(cohorts, label or [], labels or [], train, split, trained_on_everybody)
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
    tables = {"real": panel_file, "train": panel_file}
    files = {"real": real} | ({"train": train} if train else {})
    for i, path in enumerate(cohorts):
        name = "synthetic" if len(cohorts) == 1 else f"synthetic {i + 1}"
        files[name] = path
        tables[name] = labels[i % len(labels)] if labels else None
    with tempfile.TemporaryDirectory(prefix="haplobench-") as scratch:
        read = {}
        for name, path in files.items():
            options = plain.model_copy(update={"panel_file": tables[name]})
            panel, skipped = read[name] = _read(path, options, Path(scratch) / name)
            left_out = ", ".join(f"{n:,} {reason}" for reason, n in skipped.items())
            echo(
                f"{name}: {panel.n_haplotypes:,} haplotypes at {panel.n_sites:,} sites"
                + (f"; left out: {left_out}" if left_out else "")
            )
        people: dict[str, Panel] = {
            name: panel for name, (panel, _) in read.items() if name in ("real", "train")
        }
        counts = None
        if withdrawn:
            kept, counts = PeopleList.read(withdrawn).leave_out(
                *people.values(), allow_unknown=allow_unknown, key="--withdrawn"
            )
            people = dict(zip(people, kept, strict=True))
            echo(withdrawal_text(counts))
        if split:
            people = _split(people["real"], read["real"][0], split, seed)
            if not cohorts:
                _hand_out(people, to, real, seed)
                return
        genetic, sequence = read_surroundings(
            people["real"], str(recombination_map or ""), str(fasta or "")
        )
        given = [(name, *read[name]) for name in read if name not in ("real", "train")]
        evaluation = Evaluation(
            people["real"],
            tuple(
                GivenCohort(called, panel, sum(skipped.values()))
                for called, (_, panel, skipped) in zip(
                    label or _labels(cohorts), given, strict=True
                )
            ),
            people.get("train"),
            trained_on_everybody,
            tuple(metric or ("all",)),
            dataset=real.name,
            sites=SiteSettings(min_maf, max_missing, cast(AbsentSites, absent_sites), own_sites),
            seed=seed,
            recombination_map=genetic,
            sequence=sequence,
            origin={
                **{name: str(path) for name, path in files.items()},
                **({"split": split} if split else {}),
            },
            withdrawn=counts,
        )
        outcome = score(
            evaluation, load_registry(), out, reporter=reporter_for(make_console(markup=True))
        )
    report_on(outcome.run_folder, make_console(), write=True)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _check_options(
    cohorts: Sequence[Path],
    label: Sequence[str],
    labels: Sequence[Path],
    train: Path | None,
    split: str,
    trained_on_everybody: bool,
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
    if len(labels) > 1 and len(labels) != len(cohorts):
        raise BenchError(
            f"--labels: {len(labels)} for {len(cohorts)} --synthetic; expected one for all, or "
            "one for each"
        )
    given = {"--train": train, "--split": split, "--trained-on-everybody": trained_on_everybody}
    if len(both := [option for option, value in given.items() if value]) > 1:
        raise BenchError(f"{' and '.join(both)}: expected one of them")


def _labels(cohorts: Sequence[Path]) -> list[str]:
    """What tables call cohorts: after their files, with their folders where these are alike."""
    if len(cohorts) == 1:
        return ["synthetic"]
    names = [path.name.partition(".")[0] or path.name for path in cohorts]
    return names if len(set(names)) == len(names) else [str(path) for path in cohorts]


def _split(panel: Panel, everybody: Panel, split: str, seed: int) -> dict[str, Panel]:
    """Held-out people as `real` and the others as `train`, by a share or by a list of names.

    Whoever of `everybody` has withdrawn may be on the list.
    """
    import numpy as np

    from haplobench.data.consent import PeopleList
    from haplobench.errors import BenchError
    from haplobench.runner.given_people import hold_out

    try:
        share = float(split)
    except ValueError:
        names, _ = PeopleList.read(split).find(everybody, key="--split")
        held = np.flatnonzero(np.isin(panel.samples, list(names))).astype(np.int64)
        train, holdout = hold_out(panel, held, seed)
    else:
        if not 0 < share < 1:
            raise BenchError(f"--split: {split}; expected a share between 0 and 1, or a file")
        train, holdout = hold_out(panel, share, seed)
    echo(f"split: {train.n_samples:,} people to train on, {holdout.n_samples:,} held out")
    return {"real": holdout, "train": train}


def _hand_out(people: dict[str, Panel], to: Path, real: Path, seed: int) -> None:
    """Write the training part, and a list of those held out, and say what to do with them."""
    from haplobench.data.formats import write_panel
    from haplobench.data.labels import write_labels

    to.mkdir(parents=True, exist_ok=True)
    train, held = to / "train.vcf.gz", to / "held_out.txt"
    write_panel(people["train"], train)
    if people["train"].labelled:
        write_labels(people["train"], to / "train.tsv")
    held.write_text("\n".join(people["real"].samples.tolist()) + "\n", encoding="utf-8")
    echo(f"written: {train}: hand this to whoever trains the generator, and nothing else")
    echo(f"written: {held}: keep it; when the cohort has come:")
    echo(f"  bench evaluate --real {real} --split {held} --seed {seed} --synthetic COHORT")


def _read(path: Path, options: ReadOptions, scratch: Path) -> tuple[Panel, dict[str, int]]:
    """Read a panel; if its haplotypes aren't known, say where and read it as unphased."""
    from haplobench.data.formats import read_panel
    from haplobench.errors import FormatError, UnphasedError

    scratch.mkdir()
    try:
        return _with_build(path, *read_panel(path, options, scratch=scratch))
    except UnphasedError as error:
        remedy = "" if options.skip_unphased else "; --skip-unphased leaves out such sites instead"
        echo(f"{error.args[0]}: read as not phased{remedy}")
    except FormatError as error:
        error.hint = error.hint.replace("snps_only: false", "--no-snps-only")
        raise
    unphased = {"allow_unphased": True, "skip_unphased": False}
    shutil.rmtree(scratch)
    scratch.mkdir()
    return _with_build(
        path, *read_panel(path, options.model_copy(update=unphased), scratch=scratch)
    )


def _with_build(path: Path, panel: Panel, skipped: dict[str, int]) -> tuple[Panel, dict[str, int]]:
    """The panel with the build that its file's header states, if it is a VCF or BCF."""
    from haplobench.data.formats.vcf import stated_build

    if panel.build or not path.name.endswith((".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")):
        return panel, skipped
    return replace(panel, build=stated_build(path, panel.contig)), skipped
