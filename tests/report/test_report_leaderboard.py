"""The leaderboard: properties of dominance, against scipy and hand-made runs; controls in place."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from report_fixture import GENERATORS
from rich.console import Console
from scipy import stats

from haplobench.report.leaderboard.board import Leaderboard, leaderboards, rank_generators
from haplobench.report.leaderboard.dominance import (
    Scores,
    distances,
    dominance,
    half_widths,
    pareto_front,
    shares,
    stand,
)
from haplobench.report.leaderboard.texts import COLUMNS, render_csv, show_rows
from haplobench.report.model import Summary
from haplobench.report.summary import summarise
from haplobench.report.terminal import board_parts
from haplobench.results.records import Record, append_records
from haplobench.results.table import load_run

AXES = 3


def scores(values: NDArray[np.float64], rival: list[bool] | None = None, **more: Any) -> Scores:
    """Scores with two columns per metric, metrics dealt to the axes in turn."""
    n_rows, _, n_columns = values.shape
    n_metrics = (n_columns + 1) // 2
    given = {
        "values": values,
        "margin": np.full(n_columns, 0.1),
        "safe": values.mean(axis=1) < 0.5,
        "metric": np.arange(n_columns) // 2,
        "axis": np.arange(n_metrics) % 2,
        "logarithm": np.zeros(n_columns, dtype=bool),
        "rival": np.array(rival or [True] * n_rows),
    }
    return Scores(**{**given, **more})


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[np.float64]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (draw(st.integers(2, 6)), draw(st.integers(2, 5)), draw(st.integers(3, 8)))
    centre = rng.exponential(2.0, (shape[0], 1, shape[2]))
    return centre + rng.normal(0, draw(st.sampled_from([0.01, 0.3, 2.0])), shape)


@settings(max_examples=25, deadline=None)
@given(arrays(), st.randoms(use_true_random=False))
def test_order_of_generators_changes_nothing(values: NDArray[np.float64], random: Any) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    plain, mixed = stand(scores(values), AXES, (0, 1)), stand(scores(values[order]), AXES, (0, 1))
    for name in ("overall", "low", "high", "rank", "front", "front_share"):
        found, expected = getattr(mixed, name), getattr(plain, name)[order]
        assert np.allclose(found, expected), name


@settings(max_examples=40, deadline=None)
@given(arrays(), st.integers(0, 5), st.floats(0.0, 5.0))
def test_who_gets_better_never_loses_by_it(
    values: NDArray[np.float64], row: int, gain: float
) -> None:
    row %= len(values)
    better = values.copy()
    better[row] -= gain
    before, after = stand(scores(values), AXES, (0, 1)), stand(scores(better), AXES, (0, 1))
    assert after.overall[row] >= before.overall[row] - 1e-12
    assert (after.beats[row] >= before.beats[row]).all()
    others = np.arange(len(values)) != row
    assert (after.overall[others] <= before.overall[others] + 1e-12).all()
    assert after.front[row] or not before.front[row]


@settings(max_examples=25, deadline=None)
@given(arrays(), arrays())
def test_dominance_is_a_strict_order_by_column(
    values: NDArray[np.float64], other: NDArray[np.float64]
) -> None:
    made = scores(values)
    threshold = np.maximum(half_widths(made), made.margin)
    beats = dominance(values.mean(axis=1), threshold, made.safe)
    assert (beats == -np.swapaxes(beats, 0, 1)).all()
    assert not beats[np.arange(len(values)), np.arange(len(values))].any()
    won = shares(beats, made, AXES)
    means = won[:, :2].mean(axis=0)
    # Whatever one wins another loses: the mean share is a half on every axis.
    assert np.allclose(means, 0.5)
    assert np.isnan(won[:, 2]).all()


def test_a_control_is_nobodys_rival() -> None:
    rng = np.random.default_rng(1)
    values = rng.exponential(2.0, (4, 1, 6)) + rng.normal(0, 0.05, (4, 3, 6))
    alone = stand(scores(values[:3]), AXES, (0, 1))
    with_control = stand(scores(values, [True, True, True, False]), AXES, (0, 1))
    assert np.allclose(alone.overall, with_control.overall[:3])
    assert (alone.rank == with_control.rank[:3]).all()


def test_intervals_are_scipys() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(0, 1, (3, 5, 4)) * np.array([1.0, 3.0, 0.2])[:, None, None]
    paired = half_widths(scores(values))
    unpaired = half_widths(scores(values, paired=False))
    for a, b, c in [(0, 1, 0), (2, 1, 3), (1, 0, 2)]:
        first, second = values[a, :, c], values[b, :, c]
        found = stats.ttest_rel(first, second).confidence_interval(0.95)
        assert paired[a, b, c] == pytest.approx((found.high - found.low) / 2)
        found = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
        assert unpaired[a, b, c] == pytest.approx((found.high - found.low) / 2)
    assert np.isinf(half_widths(scores(values[:, :1]))).all()


def test_one_unit_ties_everything() -> None:
    values = np.array([[[0.0, 0.0]], [[9.0, 9.0]]])
    found = stand(scores(values, axis=np.array([0])), AXES, (0, 1))
    assert (found.beats == 0).all()
    assert found.rank.tolist() == [1, 1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_pareto_front_is_what_nothing_beats(seed: int, n: int) -> None:
    points = np.random.default_rng(seed).integers(0, 4, (n, 3)).astype(float)
    front = pareto_front(points, np.ones(n, dtype=bool))
    for i in range(n):
        beaten = any((q <= points[i]).all() and (q < points[i]).any() for q in points)
        assert front[i] == (not beaten)
    assert front.any()


def test_distance_is_a_geometric_mean_and_never_below_the_floor() -> None:
    values = np.array([[[3.0, 3.0, -5.0, -5.0]]])
    made = scores(values, axis=np.array([0, 1]))
    assert distances(values[:, 0], made, AXES)[0, :2] == pytest.approx([3.0, 0.0])
    ratio = scores(np.log(values.clip(1)), axis=np.array([0, 1]), logarithm=np.ones(4, dtype=bool))
    assert distances(ratio.values[:, 0], ratio, AXES)[0, 0] == pytest.approx(2.0)


# --- whole runs -----------------------------------------------------------------------------

BASE = Record(
    run_id="r", suite="s", suite_digest="", dataset="d", dataset_digest="", generator="g",
    generator_name="g", generator_version="1", generator_distribution="x", role="generator",
    params_digest="", seed=1, replicate=0, world_size=1, cell_id="c", run_key="k", git_sha="",
    git_dirty=False, lock_digest="", hardware="", status="ok", phase="measure", started="",
)  # fmt: skip
NUMBERS = {
    ("ld", "rmse"): ("fidelity", "lower", 0.0, 0.01),
    ("words", "jsd"): ("fidelity", "lower", 0.0, 0.01),
    ("nearest", "ratio"): ("privacy", "closer", 1.0, 0.05),
    ("attack", "auc"): ("privacy", "closer", 0.5, 0.02),
    ("time", "fit"): ("performance", "lower", None, 0.0),
}
FLOOR = {"rmse": 0.02, "jsd": 0.03, "ratio": 1.0, "auc": 0.5}
# What each generator's numbers are, times seed noise: fidelity, nearest ratio, attack, seconds.
KINDS = {
    "copycat": (0.02, 0.0, 1.0, 0.01),
    "copier": (0.02, 0.0, 1.0, 0.01),
    "noise": (0.9, 1.3, 0.5, 0.001),
    "good": (0.05, 0.97, 0.52, 60.0),
    "twin": (0.05, 0.97, 0.52, 60.0),
    "fair": (0.3, 0.7, 0.7, 5.0),
}


def build(
    folder: Path, kinds: list[str], seeds: int = 4, draws: int = 1, drop: str = ""
) -> Summary:
    """A run of these kinds of generators; `drop` names one whose attack failed."""
    rng = np.random.default_rng(5)
    records = []
    for draw in range(20):
        for (metric, name), (family, direction, _, _) in NUMBERS.items():
            if family != "performance":
                value = FLOOR[name] * (1 + 0.05 * rng.normal())
                records.append(replace(BASE, generator="floor", role="floor", replicate=draw,
                                       metric=metric, submetric=name, family=family,
                                       direction=direction, value=value))  # fmt: skip
    for kind in kinds:
        role: Any = "control" if kind == "copycat" else "generator"
        for seed in range(1, seeds + 1):
            for draw in range(draws):
                own = np.random.default_rng([seed, draw, len(kind)])
                fidelity, ratio, auc, seconds = KINDS[kind]
                values = {"rmse": fidelity, "jsd": fidelity, "ratio": ratio, "auc": auc,
                          "fit": seconds}  # fmt: skip
                for (metric, name), (family, direction, _, _) in NUMBERS.items():
                    noisy = values[name] * (1 + 0.01 * own.normal())
                    record = replace(BASE, generator=kind, role=role, seed=seed, replicate=draw,
                                     metric=metric, submetric=name, family=family,
                                     direction=direction, value=noisy)  # fmt: skip
                    if kind == drop and metric == "attack":
                        record = replace(record, submetric="", value=None, status="failed",
                                         error_type="MemoryError", error="9 GiB")  # fmt: skip
                    records.append(record)
    info = {"metrics": {
        metric: {"family": family, "submetrics": [
            {"name": name, "title": name, "direction": direction, "ideal": ideal,
             "min_effect": effect, "headline": True}]}
        for (metric, name), (family, direction, ideal, effect) in NUMBERS.items()
    }}  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(info))
    append_records(folder / "records.jsonl", records)
    return summarise(load_run(folder))


def board_of(summary: Summary) -> Leaderboard:
    (board,) = leaderboards(summary)
    return board


def test_neither_a_copy_nor_noise_wins(tmp_path: Path) -> None:
    board = board_of(build(tmp_path / "run", ["copycat", "copier", "noise", "good", "fair"]))
    rows = {row.label: row for row in board.rows}
    assert board.leaders == ("good",)
    # The copycat as a generator: perfect fidelity and cheap, and still last for its leak.
    assert rows["copier"].axes["fidelity"].share > 0.8
    assert rows["copier"].axes["privacy"].share == 0
    assert rows["copier"].rank > rows["fair"].rank > rows["good"].rank
    assert rows["noise"].axes["fidelity"].share == 0
    assert board.rows[-1].label == "copycat"
    assert rows["copycat"].overall == pytest.approx(rows["copier"].overall, abs=0.17)
    assert not rows["fair"].front or rows["fair"].axes["cost"].distance > 0


def test_alike_generators_tie(tmp_path: Path) -> None:
    board = board_of(build(tmp_path / "run", ["good", "twin", "fair"]))
    assert set(board.leaders) == {"good", "twin"}
    shown = {row.label: row for row in show_rows(board)}
    assert shown["good"].rank == shown["twin"].rank == "1="
    assert shown["fair"].rank == "3"


def test_failed_cells_are_refused_with_their_reason(tmp_path: Path) -> None:
    board = board_of(build(tmp_path / "run", ["good", "fair", "noise"], drop="good"))
    assert {row.label for row in board.rows} == {"fair", "noise"}
    ((label, reason),) = board.unranked
    assert label == "good"
    assert reason == "lacks 1 of 5 numbers (failed in measure: MemoryError: 9 GiB)"


def test_one_seed_is_judged_over_its_draws_or_not_at_all(tmp_path: Path) -> None:
    board = board_of(build(tmp_path / "a", ["good", "fair"], seeds=1, draws=4))
    assert board.over == "4 draws of one seed"
    assert board.leaders == ("good",)
    board = board_of(build(tmp_path / "b", ["good", "fair"], seeds=1, draws=1))
    assert board.rows == ()
    assert "nothing tells a difference from noise" in board.reason
    assert {label for label, _ in board.unranked} == {"good", "fair"}
    board = board_of(build(tmp_path / "c", ["good"]))
    assert board.reason.endswith("a rank needs two")


def test_demo_ranks_what_is_whole_and_refuses_the_rest(demo: Summary) -> None:
    board = rank_generators(demo, demo.datasets["chr20-eur"])
    refused = dict(board.unranked)
    assert set(refused) == {"theory", "slowpoke", "broken"}
    assert "not applicable: sites differ" in refused["theory"]
    assert "1 seeds failed: stopped after 600 s" in refused["slowpoke"]
    assert "failed in fit: ValueError: shapes" in refused["broken"]
    ranked = {row.label: row for row in board.rows}
    assert set(ranked) == set(GENERATORS) - set(refused)
    assert board.leaders == ("network",)
    assert ranked["replayed"].role == "control"
    assert ranked["replayed"].overall < ranked["network"].overall


def test_csv_has_a_line_for_everyone(demo: Summary) -> None:
    boards = leaderboards(demo)
    rows = list(csv.DictReader(io.StringIO(render_csv(boards))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2 * len(GENERATORS)
    for board in boards:
        for row in board.rows:
            line = next(
                r for r in rows if (r["dataset"], r["generator"]) == (board.dataset, row.label)
            )
            assert float(line["share"]) == row.overall
            assert (line["rank"] == "") == (row.role == "control")


@pytest.mark.parametrize("width", [80, 140])
def test_terminal_says_who_leads_and_who_is_not_ranked(demo: Summary, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    for part in board_parts(leaderboards(demo)[0], console):
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.splitlines()
    first = next(line for line in lines if line.split()[:1] == ["1"])
    assert "network" in first
    assert "not ranked: broken" in text
    assert "(control)" in text
