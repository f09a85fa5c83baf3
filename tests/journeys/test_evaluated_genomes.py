"""A vendor's cohort on three chromosomes: who is copied on one is named, and runs say the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msprime
import numpy as np
import pytest

from haplobench import evaluate, read_panel
from haplobench.data.formats import write_panel
from haplobench.registry import load_registry
from haplobench.report.leaderboard import leaderboards
from haplobench.report.summary import summarise
from haplobench.report.verdict import reach_verdicts
from haplobench.results.records import Record
from haplobench.results.run_folder import RunFolder
from haplobench.results.table import load_run
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite

CONTIGS = ("1", "2", "3")
PEOPLE, HELD, COHORT = 120, 40, 40
COPIED = 17
# A generator that hands out a cohort from files: what a run measures of it is what is evaluated.
PLUGIN = '''
"""A cohort that somebody else made."""
from pathlib import Path
import numpy as np
from haplobench import GeneratorSpec, Params, hookimpl


class MadeParams(Params):
    folder: str


class Fitted:
    def __init__(self, rows):
        self.rows = rows

    def save(self, directory):
        np.save(directory / "rows.npy", self.rows)

    def sample(self, request, ctx):
        return request.batches(lambda block: np.resize(self.rows, (256, self.rows.shape[1])))


class Made:
    def fit(self, train, params, ctx):
        return Fitted(np.load(Path(params.folder) / f"{train.contig}.npy"))

    def load(self, directory, ctx):
        return Fitted(np.load(directory / "rows.npy"))


@hookimpl
def haplobench_generators():
    return [GeneratorSpec("made", "1", "made_elsewhere:Made", "Made elsewhere.", MadeParams)]
'''
SUITE = """
name: made
datasets:
  - name: file
    label: genome
    contigs: [1..3]
    params: {{path: "{folder}/all_chr{{contig}}.vcf", snps_only: false}}
    filters: {{min_maf: 0}}
    split: {{holdout: "{folder}/held.txt", validation: 0, relatives: ignore}}
generators:
  - {{name: made, params: {{folder: "{folder}"}}}}
metrics: [{metrics}]
floor: {{draws: 1}}
sandbox: off
"""
METRICS = ("allele-frequency", "nearest-neighbours", "leak-list", "rare-alleles")
MODULES = ("haplobench.datasets", "haplobench_fidelity", "haplobench_privacy", "made_elsewhere")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of each contig: everybody, the cohort, and rows of this for the plugin."""
    for turn, contig in enumerate(CONTIGS):
        trees = msprime.sim_ancestry(
            PEOPLE + COHORT,
            sequence_length=200_000,
            recombination_rate=1e-7,
            population_size=100_000,
            random_seed=turn + 1,
        )
        trees = msprime.sim_mutations(trees, rate=2e-9, random_seed=turn + 1)
        whole = read_panel(trees, snps_only=False, offset=1)
        names = np.array([f"p{i:03d}" for i in range(whole.n_samples)])
        unlabelled = np.full(names.size, "")
        whole = replace(whole, contig=contig, samples=names, population=unlabelled)
        people = whole.select_samples(np.arange(PEOPLE))
        rows = np.array(whole.haplotypes[2 * PEOPLE :])
        if contig == "2":
            person = HELD + COPIED
            rows[6:8] = people.haplotypes[2 * person : 2 * person + 2]
        kept = np.flatnonzero(people.allele_counts[0] > 0)
        people, rows = people.select_sites(kept), rows[:, kept]
        order = np.random.default_rng(turn).permutation(COHORT)
        cohort = people.with_haplotypes(rows).select_samples(order if turn else np.arange(COHORT))
        write_panel(people, tmp_path / f"all_chr{contig}.vcf")
        write_panel(cohort, tmp_path / f"made_chr{contig}.vcf")
        np.save(tmp_path / f"{contig}.npy", rows)
    (tmp_path / "held.txt").write_text("".join(f"p{i:03d}\n" for i in range(HELD)))
    (tmp_path / "made_elsewhere.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def numbers(records: list[Record], generator: str) -> dict[tuple[Any, ...], Any]:
    return {
        (r.metric, r.submetric, *r.labels.values()): (r.value, r.p, r.low, r.high)
        for r in records
        if r.generator == generator and r.status == "ok" and r.family != "performance"
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_copy_on_one_contig_is_named_and_a_run_of_the_same_has_the_same_numbers(
    folder: Path,
) -> None:
    result = evaluate(
        str(folder / "all_chr{contig}.vcf"),
        str(folder / "made_chr{contig}.vcf"),
        contigs="1..3",
        split=str(folder / "held.txt"),
        metrics=METRICS,
        min_maf=0.0,
        snps_only=False,
        floor_draws=1,
        out=folder / "out",
    )
    summary = summarise(load_run(result.folder))
    (verdicts,) = reach_verdicts(summary, leaderboards(summary))
    (row,) = (row for row in verdicts.rows if row.generator == "synthetic")
    assert row.leaks.answer == "yes"
    assert row.leaks.people is not None
    (person,) = row.leaks.people
    assert person.sample == f"p{HELD + COPIED:03d}"
    assert person.evidence.startswith("a person copied on contig 2")
    # What a run measures of a generator that hands out the same cohort.
    registry = load_registry(MODULES)
    text = SUITE.format(folder=folder, metrics=", ".join(METRICS))
    (folder / "suite.yaml").write_text(text)
    outcome = run_suite(load_suite(folder / "suite.yaml", [], registry), registry, folder / "out")
    assert outcome.exit_code == 0
    assert_alike(RunFolder(result.folder), RunFolder(outcome.run_folder))


def assert_alike(evaluated: RunFolder, run: RunFolder) -> None:
    """The same people, sites and cohort, and the same numbers of it."""
    infos = [folder.info() for folder in (evaluated, run)]
    panels = [
        (
            [facts["digest"] for facts in info["datasets"].values()],
            [one["digests"]["draw0"] for one in info["cohorts"] if one["generator"] == label],
        )
        for info, label in zip(infos, ("synthetic", "made"), strict=True)
    ]
    assert panels[0] == panels[1]
    here, there = numbers(evaluated.records(), "synthetic"), numbers(run.records(), "made")
    assert {key[0] for key in here} == set(METRICS)
    assert here.keys() == there.keys()
    for key, values in here.items():
        # In a run, attacks are shown a cohort as large as the training panel, of which a file
        # has no more.
        if infos[0]["metrics"][key[0]]["cohort"] != "train":
            known = [value for value in there[key] if value is not None]
            assert [one for one in values if one is not None] == pytest.approx(known, rel=1e-9), key
