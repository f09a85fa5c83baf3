"""The leaderboard: intervals against scipy and a simulation, nobody's place a rival's, gates."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_fixture import GENERATORS
from rich.console import Console
from scipy import stats

from haplobench.report.leaderboard import (
    Leaderboard,
    Yardstick,
    estimate,
    leaderboards,
    rank_generators,
)
from haplobench.report.leaderboard_texts import COLUMNS, about_row, leading, render_csv, show_rows
from haplobench.report.model import Summary
from haplobench.report.summary import summarise
from haplobench.report.terminal import board_parts
from haplobench.report.verdict import leaks_band, reach_verdicts
from haplobench.results.records import Record, append_records
from haplobench.results.table import Run, load_run

# --- distances ------------------------------------------------------------------------------


def yardstick(floor: list[list[float]], least: float = 0.0) -> Yardstick:
    n = len(floor)
    return Yardstick(np.array(floor), np.zeros(n), np.full(n, least), np.full(n, 1 / n))


def test_distance_is_a_geometric_mean_of_ratios_never_below_the_floor() -> None:
    yard = yardstick([[2.0, 2.0, 2.0], [5.0, 5.0, 5.0]])
    place = yard.place(np.array([[[8.0]], [[-45.0]]]), (1,))
    assert np.exp(place.estimate.value) == pytest.approx(np.sqrt(4 * 9))
    assert place.estimate.half < 1e-12  # nothing scatters
    assert yard.place(np.array([[[0.1]], [[0.0]]]), (1,)).estimate.value == 0
    wide = yardstick([[2.0, 2.0, 2.0], [5.0, 5.0, 5.0]], least=10.0)
    assert np.exp(wide.place(np.array([[[20.0]], [[20.0]]]), (1,)).estimate.value) == (
        pytest.approx(2)
    )


def test_a_draw_that_lacks_a_number_leaves_its_seed_the_others() -> None:
    yard = yardstick([[2.0, 2.0], [1.0, 1.0]])
    values = np.array([[[4.0, np.nan]], [[2.0, 8.0]]])
    assert yard.place(values, (1,)).logs[1] == pytest.approx((np.log(2) + np.log(4)) / 2)


def test_own_intervals_are_scipys() -> None:
    logs = np.random.default_rng(2).normal(1, 0.3, 7)
    found = estimate(logs)
    expected = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert found.value - found.half == pytest.approx(expected.low)
    assert found.value + found.half == pytest.approx(expected.high)


def test_one_seed_has_the_floors_noise() -> None:
    influence = np.array([0.3, -0.1, -0.2, 0.0])
    found = estimate([1.0], [0.04], influence)
    spread = np.sqrt(0.04 + influence.var(ddof=1) / 4)
    assert found.half == pytest.approx(stats.t(3).ppf(0.975) * spread)


def test_a_correction_takes_the_bias_of_few_floor_draws() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(4000):
        yard = yardstick(rng.normal(0, 1, (1, 3)).tolist())
        found.append(yard.place(np.array([[[20.0]]]), (1,)).estimate.value)
    truth = np.log(20 / np.sqrt(2 / np.pi))
    # Without it the mean is 0.11 too great.
    assert np.mean(found) == pytest.approx(truth, abs=0.04)


def test_a_difference_is_paired_by_seed() -> None:
    rng = np.random.default_rng(4)
    yard = yardstick(rng.lognormal(0, 0.01, (2, 5)).tolist())
    shared = rng.normal(0, 0.5, 5)
    one = yard.place(
        np.exp(np.array([[3 + shared], [3 + shared]])).transpose(0, 2, 1), tuple("abcde")
    )
    other = yard.place(
        np.exp(np.array([[3.1 + shared], [3.1 + shared]])).transpose(0, 2, 1), tuple("abcde")
    )
    gap = other.minus(one)
    assert gap.value == pytest.approx(0.1)
    assert gap.half < 0.05 < one.estimate.half
    elsewhere = replace(one, logs={"f": 3.0}, borrowed={"f": 0.01})
    assert elsewhere.minus(other).half > 0.5


def test_intervals_cover() -> None:
    """`benchmarks/rank_coverage.py`, small: over its whole table at least nine in ten."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from rank_coverage import cover

    found = np.array([cover(number, 0.5) for number in range(60)]).mean(axis=0)
    assert (found[..., :2].mean(axis=(0, 1, 3)) > 0.9).all()  # whatever the number of seeds
    assert found[..., :2].mean() < 0.99


# --- whole runs -----------------------------------------------------------------------------

BASE = Record(
    run_id="r", suite="s", suite_digest="", dataset="d", dataset_digest="", generator="g",
    generator_name="g", generator_version="1", generator_distribution="x", role="generator",
    params_digest="", seed=1, replicate=0, world_size=1, cell_id="c", run_key="k", git_sha="",
    git_dirty=False, lock_digest="", hardware="", status="ok", phase="measure", started="",
)  # fmt: skip
# Family, direction, ideal, smallest effect, and for attacks the size that matters.
NUMBERS: dict[tuple[str, str], tuple[str, str, float | None, float, float | None]] = {
    ("ld", "rmse"): ("fidelity", "lower", 0.0, 0.001, None),
    ("spectrum", "jsd"): ("fidelity", "lower", 0.0, 0.001, None),
    ("nearest", "ratio"): ("fidelity", "closer", 1.0, 0.02, None),
    ("attack", "auc"): ("privacy", "lower", 0.5, 0.02, 0.65),
    ("copies", "exact"): ("privacy", "lower", 0.0, 0.01, 0.1),
    ("time", "fit"): ("performance", "lower", None, 0.0, None),
}
FLOOR = {"rmse": 0.02, "jsd": 0.03, "ratio": 1.1, "auc": 0.5, "exact": 0.0}
# What each generator's numbers are, times noise: fidelity, attack's AUC, copies, seconds.
KINDS = {
    "copycat": (0.03, 1.0, 1.0, 0.01),
    "independent": (0.9, 0.5, 0.0, 0.001),
    "copier": (0.031, 1.0, 0.97, 0.01),
    "mosaic": (0.04, 0.8, 0.0, 0.01),
    "good": (0.06, 0.5, 0.0, 60.0),
    "twin": (0.06, 0.5, 0.0, 60.0),
    "fair": (0.3, 0.5, 0.0, 5.0),
    "theory": (0.1, 0.5, 0.0, 5.0),
    "vague": (0.04, 0.6, 0.0, 5.0),
}
ATTACKS = ("auc", "exact")


def build(
    folder: Path, kinds: list[str], seeds: int = 4, draws: int = 1, drop: str = "", floor: int = 20
) -> Summary:
    """A run of these kinds of generators; `drop` names one whose first number failed."""
    rng = np.random.default_rng(5)
    records = []
    for draw in range(floor):
        for (metric, name), (family, direction, *_) in NUMBERS.items():
            if family != "performance":
                value = FLOOR[name] * (1 + 0.05 * rng.normal())
                records.append(replace(BASE, generator="floor", role="floor", replicate=draw,
                                       metric=metric, submetric=name, family=family,
                                       direction=direction, value=value))  # fmt: skip
    for kind in kinds:
        for seed in range(1, seeds + 1):
            for draw in range(draws):
                records += _cohort(kind, seed, draw, kind == drop)
    info = {
        "metrics": {
            metric: {"family": family, "floor": "train", "site_matched": metric != "spectrum",
                     "submetrics": [
                {"name": name, "title": name.upper(), "direction": direction, "ideal": ideal,
                 "min_effect": effect, "headline": True, "evidence": material is not None,
                 "material": material, "unit": "s" if name == "fit" else ""}]}
            for (metric, name), (family, direction, ideal, effect, material) in NUMBERS.items()
        },
        "generators": {kind: {"site_matched": kind != "theory"} for kind in kinds},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(info))
    append_records(folder / "records.jsonl", records)
    return summarise(load_run(folder))


def _cohort(kind: str, seed: int, draw: int, drop: bool) -> list[Record]:
    records = []
    own = np.random.default_rng([seed, draw, len(kind)])
    role: Any = "control" if kind in ("copycat", "independent") else "generator"
    fidelity, auc, exact, seconds = KINDS[kind]
    values = {"rmse": fidelity, "jsd": fidelity, "auc": auc, "exact": exact, "fit": seconds}
    for (metric, name), (family, direction, *_) in NUMBERS.items():
        value = (1 + 5 * fidelity if name == "ratio" else values[name]) * (1 + 0.05 * own.normal())
        record = replace(BASE, generator=kind, role=role, seed=seed, replicate=draw, metric=metric,
                         submetric=name, family=family, direction=direction,
                         value=value)  # fmt: skip
        if name in ATTACKS:
            leaks = values[name] > {"auc": 0.65, "exact": 0.1}[name]
            blind = kind == "vague" or (kind == "fair" and name == "exact")
            high = 1.0 if leaks or blind else 0.05 if name == "exact" else 0.6
            record = replace(
                record, value=values[name], p=1e-9 if leaks else 0.5, low=0.0, high=high
            )
        if (kind == "theory" and metric not in ("spectrum", "time")) or (drop and metric == "ld"):
            status: Any = "failed" if drop else "not-applicable"
            record = replace(record, submetric="", value=None, status=status, p=None)
            if drop:
                record = replace(record, error_type="MemoryError", error="9 GiB")
            else:
                record = replace(record, note="sites differ")
        records.append(record)
    return records


def board_of(summary: Summary) -> Leaderboard:
    return rank_generators(summary, summary.datasets["d"])


def without(summary: Summary, gone: set[str]) -> Summary:
    """The summary of the same run, had these never been in it."""
    run = summary.run
    cohorts = {label: cohort for label, cohort in run.cohorts.items() if label not in gone}
    records = [record for record in run.records if record.generator not in gone]
    return summarise(Run(run.folder, run.info, run.datasets, cohorts, run.metrics, records))


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return build(tmp_path_factory.mktemp("board") / "run", list(KINDS), seeds=2)


@settings(max_examples=25, deadline=None)
@given(gone=st.sets(st.sampled_from(sorted(KINDS))))
def test_no_rival_changes_anybodys_place(everybody: Summary, gone: set[str]) -> None:
    _same_without(everybody, "d", gone)


@settings(max_examples=15, deadline=None)
@given(gone=st.sets(st.sampled_from(sorted(GENERATORS))))
def test_no_rival_changes_anybodys_place_in_the_demo(demo: Summary, gone: set[str]) -> None:
    _same_without(demo, "chr20-eur", gone)


def _same_without(summary: Summary, dataset: str, gone: set[str]) -> None:
    fewer = without(summary, gone)
    for scope in ("all", "site-free"):
        before, after = (
            rank_generators(one, one.datasets[dataset], scope) for one in (summary, fewer)
        )
        kept = [row for row in before.rows if row.label not in gone]
        assert [row.label for row in after.rows] == [row.label for row in kept]
        for old, new in zip(kept, after.rows, strict=True):
            assert replace(old, rank=0, tied=False) == replace(new, rank=0, tied=False)
        ranks = [row.rank for row in after.ranked]
        assert ranks == sorted(ranks)
        unranked = [pair for pair in before.unranked if pair[0] not in gone]
        assert list(after.unranked) == unranked


def test_controls_are_in_their_place(everybody: Summary) -> None:
    board = board_of(everybody)
    labels = [row.label for row in board.rows]
    # Real people first; by distance; then who leaks, by distance; then who gives away everybody.
    assert labels == ["floor", "vague", "good", "twin", "fair", "independent", "mosaic", "copier",
                      "copycat"]  # fmt: skip
    rows = {row.label: row for row in board.rows}
    assert rows["copycat"].distance < rows["copier"].distance < rows["vague"].distance
    found = {label: row.exposure.finding for label, row in rows.items() if row.exposure}
    assert {label for label, finding in found.items() if finding == "leak"} == {
        "copycat", "copier", "mosaic",
    }  # fmt: skip
    assert found["vague"] == "unclear"
    assert found["independent"] == "clear"
    assert rows["mosaic"].exposure is not None
    assert rows["mosaic"].exposure.excess == pytest.approx((0.8 - 0.5) / 0.5)
    assert board.leaders == ("vague",)


def test_texts_name_leaks_ties_and_what_cannot_be_told(everybody: Summary) -> None:
    board = board_of(everybody)
    shown = {row.label: row for row in show_rows(board)}
    assert shown["good"].rank == shown["twin"].rank == "2="
    assert shown["fair"].rank == "4"
    assert shown["independent"].rank == "(5)"
    assert shown["floor (real people)"].rank == "–"
    assert shown["mosaic"].leak == "yes: AUC 0.800"
    assert shown["copycat"].leak.startswith("total: ")
    assert shown["vague"].leak == "can’t tell"
    assert shown["good"].leak == "not seen"
    assert shown["fair"].leak == "not seen by 1 of 2"
    assert leading(board).startswith("vague leads 6 ranked, at ")
    assert "said to leak, so below the others: mosaic and copier." in leading(board)
    leaking = board_of(without(everybody, set(KINDS) - {"mosaic", "copycat"}))
    assert leaking.leaders == ()
    assert leading(leaking) == "nobody leads: all ranked are said to leak: mosaic."
    told = {row.label: about_row(row, board) for row in board.rows}
    assert told["twin"].startswith("rank 2 of 6, shared; ")
    assert told["twin"].endswith("over 2 seeds; leak: not seen")
    assert told["copycat"].startswith("a control: not ranked; ")


def test_leaks_are_coloured_as_in_verdicts(everybody: Summary, demo: Summary) -> None:
    for summary in (everybody, demo):
        boards = leaderboards(summary)
        shown = {
            (board.dataset, row.label): row.finding for board in boards for row in show_rows(board)
        }
        bands = {
            (found.dataset, row.generator): leaks_band(row.leaks)
            for found in reach_verdicts(summary, boards)
            for row in found.rows
        }
        assert shown.keys() & bands.keys()
        for place in shown.keys() & bands.keys():
            assert shown[place] == bands[place]


def test_other_sites_are_ranked_by_site_free_numbers(everybody: Summary) -> None:
    whole, free = leaderboards(everybody)
    assert dict(whole.unranked)["theory"] == (
        "lacks 2 of 3 numbers: it has sites of its own, see the board of site-free numbers"
    )
    assert free.scope == "site-free"
    assert [column.metric for column in free.columns] == ["spectrum"]
    labels = [row.label for row in free.rows]
    assert labels.index("good") < labels.index("theory") < labels.index("fair")
    assert labels[-2:] == ["copier", "copycat"]
    assert len(leaderboards(without(everybody, {"theory"}))) == 1


def test_failed_numbers_are_not_ranked_and_say_why(tmp_path: Path) -> None:
    board = board_of(build(tmp_path / "run", ["good", "fair", "mosaic"], drop="good"))
    assert [row.label for row in board.ranked] == ["fair", "mosaic"]
    reason = "lacks 1 of 3 numbers (failed in measure: MemoryError: 9 GiB)"
    assert board.unranked == (("good", reason),)


def test_one_seed_of_one_draw_is_ranked_with_a_wider_interval(tmp_path: Path) -> None:
    one, five = (
        {row.label: row for row in board_of(build(tmp_path / str(n), ["good", "fair"], n)).rows}
        for n in (1, 5)
    )
    assert [one[label].rank for label in ("good", "fair")] == [1, 2]
    width = np.log(one["good"].high / one["good"].low)
    assert width > 1.2 * np.log(five["good"].high / five["good"].low)
    for label in ("good", "fair"):
        assert one[label].low < five[label].distance < one[label].high


def test_a_floor_of_one_draw_ranks_nobody(tmp_path: Path) -> None:
    board = board_of(build(tmp_path / "run", ["good"], floor=1))
    assert board.rows == ()
    assert board.reason.endswith("two draws of a floor to be held against")


def test_demo_ranks_what_is_whole_and_says_what_is_not(demo: Summary) -> None:
    whole, free, *_ = leaderboards(demo)
    refused = dict(whole.unranked)
    assert set(refused) == {"theory", "broken"}
    assert (
        refused["broken"] == "lacks 7 of 7 numbers (failed in fit: ValueError: shapes (3, 4) and "
        "(5,) can't be multiplied)"
    )
    assert whole.leaders == ("patchwork",)
    rows = {row.label: row for row in whole.rows}
    assert (rows["slowpoke"].seeds, rows["slowpoke"].lacking) == (2, 1)
    assert "over 2 seeds, 1 more lack numbers" in about_row(rows["slowpoke"], whole)
    assert "theory" in {row.label for row in free.ranked}


def test_csv_has_a_line_for_everyone(demo: Summary) -> None:
    boards = leaderboards(demo)
    rows = list(csv.DictReader(io.StringIO(render_csv(boards))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(boards) * (1 + len(GENERATORS))
    for board in boards:
        for row in board.rows:
            place = (board.dataset, board.scope, row.label)
            line = next(r for r in rows if (r["dataset"], r["board"], r["generator"]) == place)
            assert float(line["distance"]) == row.distance
            assert (line["rank"] == "") == (row.role != "generator")


@pytest.mark.parametrize("width", [80, 140])
def test_terminal_says_who_leads_and_who_is_not_ranked(demo: Summary, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    for part in board_parts(leaderboards(demo)[0], console):
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.splitlines()
    first = next(line for line in lines if line.split()[:1] == ["1"])
    assert "patchwork" in first
    assert "not ranked: broken" in text
    assert "(control)" in text
    assert max(map(len, lines)) <= width
