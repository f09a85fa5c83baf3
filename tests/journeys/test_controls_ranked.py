"""Controls stand in their place on the leaderboards of shipped suites, made small.

Privacy numbers are coloured right in every suite, of controls, a generator with ε = 1 and planted
copies; `test_no_suite_is_left_out` says by which run.
`1kg-chr22` needs a network; `chromosome` and `scaling` have one draw of a floor, and rank nobody.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from haplobench.registry import load_registry
from haplobench.report.evidence import judge_attacks
from haplobench.report.leaderboard import Leaderboard, leaderboards
from haplobench.report.model import DatasetSummary
from haplobench.report.summary import summarise
from haplobench.results.table import load_run
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite
from haplobench.suite.schema import VerdictSettings

ROOT = Path(__file__).parents[2]
SMALL = (
    "seeds=[1]",
    "generators=[markov, li-stephens, msprime]",
    "metrics=[allele-frequency, allele-frequency-spectrum, ld-decay, haplotype-words, "
    "nearest-neighbours, membership-inference, copied-tracts, kinship, rare-alleles, "
    "membership-density, linkability, singling-out, leak-list]",
    "sample.draws=1",
    "floor.draws=3",
)
SIMULATED = "datasets[0].params={model: OutOfAfrica_3G09, samples: {CEU: 200}, length: 400_000}"


@pytest.mark.parametrize(
    ("suite", "more"),
    [
        pytest.param("smoke", (), marks=pytest.mark.slow),
        pytest.param("1kg-multipop", (), marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
        pytest.param("simulated", (SIMULATED,), marks=pytest.mark.slow),
    ],
)
def test_controls_stand_in_their_place(
    suite: str,
    more: tuple[str, ...],
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HAPLOBENCH_DATA", str(data_dir))
    registry = load_registry()
    loaded = load_suite(str(ROOT / "suites" / f"{suite}.yaml"), [*SMALL, *more], registry)
    outcome = run_suite(loaded, registry, tmp_path)
    summary = summarise(load_run(outcome.run_folder))
    boards = leaderboards(summary)
    assert len(boards) == 2 * len(loaded.datasets)
    for board in boards:
        _in_their_place(board)
    for dataset in summary.datasets.values():
        _in_their_colours(dataset)


PLANTS = """
import sys

import numpy as np

train, output, n, seed, label = sys.argv[1:]
people = np.loadtxt(train, np.int8)
rng = np.random.default_rng(int(seed))
cohort = (rng.random((int(n), people.shape[1])) < people.mean(axis=0)).astype(np.int8)
chosen = rng.permutation(len(people) // 2)[: len(cohort) // {"whole": 20, "apart": 4}[label]]
copies = (2 * chosen[:, None] + [0, 1]).ravel()
cohort[np.arange(copies.size) * {"whole": 1, "apart": 2}[label]] = people[copies]
np.savetxt(output, cohort, "%d", "\\t")
"""
"""Independent sites, but that a tenth of the people are training people, or that every person has
one haplotype of a training person, whose other one is in somebody else."""


def _plant(label: str, script: Path) -> dict[str, Any]:
    line = [sys.executable, str(script), "{train}", "{output}", "{n_haplotypes}", "{seed}", label]
    params = {"input_format": "matrix", "output_format": "matrix", "sample": line}
    return {"name": "command", "label": label, "params": params}


PRIVACY = (
    "seeds=[1]",
    "metrics=[nearest-neighbours, membership-inference, copied-tracts, kinship, rare-alleles, "
    "membership-density, linkability, singling-out, attribute-inference, leak-list]",
    "sample={haplotypes: holdout, draws: 1}",
    "floor.draws=2",
)
FEW = "{model: OutOfAfrica_3G09, samples: {YRI: 100, CEU: 100, CHB: 100}, length: 1_500_000}"
COLOURED = {
    "1kg": ("chr20-eur", "datasets[0].params={region: '20:1000000-2000000'}"),
    "flagship": ("chr20-split2", "datasets[5].params={region: '20:2000000-3000000'}"),
    "genome": (
        "genome",
        "profile=quick",
        "datasets[0].contigs=[1, 2]",
        "datasets[0].params.region='{contig}:20000001-21500000'",
    ),
    "untuned": ("american-1", "datasets[9].params.samples={AFR: 50, EUR: 50, ADMIX: 100}"),
    "chromosome": ("ooa-30Mb", f"datasets[0].params={FEW}"),
    "scaling": ("ooa-5000", f"datasets[0].params={FEW}"),
}
"""A dataset of a suite, and what makes it small."""
RUN_ABOVE = ("smoke", "1kg-multipop", "simulated")


@pytest.mark.slow
@pytest.mark.parametrize("suite", COLOURED)
def test_privacy_is_coloured_by_leaks_alone(
    suite: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAPLOBENCH_DATA", str(data_dir))
    registry = load_registry()
    label, *small = COLOURED[suite]
    script = tmp_path / "plants.py"
    script.write_text(PLANTS)
    private = {"name": "dp-marginals", "params": {"epsilon": 1}}
    generators = [private, *(_plant(name, script) for name in ("whole", "apart"))]
    settings = [*small, *PRIVACY, f"generators={json.dumps(generators)}"]
    loaded = load_suite(str(ROOT / "suites" / f"{suite}.yaml"), settings, registry)
    chosen = tuple(dataset for dataset in loaded.datasets if dataset.label == label)
    outcome = run_suite(loaded.model_copy(update={"datasets": chosen}), registry, tmp_path)
    run = load_run(outcome.run_folder)
    (dataset,) = summarise(run).datasets.values()
    _in_their_colours(dataset, leaky=("copycat", "whole", "apart"))
    # Its noise has no seed, and the rules may say of 5 % of those who leak nothing that they leak.
    # That is too often for a test.
    attacks = judge_attacks(run, VerdictSettings(level=0.001))[label, "dp-marginals"].values()
    assert len(attacks) >= 8
    assert not [attack for attack in attacks if attack.finding == "leak"]


def test_no_suite_is_left_out(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    """Each dataset of a shipped suite is one of those run here, whatever its split's seed."""
    monkeypatch.setenv("HAPLOBENCH_DATA", str(data_dir))
    registry = load_registry()
    run, left = [], {}
    for path in sorted((ROOT / "suites").glob("*.yaml")):
        coloured = COLOURED.get(path.stem, ("",))[0]
        for dataset in load_suite(str(path), [], registry).datasets:
            key = (dataset.name, dataset.params, dataset.filters, dataset.split.holdout)
            if path.stem in RUN_ABOVE or dataset.label == coloured:
                run.append(key)
            else:
                left[path.stem, dataset.label] = key
    # Those of `untuned` are others' people, of whom less is told.
    missing = {place for place, key in left.items() if key not in run and place[0] != "untuned"}
    assert missing == {("1kg-chr22", "chr22")}


def _in_their_colours(dataset: DatasetSummary, leaky: tuple[str, ...] = ("copycat",)) -> None:
    """No privacy number of who leaks by construction is green, none of who can't leak is red."""
    columns = [column for column in dataset.columns if column.family == "privacy"]
    bands = {
        label: [dataset.cell(label, column).band for column in columns]
        for label in (*leaky, "independent", "floor")
    }
    assert bands["copycat"].count("leak") >= 8, bands
    for label in leaky:
        assert "leak" in bands[label], bands
        assert not {"clear", "within", "better"} & set(bands[label]), (label, bands)
    for label in ("independent", "floor"):
        assert not {"leak", "far", "outside"} & set(bands[label]), (label, bands)
    assert "clear" in bands["independent"], bands


def _in_their_place(board: Leaderboard) -> None:
    rows = {row.label: row for row in board.rows}
    ranked = ["markov", "li-stephens", *(["msprime"] if board.scope == "site-free" else [])]
    assert set(rows) == {"floor", "independent", "copycat", *ranked}, board
    assert board.rows[0].label == "floor"
    assert board.rows[-1].label == "copycat"
    copycat = rows["copycat"].exposure
    assert copycat is not None
    assert copycat.gate == 2, copycat
    for label, row in rows.items():
        if label not in ("floor", "copycat", "li-stephens"):
            assert row.exposure is not None
            assert row.exposure.finding != "leak", (board.dataset, row)
    # Sites without LD are further from real people than a Markov chain along them.
    if board.scope == "all":
        assert rows["independent"].distance > rows["markov"].distance
    clean = [row.distance for row in board.rows[1:] if row.exposure and not row.exposure.gate]
    assert clean == sorted(clean)
