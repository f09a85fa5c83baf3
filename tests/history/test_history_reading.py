"""A history holds what the records hold."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from history_records import record, write_run
from hypothesis import given
from hypothesis import strategies as st

from haplobench.errors import BenchError, FormatError
from haplobench.history.reading import History, find_changes, read_history, select, sources_of


def history(root: Path, *words: str) -> History:
    return read_history(*sources_of(words, root))


def test_a_run_is_a_point_with_mean_and_deviation(tmp_path: Path) -> None:
    values = [0.1, 0.2, 0.4]
    write_run(tmp_path, 1, [record(1, value, seed=seed) for seed, value in enumerate(values)])
    (series,) = history(tmp_path).series
    (point,) = series.points
    assert point.value == pytest.approx(statistics.mean(values))
    assert point.deviation == pytest.approx(statistics.stdev(values))
    assert point.n == 3
    assert (series.title, series.min_effect, series.headline) == ("LD-decay RMSE", 0.001, True)


def test_runs_stand_in_the_order_of_their_start(tmp_path: Path) -> None:
    for run in (3, 1, 2):
        write_run(tmp_path, run, [record(run, run / 10)])
    found = history(tmp_path, "tiny")
    assert [p.value for p in found.series[0].points] == [0.1, 0.2, 0.3]
    assert found.series[0].points[0].commit == f"{1:040x}"[:9]
    assert found.runs == [f"20260101T{run:06d}Z-aaaa" for run in (1, 2, 3)]


def test_times_of_two_machines_are_two_lines_and_fidelity_is_one(tmp_path: Path) -> None:
    for run, machine in ((1, "machine-a"), (2, "machine-b")):
        time = {"metric": "time", "submetric": "fit", "family": "performance", "unit": "s"}
        write_run(
            tmp_path,
            run,
            [record(run, 0.1, hardware=machine), record(run, 9.0, hardware=machine, **time)],
        )
    found = history(tmp_path)
    assert [(s.key.metric, s.key.hardware, len(s.points)) for s in found.series] == [
        ("ld-decay", "", 2),
        ("time", "machine-a", 1),
        ("time", "machine-b", 1),
    ]
    assert found.machines["machine-a"] == "A fine CPU, 2 cores"


def test_another_dataset_or_metric_version_begins_a_new_line(tmp_path: Path) -> None:
    write_run(tmp_path, 1, [record(1, 0.1)])
    write_run(tmp_path, 2, [record(2, 0.1, dataset_digest="e" * 64)])
    write_run(tmp_path, 3, [record(3, 0.1, metric_version="2")])
    assert len(history(tmp_path).series) == 3


def test_a_run_in_several_files_is_one_point(tmp_path: Path) -> None:
    for name, value, seed in (("a", 1.0, 1), ("b", 2.0, 2), ("c", 3.0, 1)):
        text = record(1, value, seed=seed).to_json() + "\n" + record(2, 9.0).to_json() + "\n"
        (tmp_path / f"{name}.jsonl").write_text(text)
    (series,) = history(tmp_path, str(tmp_path)).series
    # Seed 1 was measured again in the last of them.
    assert [(point.value, point.n) for point in series.points] == [(2.5, 2), (9.0, 1)]


def test_what_has_no_value_is_counted_not_drawn(tmp_path: Path) -> None:
    folder = write_run(tmp_path, 1, [record(1, 0.1), record(1, None, submetric="bias")])
    with (folder / "records.jsonl").open("a") as stream:
        stream.write(record(1, None, metric="", status="failed").to_json() + "\n")
        stream.write('{"schema": 1, "run_id": "torn')
    found = history(tmp_path)
    assert len(found.series) == 1
    assert found.skipped == {"values not applicable": 1, "failed": 1, "torn lines": 1}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"schema": 99}', r"records\.jsonl:2: schema 99 is newer than 1"),
        ('{"a": 1}', r"records\.jsonl:2: not a haplobench record"),
        ('{"schema": 1, "value": "x"}', r"records\.jsonl:2: not a whole record"),
    ],
)
def test_lines_that_are_no_records_are_named(tmp_path: Path, line: str, says: str) -> None:
    folder = write_run(tmp_path, 1, [record(1, 0.1)])
    with (folder / "records.jsonl").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(FormatError, match=says):
        history(tmp_path)


def test_the_main_table_is_shown_unless_more_is_asked_for(tmp_path: Path) -> None:
    write_run(
        tmp_path,
        1,
        [
            record(1, 0.1),
            record(1, 0.1, submetric="bias"),
            record(1, 0.1, labels={"superpopulation": "EUR"}),
        ],
    )
    found = history(tmp_path)
    assert len(select(found).series) == 1
    assert len(select(found, everything=True).series) == 3
    assert len(select(found, metrics=["ld-decay/bias"]).series) == 1
    assert len(select(found, metrics=["ld-decay"], generators=["vae"]).series) == 3
    with pytest.raises(BenchError, match="markov.*\n?.*ld-decay/bias, ld-decay/rmse"):
        select(found, generators=["markov"])


def test_benchmarks_join_the_same_history(tmp_path: Path) -> None:
    for run, median in ((1, 0.5), (2, 0.6)):
        content = {
            "machine_info": {"cpu": {"brand_raw": "A fine CPU", "count": 2}},
            "commit_info": {"id": f"{run:040x}", "dirty": run == 2},
            "datetime": f"2026-01-01T00:00:0{run}+00:00",
            "benchmarks": [
                {"fullname": "benchmarks/test_ld_speed.py::test_ld", "stats": {"median": median}}
            ],
        }
        (tmp_path / f"000{run}_x.json").write_text(json.dumps(content))
    (series,) = history(tmp_path, str(tmp_path)).series
    assert [point.value for point in series.points] == [0.5, 0.6]
    assert series.points[1].commit == f"{2:040x}"[:9] + "+"
    assert (series.key.metric, series.key.submetric) == ("benchmark", "test_ld_speed.py::test_ld")
    assert series.unit == "s"
    assert select(read_history(*sources_of([str(tmp_path)], tmp_path))).series == (series,)


def test_words_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="'nothing' is no suite"):
        sources_of(["nothing"], tmp_path)
    with pytest.raises(BenchError, match="no runs under"):
        sources_of([], tmp_path)


def test_a_step_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, 40)
    values[25:] += 6
    (change,) = find_changes(values, direction="lower")
    assert change.index == 25
    assert change.before == pytest.approx(values[:25].mean())
    assert change.after == pytest.approx(values[25:].mean())
    assert change.verdict == "worse"


def test_pure_noise_is_seldom_marked() -> None:
    rng = np.random.default_rng(2)
    for n, most in ((10, 0.08), (30, 0.03), (100, 0.01)):
        marked = sum(bool(find_changes(rng.normal(5, 2, n))) for _ in range(300))
        assert marked <= most * 300


def test_steps_of_three_deviations_are_found() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(100):
        values = rng.normal(0, 1, 30)
        values[15:] += 3
        found += any(abs(change.index - 15) <= 1 for change in find_changes(values))
    assert found >= 90


def test_the_verdict_follows_the_direction() -> None:
    up = [0.1, 0.11, 0.1, 0.11, 0.1, 0.9, 0.91, 0.9, 0.91, 0.9]
    assert [c.verdict for c in find_changes(up, direction="higher")] == ["better"]
    assert [c.verdict for c in find_changes(up, direction="lower")] == ["worse"]
    assert [c.verdict for c in find_changes(up, direction="info")] == ["changed"]
    assert [c.verdict for c in find_changes(up, direction="closer", ideal=1.0)] == ["better"]
    assert [c.verdict for c in find_changes(up, direction="closer", ideal=0.0)] == ["worse"]


def test_a_step_in_a_number_without_noise_is_found() -> None:
    (change,) = find_changes([2.0] * 6 + [3.0] * 6)
    assert (change.index, change.before, change.after) == (6, 2.0, 3.0)


def test_changes_under_the_smallest_effect_are_left_out() -> None:
    steps = [1.0] * 6 + [1.01] * 6 + [2.0] * 6
    assert [c.index for c in find_changes(steps, min_effect=0.1)] == [12]


@given(st.floats(0.001, 1e6), st.floats(-1e3, 1e3))
def test_unit_and_origin_do_not_matter_to_steps_without_noise(unit: float, origin: float) -> None:
    values = np.repeat([0.0, 1.0, 0.0], 8)
    indices = [change.index for change in find_changes(values * unit + origin)]
    assert indices == [8, 16]


@given(st.lists(st.floats(-1e9, 1e9, allow_nan=False), max_size=60))
def test_whatever_the_values_changes_lie_inside_in_order(values: list[float]) -> None:
    indices = [change.index for change in find_changes(values)]
    assert indices == sorted(set(indices))
    assert all(0 < index < len(values) for index in indices)
