"""Genomes: several contigs, one verdict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_runs import Events, bad, run

from haplobench import BenchError, Panel, Telemetry
from haplobench.plugin import PrivacyStatement
from haplobench.plugin.privacy import PrivacyCharge
from haplobench.report.leaderboard import leaderboards
from haplobench.report.summary import summarise
from haplobench.report.verdict import reach_verdicts
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import load_run
from haplobench.runner.genome import _mean, whole_cost
from haplobench.runner.worker.prepare import whole_claim

GENOME = (
    "datasets=[{name: toy, label: g, contigs: [chr1..chr3], params: {contig: '{contig}'}, "
    "filters: {min_maf: 0.05}, split: {holdout: 0.25, validation: 0.1}}]"
)
FEW = ("generators=[frequency]", "sample.draws=2", "floor.draws=2")
CONTIGS = ("chr1", "chr2", "chr3")


def numbers(records: Sequence[Record]) -> dict[tuple[Any, ...], float | None]:
    return {
        (r.dataset, r.generator, r.replicate, r.metric, r.submetric, *r.labels.values()): r.value
        for r in records
        if r.status == "ok"
    }


@pytest.mark.slow
def test_contigs_are_fitted_by_themselves_and_judged_together(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    events = Events()
    out = tmp_path / "out"
    outcome = run(toys, suite_text, out, GENOME, *FEW, "metrics=all", reporter=events)
    assert outcome.exit_code == 0
    whole, contigs = RunFolder(outcome.run_folder), RunFolder(outcome.run_folder / "contigs")
    assert not bad(whole.records())
    assert {r.dataset for r in whole.records()} == {"g"}
    assert {r.dataset for r in contigs.records()} == {f"g-{name}" for name in CONTIGS}
    joined, each = numbers(whole.records()), numbers(contigs.records())
    # What is measured on each contig is the mean over contigs, of the floor as of generators.
    for generator in ("floor", "frequency", "independent"):
        for draw in (0, 1):
            key = (generator, draw, "difference", "difference")
            mean = np.mean([each[f"g-{name}", *key] for name in CONTIGS])
            assert joined["g", *key] == pytest.approx(mean, rel=1e-12)
    # What needs people whole has people whole, and is measured nowhere else.
    assert joined["g", "frequency", 0, "people", "people", "FIN"] == 0.0
    assert joined["g", "floor", 0, "people", "people", "FIN"] == 3.0
    assert not [key for key in each if key[3] == "people"]
    # Costs add up.
    walls = [each[f"g-{name}", "frequency", 0, "cost", "wall"] for name in CONTIGS]
    assert joined["g", "frequency", 0, "cost", "wall"] == pytest.approx(np.sum(walls), rel=1e-9)
    # One leaderboard, one row and one verdict a generator; contigs can be shown as a run.
    summary = summarise(load_run(outcome.run_folder))
    boards = leaderboards(summary)
    (verdicts,) = reach_verdicts(summary, boards)
    assert sorted(row.generator for row in verdicts.rows) == ["frequency", "independent"]
    info = summary.run.info
    assert info["datasets"]["g"]["contigs"] == list(CONTIGS)
    assert info["datasets"]["g"]["n_sites"] == sum(
        facts["n_sites"] for facts in contigs.info()["datasets"].values()
    )
    assert set(summarise(load_run(contigs.path)).datasets) == {f"g-{name}" for name in CONTIGS}
    # The same people are held out on every contig, and no chromosome is a copy of another.
    prepared = [Panel.load(path / "holdout") for path in (out / "toy/stages/prepare").iterdir()]
    assert len({tuple(one.samples.tolist()) for one in prepared}) == 1
    cohorts = [Panel.load(path / "draw0") for path in (out / "toy/stages/sample").iterdir()]
    assert len({one.haplotypes.tobytes() for one in cohorts}) == len(CONTIGS)
    # Nothing is done twice.
    again = Events()
    run(toys, suite_text, out, GENOME, *FEW, "metrics=all", reporter=again)
    assert {stage for _, stage in events.ran()} == {"prepare", "fit", "sample", "join", "measure"}
    assert not again.ran()


@pytest.mark.slow
def test_a_contig_that_fails_costs_the_generator_its_genome_and_says_so(
    toys: Any, suite_text: str, tmp_path: Path
) -> None:
    generators = "generators=[{name: frequency, params: {misbehave: raise, where: sample}}]"
    metrics = "metrics=[{name: spectrum, params: {misbehave: raise}}, difference]"
    outcome = run(toys, suite_text, tmp_path, GENOME, generators, metrics, "floor.draws=1")
    assert outcome.exit_code == 1
    records = bad(RunFolder(outcome.run_folder).records())
    failed = {(r.generator, r.metric, r.phase): r.error.splitlines()[0] for r in records}
    assert failed["frequency", "", "sample"] == "contig chr1: boom in sample"
    assert failed["floor", "spectrum", "measure"] == "contig chr1: boom in metric"
    assert ("floor", "difference", "measure") not in failed


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("datasets[0].params={contig: '{contig}', strangers_on: chr2}",
         "dataset g-chr2: contig chr2: its people aren't those of contig chr1, the first: 24 "
         "people aren't there (person0, person1, person10, …); 24 people are new (stranger0,"),
        ("datasets[0].params={contig: '20', strangers_on: '{contig}'}",
         "dataset g: contigs: two contigs are one: 20 and 20"),
    ],
)  # fmt: skip
def test_contigs_of_other_people_or_of_one_chromosome_are_refused(
    toys: Any, suite_text: str, tmp_path: Path, change: str, why: str
) -> None:
    with pytest.raises(BenchError) as refusal:
        run(toys, suite_text, tmp_path, GENOME, change, *FEW)
    assert why in str(refusal.value)


def test_a_number_of_contigs_is_their_mean_and_evidence_pays_for_their_number() -> None:
    plain: dict[str, Any] = {one.name: "" for one in fields(Record) if one.default is MISSING}
    plain |= {"role": "generator", "status": "ok", "phase": "measure", "labels": {}}
    one = Record(**plain, value=1.0, n=10, standard_error=3.0, p=0.01,
                 low=0.5, high=1.5, detectable=0.6, wall_s=1.0)  # fmt: skip
    two = replace(one, value=2.0, standard_error=4.0, p=0.4, low=0.1, detectable=0.7)
    none = replace(one, value=None, status="not-applicable", note="no map", p=None)
    number = _mean([one, two], 2, evidence=False)
    assert (number.value, number.n, number.standard_error, number.wall_s) == (1.5, 20, 2.5, 2.0)
    assert (number.p, number.low, number.note) == (None, None, "")
    leak = _mean([one, two], 2, evidence=True)
    assert (leak.p, leak.low, leak.high, leak.detectable) == (0.02, 0.1, 1.5, 0.7)
    assert _mean([one, none, two], 3, evidence=True).note == "mean of 2 of 3 contigs; no map"
    assert _mean([none, none], 2, evidence=False).status == "not-applicable"


def test_a_cost_of_contigs_is_their_sum_and_memory_their_peak() -> None:
    def cost(seconds: float, rss: int) -> Telemetry:
        rank = {
            "rank": 0,
            "wall": seconds,
            "peak_rss": rss,
            "gpu_note": "no GPU",
            "gpu_energy": None,
        }
        rank["communication"] = {"seconds": seconds, "operations": {}, "steps": {"epochs": 2.0}}
        return Telemetry(
            seconds, seconds, seconds, seconds, rss, rss, 1, 1, 10, 100, 1000, fit_ranks=[rank]
        )

    whole = whole_cost([cost(1.5, 70), cost(2.5, 60)])
    assert (whole.fit_wall, whole.fit_peak_rss, whole.n_haplotypes) == (4.0, 70, 10)
    assert (whole.n_sites, whole.span) == (200, 2000)
    (rank,) = whole.fit_ranks
    assert (rank["wall"], rank["peak_rss"], rank["gpu_note"]) == (4.0, 70, "no GPU")
    assert rank["communication"] == {"seconds": 4.0, "operations": {}, "steps": {"epochs": 4.0}}


def test_a_claim_of_contigs_is_of_all_fits_together() -> None:
    one = PrivacyStatement(2.0, 1e-5, "person", "some accountant", "Poisson, rate 0.1")
    whole = whole_claim([one, one, one])
    assert 4.0 < whole.epsilon <= 6.0
    assert whole.accountant.endswith("over 3 contigs")
    charged = PrivacyStatement(
        2.0, 1e-5, "person", "some", "all", charges=(PrivacyCharge(3.0, 1.0),)
    )
    assert len(whole_claim([charged, charged]).charges) == 2


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [key for key in os.environ if key.startswith("TOY_")]:
        monkeypatch.delenv(name)
