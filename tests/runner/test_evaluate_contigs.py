"""Cohorts of several contigs, handed in: numbers of each and of whole people, as genomes' are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panel_cases import panel
from toy_runs import Events, bad, records_of

from haplobench import BenchError, Panel
from haplobench.report.leaderboard import leaderboards
from haplobench.report.summary import summarise
from haplobench.report.verdict import reach_verdicts
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import load_run
from haplobench.runner.evaluate import Evaluation, evaluate, evaluate_contigs
from haplobench.runner.given_sites import GivenCohort

CONTIGS = ("1", "2", "X")


def of_contig(contig: str, **more: Any) -> Evaluation:
    """Twelve real, twenty training and ten synthetic people."""
    seed = 10 * CONTIGS.index(contig)
    n_sites = 60 + seed

    def people(n: int, turn: int, prefix: str) -> Panel:
        return replace(panel(n, seed + turn, prefix, n_sites), contig=contig)

    synthetic = more.pop("synthetic", people(10, 3, "s"))
    return Evaluation(
        more.pop("real", people(12, 1, "r")),
        (GivenCohort("mine", synthetic),),
        people(20, 2, "t"),
        floor_draws=2,
        **more,
    )


def score(toys: Any, out: Path, scratch: Path, read: Any = of_contig, **more: Any) -> Any:
    scratch.mkdir()
    return evaluate_contigs(
        CONTIGS, read, toys.registry(), out, scratch, reporter=more.pop("reporter", Events())
    )


def numbers(records: list[Record], dataset: str) -> dict[tuple[Any, ...], Any]:
    return {
        (r.generator, r.replicate, r.metric, r.submetric, *r.labels.values()): (r.value, r.n)
        for r in records
        if r.status == "ok" and r.dataset == dataset and r.role != "control"
    }


@pytest.mark.slow
def test_each_contig_has_its_own_numbers_and_people_are_whole(toys: Any, tmp_path: Path) -> None:
    events, out = Events(), tmp_path / "out"
    outcome = score(toys, out, tmp_path / "scratch", reporter=events)
    records = records_of(outcome)
    assert outcome.exit_code == 0
    assert not bad(records)
    contigs = RunFolder(outcome.run_folder / "contigs")
    each = {name: numbers(contigs.records(), f"real-{name}") for name in CONTIGS}
    whole = numbers(records, "real")
    # A contig that is evaluated alone has the same numbers, of the cohort and of the floor;
    # metrics of whole people have the genome's people, and no contig's.
    for name in CONTIGS:
        alone = evaluate(of_contig(name), toys.registry(), tmp_path / f"alone-{name}")
        told = numbers(records_of(alone), "real")
        assert {key: told[key] for key in each[name]} == each[name]
        assert {key[2] for key in told} - {key[2] for key in each[name]} == {"people"}
    for key in each["1"]:
        if key[2] == "difference":
            mean = np.mean([each[name][key][0] for name in CONTIGS])
            assert whole[key][0] == pytest.approx(mean, rel=1e-12)
    assert {key[0] for key in whole if key[2] == "people"} >= {"floor", "mine"}
    # One row and one verdict; what both runs say of themselves.
    summary = summarise(load_run(outcome.run_folder))
    (verdicts,) = reach_verdicts(summary, leaderboards(summary))
    assert sorted(row.generator for row in verdicts.rows) == ["independent", "mine"]
    facts = RunFolder(outcome.run_folder).info()["datasets"]["real"]
    assert facts["contigs"] == list(CONTIGS)
    assert facts["n_sites"] == 60 + 70 + 80
    (cohort,) = (one for one in summary.run.info["cohorts"] if one["generator"] == "mine")
    assert len(cohort["digests"]) == 1
    # Nothing is done twice.
    again = Events()
    score(toys, out, tmp_path / "again", reporter=again)
    assert {stage for _, stage in events.ran()} == {"fit", "sample", "join", "measure"}
    assert not again.ran()


@pytest.mark.slow
def test_a_cohort_of_real_people_on_one_contig_is_in_doubt_on_all(
    toys: Any, tmp_path: Path
) -> None:
    copied = of_contig("2").real

    def read(contig: str) -> Evaluation:
        own = of_contig(contig)
        if contig != "2":
            return own
        mine = own.cohorts[0].panel
        rows = np.vstack([copied.haplotypes[:8], mine.haplotypes[8:]])
        return of_contig(contig, synthetic=replace(mine, haplotypes=rows))

    outcome = score(toys, tmp_path / "out", tmp_path / "scratch", read)
    (warning,) = RunFolder(outcome.run_folder).info()["datasets"]["real"]["warnings"][:1]
    assert warning.startswith("contig 2: 4 of the cohort's 10 people are people of --real")
    doubt = "on contig 2, made of copies of --real people"
    for folder in (outcome.run_folder, outcome.run_folder / "contigs"):
        notes = {r.note for r in RunFolder(folder).records() if r.metric == "spectrum"}
        assert any(doubt in note for note in notes)
        for facts in RunFolder(folder).info()["datasets"].values():
            assert facts["cohort_marks"]["mine"]["note"] == f"no mark: {doubt}"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"contig": "chr1"}, "two contigs are one: 1 and chr1"),
        ({"build": "GRCh38"}, "contig X: build 'GRCh38', expected 'GRCh37'"),
    ],
)
def test_contigs_that_do_not_belong_together_are_one_line(
    toys: Any, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    def read(contig: str) -> Evaluation:
        one = of_contig(contig)
        assert one.train is not None
        if contig != "X":
            return replace(one, real=replace(one.real, build="GRCh37"))
        mine = replace(one.cohorts[0].panel, **change)
        return replace(
            one,
            real=replace(one.real, **change),
            train=replace(one.train, **change),
            cohorts=(GivenCohort("mine", mine),),
        )

    with pytest.raises(BenchError) as refusal:
        score(toys, tmp_path / "out", tmp_path / "scratch", read)
    assert why in str(refusal.value)


def test_what_is_amiss_on_a_contig_names_it(toys: Any, tmp_path: Path) -> None:
    def read(contig: str) -> Evaluation:
        one = of_contig(contig)
        few = one.cohorts[0].panel.select_samples([0])
        return one if contig == "1" else of_contig(contig, synthetic=few)

    with pytest.raises(BenchError, match=r"^contig 2: 1 synthetic people"):
        score(toys, tmp_path / "out", tmp_path / "scratch", read)
