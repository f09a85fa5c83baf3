"""Aggregation against hand computation, numpy and pandas."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_fixture import SEEDS, build_run

from haplobench.errors import BenchError, FormatError
from haplobench.report.model import (
    Cell,
    Column,
    DatasetSummary,
    Floor,
    Summary,
    band,
    possible,
    score,
)
from haplobench.report.summary import summarise
from haplobench.report.view import spread_words
from haplobench.results.description import CohortInfo, SubmetricInfo
from haplobench.results.records import Record, append_records
from haplobench.results.table import Labels, load_run, why


def record(**changes: Any) -> Record:
    base = Record(
        run_id="r", suite="s", suite_digest="", dataset="d", dataset_digest="", generator="g",
        generator_name="g", generator_version="1", generator_distribution="x", role="generator",
        params_digest="", seed=1, replicate=0, world_size=1, cell_id="c", run_key="k", git_sha="",
        git_dirty=False, lock_digest="", hardware="", status="ok", phase="measure", started="",
        metric="m", family="fidelity", submetric="x", value=1.0, direction="lower",
    )  # fmt: skip
    return replace(base, **changes)


def run_of(folder: Path, records: list[Record], info: dict[str, Any] | None = None) -> Summary:
    folder.mkdir(parents=True, exist_ok=True)
    append_records(folder / "records.jsonl", records)
    if info is not None:
        (folder / "run.json").write_text(json.dumps(info))
    return summarise(load_run(folder))


def only(summary: Summary, cohort: str = "g", labels: Labels = ()) -> Cell:
    dataset = summary.datasets["d"]
    column = next(c for c in dataset.columns if c.key == ("m", "x", labels))
    return dataset.cell(cohort, column)


def test_mean_over_draws_then_over_seeds(tmp_path: Path) -> None:
    # Seed 1 has three draws, seed 2 one: seeds weigh alike.
    values = [(1, 0, 1.0), (1, 1, 2.0), (1, 2, 3.0), (2, 0, 10.0)]
    records = [record(seed=s, replicate=r, value=v) for s, r, v in values]
    cell = only(run_of(tmp_path, records))
    assert cell.value == pytest.approx((2.0 + 10.0) / 2)
    assert cell.spread == pytest.approx(math.sqrt(((2 - 6) ** 2 + (10 - 6) ** 2) / 1))
    assert cell.spread_over == "seeds"
    assert (cell.low, cell.high, cell.n_seeds, cell.n_values) == (2.0, 10.0, 2, 4)


def test_one_seed_spreads_over_draws_and_one_draw_over_nothing(tmp_path: Path) -> None:
    cell = only(run_of(tmp_path / "a", [record(replicate=r, value=float(r)) for r in (1, 2, 6)]))
    assert cell.spread == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert cell.spread_over == "draws"
    assert (cell.low, cell.high) == (1.0, 6.0)
    cell = only(run_of(tmp_path / "b", [record(value=4.0)]))
    assert (cell.spread, cell.spread_over) == (None, "")
    cell = only(run_of(tmp_path / "c", [record(value=4.0, standard_error=0.25)]))
    assert (cell.spread, cell.spread_over) == (0.25, "standard error")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(1, 3),
            st.integers(0, 3),
            st.floats(-1e6, 1e6, allow_subnormal=False),
        ),
        min_size=1,
        max_size=30,
        unique_by=lambda item: item[:3],
    )
)
def test_agrees_with_plain_python(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, int, int, float]]
) -> None:
    records = [record(generator=g, seed=s, replicate=r, value=v) for g, s, r, v in drawn]
    summary = run_of(tmp_path_factory.mktemp("run"), records)
    for label in {item[0] for item in drawn}:
        seeds: dict[int, list[float]] = {}
        for generator, seed, _, value in drawn:
            if generator == label:
                seeds.setdefault(seed, []).append(value)
        means = [sum(values) / len(values) for values in seeds.values()]
        cell = only(summary, label)
        assert cell.value == pytest.approx(sum(means) / len(means), rel=1e-9, abs=1e-6)
        if len(means) > 1:
            assert cell.spread == pytest.approx(np.std(means, ddof=1), rel=1e-6, abs=1e-5)


def test_whole_fixture_agrees_with_pandas(demo_run: Path, demo: Summary) -> None:
    rows = [json.loads(line) for line in (demo_run / "records.jsonl").open()]
    frame = pd.DataFrame(rows)
    frame = frame[(frame["status"] == "ok") & (frame["labels"].map(len) == 0)]
    keys = ["dataset", "generator", "metric", "submetric"]
    seeds = frame.groupby([*keys, "seed"])["value"].mean()
    expected = seeds.groupby(keys).agg(["mean", "std"])
    checked = 0
    for dataset in demo.datasets.values():
        for cohort in dataset.cohorts:
            for column in dataset.columns:
                cell = dataset.cell(cohort.label, column)
                key = (dataset.label, cohort.label, column.metric, column.submetric.name)
                if cohort.role == "floor" or column.labels:
                    continue
                assert (cell.value is not None) == (key in expected.index), key
                if cell.value is not None:
                    assert cell.value == pytest.approx(expected.loc[key, "mean"])
                    assert cell.spread == pytest.approx(expected.loc[key, "std"])
                    checked += 1
    assert checked > 150


def test_floor_is_median_and_quantiles_of_all_draws(tmp_path: Path) -> None:
    draws = [0.3, 0.1, 0.9, 0.5, 0.2, 0.6]
    records = [
        record(generator="floor", role="floor", replicate=i, seed=i % 2, value=v)
        for i, v in enumerate(draws)
    ]
    info = {"metrics": {"m": {"family": "fidelity", "submetrics": [
        {"name": "x", "title": "X", "direction": "closer", "ideal": 0.4}]}}}  # fmt: skip
    floor = run_of(tmp_path, [*records, record()], info).datasets["d"].floors["m", "x", ()]
    assert floor.n == 6
    assert floor.median == pytest.approx(np.median(draws))
    assert [floor.low, floor.high] == pytest.approx(np.quantile(draws, [0.05, 0.95]).tolist())
    assert floor.distance == pytest.approx(np.median(np.abs(np.array(draws) - 0.4)))


FLOOR = Floor(median=0.10, low=0.08, high=0.12, n=10, distance=0.10)


@pytest.mark.parametrize(
    ("direction", "ideal", "value", "expected"),
    [
        ("lower", 0.0, 0.10, "within"),
        ("lower", 0.0, 0.05, "better"),
        ("lower", 0.0, 0.13, "outside"),
        ("lower", 0.0, 0.24, "outside"),  # no more than three widths of the range away
        ("lower", 0.0, 0.25, "far"),
        ("lower", None, 0.25, "far"),
        ("higher", None, 0.05, "outside"),
        ("higher", None, 0.2, "better"),
        ("higher", None, -0.2, "far"),
        ("closer", 0.1, 0.09, "within"),
        ("closer", 0.1, 0.15, "outside"),
        ("closer", None, 0.15, ""),
        ("info", None, 9.0, ""),
    ],
)
def test_place(direction: str, ideal: float | None, value: float, expected: str) -> None:
    info = SubmetricInfo("x", "X", direction=direction, ideal=ideal)
    assert band(value, FLOOR, info) == expected


def test_place_forgives_the_smallest_effect_and_needs_a_floor() -> None:
    info = SubmetricInfo("x", "X", direction="lower", ideal=0.0, min_effect=0.02)
    assert band(0.135, FLOOR, info) == "within"
    assert band(0.145, FLOOR, info) == "outside"
    assert band(0.135, None, info) == ""


def test_far_needs_distance_as_well_as_separation() -> None:
    narrow = Floor(median=0.1, low=0.0999, high=0.1001, n=10, distance=0.1)
    info = SubmetricInfo("x", "X", direction="lower", ideal=0.0)
    assert band(0.14, narrow, info) == "outside"  # 200 widths away, but 1.4 times the floor
    assert band(0.21, narrow, info) == "far"


def test_score() -> None:
    info = SubmetricInfo("x", "X", direction="closer", ideal=0.5)
    floor = Floor(median=0.5, low=0.45, high=0.55, n=10, distance=0.02)
    assert score(0.56, floor, info) == pytest.approx(3.0)
    assert score(0.44, floor, info) == pytest.approx(3.0)
    assert score(0.56, None, info) is None
    assert score(0.56, replace(floor, distance=0.0), info) is None
    wide = replace(info, min_effect=0.06)
    assert score(0.56, floor, wide) == pytest.approx(1.0)
    assert score(0.56, floor, replace(info, ideal=None)) is None


def test_nothing_is_nan(demo: Summary) -> None:
    for dataset in demo.datasets.values():
        for cell in dataset.cells.values():
            for value in asdict(cell).values():
                assert not (isinstance(value, float) and not math.isfinite(value)), cell


def test_states_and_reasons(demo: Summary) -> None:
    dataset = demo.datasets["chr20-eur"]
    column = next(c for c in dataset.columns if c.key == ("frequency", "rmse", ()))
    assert dataset.cell("broken", column).state == "failed"
    assert dataset.cell("broken", column).phase == "fit"
    assert dataset.cell("broken", column).reason.startswith("ValueError: shapes (3, 4)")
    assert dataset.cell("theory", column).state == "not-applicable"
    assert dataset.cell("theory", column).reason == "sites differ"
    partly = dataset.cell("slowpoke", column)
    assert (partly.state, partly.n_seeds, partly.failed_seeds) == ("ok", 2, 1)
    chr1 = demo.datasets["chr1"]
    assert chr1.cell("slowpoke", column).state == "timeout"
    speed = next(c for c in dataset.columns if c.metric == "speed")
    assert dataset.cell("floor", speed).state == "missing"
    # One draw of one seed ran out of memory in one metric: that metric alone says so.
    attack = next(c for c in dataset.columns if c.metric == "inference")
    assert dataset.cell("patchwork", attack).failed_seeds == 1
    assert dataset.cell("patchwork", column).failed_seeds == 0


def test_failures_name_phase_and_reason_and_gather_seeds(demo: Summary) -> None:
    found = {(f.dataset, f.cohort, f.metric): f for f in demo.failures}
    broken = found["chr1", "broken", ""]
    assert (broken.phase, broken.status, broken.seeds) == ("fit", "failed", SEEDS)
    assert "\n" not in broken.reason
    assert "Traceback" in broken.detail
    assert found["chr20-eur", "slowpoke", ""].seeds == (3,)
    assert found["chr1", "patchwork", "inference"].status == "memory"
    assert len(found) == 6


def test_labelled_values_stand_apart(demo: Summary) -> None:
    dataset = demo.datasets["chr1"]
    labelled = [c for c in dataset.columns if c.labels]
    assert {c.labels for c in labelled} == {
        (("superpopulation", "EUR"),),
        (("superpopulation", "AFR"),),
    }
    assert not any(column.labels for column in dataset.headline())
    texts = {c.labels for c in labelled}
    assert texts == {
        (("superpopulation", "EUR"),),
        (("superpopulation", "AFR"),),
    }


def test_labels_are_told_apart_whatever_they_hold(tmp_path: Path) -> None:
    sets = [{"a": "1", "b": "2"}, {"a": "1;b=2"}, {"b": "1"}, {"a": ""}, {}]
    records = [record(labels=labels, value=float(i)) for i, labels in enumerate(sets)]
    dataset = run_of(tmp_path, records).datasets["d"]
    values = {column.labels: dataset.cell("g", column).value for column in dataset.columns}
    assert values == {tuple(sorted(labels.items())): float(i) for i, labels in enumerate(sets)}


def test_headline_number_that_only_has_labels_is_shown_by_them(tmp_path: Path) -> None:
    info = {"metrics": {"m": {"family": "fidelity", "submetrics": [
        {"name": "x", "title": "X", "direction": "lower", "headline": True}]}}}  # fmt: skip
    records = [record(labels={"pop": p}, value=1.0) for p in ("EUR", "AFR")]
    columns = run_of(tmp_path, records, info).datasets["d"].headline()
    assert [column.title for column in columns] == ["X (EUR)", "X (AFR)"]


def test_the_latest_record_counts(tmp_path: Path) -> None:
    failed = record(metric="", submetric="", value=None, status="failed", phase="fit", error="e")
    again = [record(value=1.0), record(value=2.0)]
    summary = run_of(tmp_path / "mended", [failed, *again])
    assert only(summary).value == 2.0
    assert not summary.failures
    broke = record(submetric="", value=None, status="failed", error="late")
    info = {"metrics": {"m": {"submetrics": [{"name": "x", "title": "X"}]}}}
    summary = run_of(tmp_path / "broke", [record(value=1.0), broke], info)
    assert only(summary).state == "failed"
    # Another seed's success mends nothing.
    summary = run_of(tmp_path / "other", [failed, record(seed=2, value=1.0)])
    assert (only(summary).failed_seeds, len(summary.failures)) == (1, 1)


def test_numbers_of_older_code_do_not_linger(tmp_path: Path) -> None:
    old = [record(run_key="old", labels={"bin": b}, value=1.0) for b in ("a", "b")]
    new = [record(run_key="new", labels={"bin": "c"}, value=2.0)]
    dataset = run_of(tmp_path, [*old, *new]).datasets["d"]
    assert [column.labels for column in dataset.columns] == [(("bin", "c"),)]


def test_headline_leaves_out_what_nobody_has(tmp_path: Path) -> None:
    numbers = [
        {"name": n, "title": n, "direction": "lower", "headline": True} for n in ("x", "never")
    ]
    info = {"metrics": {"m": {"submetrics": numbers}}}
    dataset = run_of(tmp_path, [record()], info).datasets["d"]
    assert [column.title for column in dataset.headline()] == ["x"]
    assert len(dataset.columns) == 2


def test_families_have_one_order_whatever_the_plugins(tmp_path: Path) -> None:
    families = ["performance", "novel", "privacy", "fidelity"]
    records = [record(metric=name, family=name) for name in families]
    dataset = run_of(tmp_path, records).datasets["d"]
    assert dataset.families() == ["fidelity", "privacy", "performance", "novel"]


def test_generator_that_the_machine_cannot_run(tmp_path: Path) -> None:
    lacking = record(generator="art", metric="", submetric="", value=None, phase="fit",
                     status="not-applicable", note="program art_illumina is missing")  # fmt: skip
    cell = only(run_of(tmp_path, [record(), lacking]), "art")
    assert (cell.state, cell.reason) == ("not-applicable", "program art_illumina is missing")


def test_torn_line_is_passed_over(tmp_path: Path) -> None:
    summary = run_of(tmp_path, [record(value=1.0)])
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write('{"schema": 1, "run_id": "r", "val')
    append_records(tmp_path / "records.jsonl", [record(seed=2, value=3.0)])
    summary = summarise(load_run(tmp_path))
    assert only(summary).value == 2.0


def test_world_sizes_are_rows_of_their_own(tmp_path: Path) -> None:
    records = [record(world_size=w, value=float(w)) for w in (4, 1, 2)]
    summary = run_of(tmp_path, records)
    assert list(summary.run.cohorts) == ["g", "g (2 ranks)", "g (4 ranks)"]
    assert only(summary, "g (4 ranks)").value == 4.0


def test_metric_and_generator_that_run_json_does_not_know(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    info = json.loads((folder / "run.json").read_text())
    del info["metrics"]["words"], info["generators"]["chain"]
    (folder / "run.json").write_text(json.dumps(info))
    summary = summarise(load_run(folder))
    assert summary.run.metrics["words"].submetrics[0].direction == "lower"
    assert summary.run.cohorts["chain"].role == "generator"


def test_run_without_run_json_still_summarises(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    (folder / "run.json").unlink()
    summary = summarise(load_run(folder))
    assert [c.role for c in summary.run.cohorts.values()][:3] == ["floor", "control", "control"]
    assert len(summary.datasets) == 2


def test_empty_and_missing_runs(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no records\.jsonl"):
        load_run(tmp_path)
    (tmp_path / "records.jsonl").touch()
    assert summarise(load_run(tmp_path)).datasets == {}
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FormatError, match=r"run\.json: not JSON"):
        load_run(tmp_path)


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    append_records(tmp_path / "records.jsonl", [replace(record(), schema=99)])
    with pytest.raises(FormatError, match=r"records\.jsonl:1: schema 99 is newer"):
        load_run(tmp_path)


def test_best_leaves_controls_out_and_ties_within_the_smallest_effect(tmp_path: Path) -> None:
    info = {
        "metrics": {
            "m": {
                "family": "fidelity",
                "submetrics": [
                    {
                        "name": "x",
                        "title": "X",
                        "direction": "lower",
                        "min_effect": 0.1,
                        "headline": True,
                    }
                ],
            }
        }
    }
    records = [
        record(generator="cheat", role="control", value=0.0),
        record(generator="a", value=1.0),
        record(generator="b", value=1.05),
        record(generator="c", value=1.2),
    ]  # fmt: skip
    dataset = run_of(tmp_path, records, info).datasets["d"]
    best = dataset.best(dataset.columns[0])
    assert best is not None
    assert best.cohorts == ("a", "b")


def test_best_of_a_number_for_information_is_nobody() -> None:
    column = Column("m", "fidelity", SubmetricInfo("x", "X", direction="info"))
    assert DatasetSummary("d", (), (column,), {}, {}).best(column) is None


def test_why() -> None:
    assert why("ValueError", "bad shape\nTraceback …\n  File") == "ValueError: bad shape"
    trace = "Traceback (most recent call last):\n  File x\nKeyError: 'a'"
    assert why("KeyError", trace) == "KeyError: 'a'"
    assert len(why("E", "x" * 500)) == 160
    assert why("MemoryError", "") == "MemoryError"


def test_many_records_are_read_whole(tmp_path: Path) -> None:
    # 60,000, over several of the parser's blocks; the benchmark times ten times as many.
    template = json.loads(record().to_json())
    path = tmp_path / "records.jsonl"
    with path.open("w") as file:
        for generator in range(10):
            for seed in range(10):
                for number in range(600):
                    template |= {"generator": f"g{generator}", "seed": seed, "value": 0.5 + seed}
                    template |= {"submetric": f"x{number}", "labels": {"bin": str(number % 7)}}
                    file.write(json.dumps(template) + "\n")
    summary = summarise(load_run(tmp_path))
    cells = summary.datasets["d"].cells
    assert len(cells) == 6_000
    assert {cell.value for cell in cells.values()} == {5.0}


def test_a_lone_generator_is_not_the_best() -> None:
    cohorts = (CohortInfo("control", "control"), CohortInfo("a", "generator"))
    column = Column("m", "fidelity", SubmetricInfo("s", "S", direction="lower"))
    cells = {("a", column.key): Cell("ok", 1.0), ("control", column.key): Cell("ok", 2.0)}
    assert DatasetSummary("d", cohorts, (column,), {}, cells).best(column) is None


@pytest.mark.parametrize(
    ("seeds", "draws", "words"),
    [
        ([1, 2, 3], 3, "standard deviation over 3 seeds, each the mean of 3 draws"),
        ([1, 2], 1, "standard deviation over 2 seeds, one draw each"),
        ([1], 4, "standard deviation over the 4 draws of one seed"),
        ([1], 1, "the metric's own standard error where it gives one (one seed of one draw)"),
        ([1], None, "standard deviation over the draws of one seed"),
    ],
)
def test_what_stands_behind_plus_minus(seeds: list[int], draws: int | None, words: str) -> None:
    assert spread_words({"seeds": seeds, "draws": draws}) == words


@pytest.mark.parametrize(
    ("number", "value", "expected"),
    [
        ({"direction": "lower", "ideal": 0.0}, 0.1, (0.0, 0.3)),
        ({"direction": "higher", "ideal": 1.0}, 0.9, (0.7, 1.0)),
        ({"direction": "higher", "ideal": 1.0}, 1.05, (0.85, 1.25)),  # a ratio: 1 is no end
        ({"direction": "closer", "ideal": 1.0}, 0.9, (0.7, 1.1)),
        (
            {"direction": "lower", "ideal": 0.5, "evidence": True, "material": 0.6},
            0.95,
            (0.75, 1.0),
        ),
    ],
)
def test_intervals_end_where_a_number_can_go_no_further(
    number: dict[str, Any], value: float, expected: tuple[float, float]
) -> None:
    info = SubmetricInfo("x", "X", **number)
    assert possible(value - 0.2, value, value + 0.2, info) == pytest.approx(expected)
