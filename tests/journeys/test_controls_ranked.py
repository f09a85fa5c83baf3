"""Controls stand in their place on the leaderboards of shipped suites, made small.

`1kg`, `flagship` and `privacy` have the panels of `smoke` and `1kg-multipop`; `1kg-chr22` needs a
network; `chromosome` and `scaling` have one draw of a floor, so they rank nobody.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from haplobench.registry import load_registry
from haplobench.report.leaderboard import Leaderboard, leaderboards
from haplobench.report.model import DatasetSummary
from haplobench.report.summary import summarise
from haplobench.results.table import load_run
from haplobench.runner.run import run_suite
from haplobench.suite.load import load_suite

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


def _in_their_colours(dataset: DatasetSummary) -> None:
    """No privacy number of who leaks by construction is green, none of who can't leak is red."""
    columns = [column for column in dataset.columns if column.family == "privacy"]
    bands = {
        label: [dataset.cell(label, column).band for column in columns]
        for label in ("copycat", "independent", "floor")
    }
    assert bands["copycat"].count("leak") >= 8, bands
    assert not {"clear", "within", "better"} & set(bands["copycat"]), bands
    assert not {"leak", "far", "outside"} & {*bands["independent"], *bands["floor"]}, bands
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
