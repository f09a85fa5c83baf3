"""A genome of 22 small chromosomes: killed and resumed, one verdict, and who is copied is named."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msprime
import pytest

from haplobench import Panel
from haplobench.registry import load_registry
from haplobench.report.leaderboard import leaderboards
from haplobench.report.summary import summarise
from haplobench.report.verdict import reach_verdicts
from haplobench.results.run_folder import RunFolder, find_runs
from haplobench.results.table import load_run
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite

PLUGIN = '''
"""Sites drawn one by one; on one contig, one person is a training person's copy."""
import os
import numpy as np
from haplobench import GeneratorSpec, Params, hookimpl


class OneCopyParams(Params):
    contig: str


def note(stage, contig):
    with open(os.environ["ONE_COPY_LOG"], "a") as lines:
        lines.write(f"{stage} {contig}\\n")


class Fitted:
    def __init__(self, frequencies, copied, contig):
        self.frequencies, self.copied, self.contig = frequencies, copied, contig

    def save(self, directory):
        np.savez(directory / "model.npz", **vars(self))

    def sample(self, request, ctx):
        def draw(block):
            uniform = ctx.rng("sample", block).random((256, self.frequencies.size))
            rows = (uniform < self.frequencies).astype(np.int8)
            if block == 0 and self.copied.size:
                rows[6:8] = self.copied
            return rows

        return request.batches(draw)


class OneCopy:
    def fit(self, train, params, ctx):
        note("fit", train.contig)
        copied = train.haplotypes[34:36] if train.contig == params.contig else np.empty(0, np.int8)
        return Fitted(train.frequencies, np.array(copied), train.contig)

    def load(self, directory, ctx):
        with np.load(directory / "model.npz") as model:
            note("sample", str(model["contig"]))
            return Fitted(model["frequencies"], model["copied"], str(model["contig"]))


@hookimpl
def haplobench_generators():
    return [GeneratorSpec("one-copy", "1", "one_copy:OneCopy", "One copy.", OneCopyParams)]
'''
MODULES = ("haplobench.datasets", "haplobench_fidelity", "haplobench_privacy", "one_copy")
HARNESS = f"""
import sys
from pathlib import Path
from haplobench.registry import load_registry
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite
registry = load_registry({MODULES})
run_suite(load_suite(sys.argv[1], [], registry), registry, Path(sys.argv[2]))
"""
SUITE = """
name: small-genome
datasets:
  - name: file
    label: genome
    contigs: [1..22]
    params: {{path: "{folder}/chr{{contig}}.vcf", strict: false}}
    filters: {{min_maf: 0.02}}
    split: {{holdout: 60, validation: 0.1, relatives: ignore}}
generators:
  - {{name: one-copy, params: {{contig: "17"}}}}
metrics: [allele-frequency, leak-list]
floor: {{draws: 2}}
sandbox: off
"""
N_PEOPLE = 180


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of 22 VCF files, and its plugin."""
    for contig in range(1, 23):
        trees = msprime.sim_ancestry(
            N_PEOPLE,
            sequence_length=100_000,
            recombination_rate=1e-7,
            population_size=100_000,
            random_seed=contig,
        )
        trees = msprime.sim_mutations(trees, rate=2e-9, random_seed=contig)
        with (tmp_path / f"chr{contig}.vcf").open("w") as handle:
            trees.write_vcf(
                handle,
                contig_id=str(contig),
                position_transform=lambda at: [int(x) + 1 for x in at],
            )
    (tmp_path / "one_copy.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("ONE_COPY_LOG", str(tmp_path / "log"))
    (tmp_path / "suite.yaml").write_text(SUITE.format(folder=tmp_path))
    return tmp_path / "suite.yaml"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_costs_a_stage_of_one_chromosome_and_a_copy_on_one_is_named(
    suite: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, str(suite), str(out)])
    end = time.monotonic() + 900
    while not log.is_file() or len(log.read_text().splitlines()) < 15:
        assert harness.poll() is None
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    before = Counter(log.read_text().splitlines())
    registry = load_registry(MODULES)
    outcome = run_suite(load_suite(suite, [], registry), registry, out)
    assert outcome.resumed
    assert outcome.exit_code == 0
    after = Counter(log.read_text().splitlines())
    # Every chromosome was fitted and sampled; what was in flight, and nothing else, twice.
    assert set(after) == {f"{stage} {i}" for stage in ("fit", "sample") for i in range(1, 23)}
    twice = [stage for stage, times in after.items() if times > 1]
    assert len(twice) <= 1
    assert all(before[stage] == 1 for stage in twice)
    # One verdict of one genome: the copied person, and nobody else, is named.
    (run,) = find_runs(out, "small-genome")
    summary = summarise(load_run(run.path))
    (verdicts,) = reach_verdicts(summary, leaderboards(summary))
    (row,) = verdicts.rows
    assert (row.dataset, row.generator, row.leaks.answer) == ("genome", "one-copy", "yes")
    people = row.leaks.people
    assert people is not None
    (person,) = people
    assert person.evidence.startswith("a person copied on contig 17")
    # People of a contig are in the order of the first contig's: the genome's, too.
    (prepared,) = {path.parent for path in (out / "small-genome/stages/join").glob("*/holdout")}
    assert person.sample == Panel.load(prepared / "train").samples[17]
    assert len(RunFolder(run.path / "contigs").info()["datasets"]) == 22
