"""Baselines as files, and finding a side: folders, files, names, git references."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_records import measured, record, records

from haplobench.compare.baseline import parse_baseline, render_baseline, rounded
from haplobench.compare.compare import compare
from haplobench.compare.model import Side
from haplobench.compare.sources import open_side
from haplobench.errors import BenchError, FormatError

FIXTURES = Path(__file__).parent / "fixtures"
RNG = np.random.default_rng(7)
ROWS = [
    row
    for generator in ("vae", "markov")
    for submetric in ("rmse", "r", "bias", "pairs")
    for maf in ("0.05-0.1", "0.1-0.5")
    for row in records(
        RNG.normal(0.5, 0.1, 7), generator=generator, submetric=submetric, labels={"maf": maf}
    )
]


def saved(rows: list[dict[str, Any]]) -> str:
    return render_baseline(measured(rows), "tiny")


def test_a_baseline_of_a_run_equals_the_run() -> None:
    """But for rounding, which no comparison takes for a change; numbers for information go."""
    run = measured(ROWS)
    baseline = parse_baseline(saved(ROWS).splitlines(), "tiny.jsonl", Side("tiny"))
    kept = [key for key in run.numbers if key.submetric != "pairs"]
    assert set(baseline.numbers) == set(kept)
    for key in kept:
        for seed, draws in run.numbers[key].values.items():
            assert baseline.numbers[key].values[seed] == pytest.approx(draws, rel=5e-6)
    assert baseline.definitions[("ld", "bias")] == run.definitions[("ld", "bias")]
    assert baseline.side.git_sha == run.side.git_sha
    comparison = compare(baseline, run)
    statuses = {row.status for row in comparison.rows if row.submetric != "pairs"}
    assert statuses == {"unchanged"}
    assert comparison.exit_code == 0


def test_the_order_of_records_doesnt_matter() -> None:
    shuffled = [ROWS[at] for at in RNG.permutation(len(ROWS))]
    assert saved(shuffled) == saved(ROWS)


def test_one_number_is_one_line() -> None:
    changed = [dict(row) for row in ROWS]
    changed[3]["value"] = 0.123456789
    before, after = saved(ROWS).splitlines(), saved(changed).splitlines()
    different = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(different) == 1
    assert "0.123457" in different[0]
    assert max(len(line) for line in before[4:]) < 400


def test_failures_are_kept() -> None:
    bad = record(generator="gan", metric="", submetric="", value=None, status="memory", error="x")
    baseline = parse_baseline(saved([*ROWS, bad]).splitlines(), "b", Side("b"))
    assert baseline.failures == {("chr20", "gan", ""): {1: "memory in measure: x"}}


@pytest.mark.parametrize(
    "value", [0.0, 1.0, 123456789.0, 0.000123456789, -3.14159265, 1e300, 7e-12]
)
def test_rounding_keeps_six_digits(value: float) -> None:
    assert rounded(value) == pytest.approx(value, rel=5e-6)
    assert float(json.dumps(rounded(value))) == rounded(value)


def test_a_baseline_knows_whose_fits_cannot_repeat() -> None:
    run = measured(ROWS)
    run.describe({"generators": {"vae": {"unrepeatable": "noise"}, "markov": {"unrepeatable": ""}}})
    said = {generator: one.unrepeatable for (_, generator), one in run.cohorts.items()}
    assert said == {"vae": "noise", "markov": ""}
    read = parse_baseline(render_baseline(run, "b").splitlines(), "b", Side("b"))
    for place, cohort in run.cohorts.items():
        assert read.cohorts[place].unrepeatable == cohort.unrepeatable


def test_a_spoilt_baseline_names_its_line() -> None:
    lines = saved(ROWS).splitlines()
    lines[5] = '{"metric": "ld"}'
    with pytest.raises(FormatError, match=r"b\.jsonl:6: not a line of a baseline"):
        parse_baseline(lines, "b.jsonl", Side("b"))
    with pytest.raises(FormatError, match=r"schema 99 is newer than 1"):
        parse_baseline(['{"baseline": "x", "schema": 99}'], "b", Side("b"))


# --- schemas once written stay readable -----------------------------------------------------


def test_schema_1_records_and_baselines_still_load() -> None:
    base = open_side(str(FIXTURES / "records-schema1.jsonl"))
    head = open_side(str(FIXTURES / "baseline-schema1.jsonl"))
    assert base.side.run_id == head.side.run_id == "20260101T000000Z-aa"
    assert len(head.numbers) == 12
    rows = [row for row in compare(base, head).rows if row.metric and row.gated]
    assert len(rows) == 12
    assert {row.status for row in rows} == {"unchanged"}


# --- finding a side -------------------------------------------------------------------------


def test_one_run_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    with path.open("w") as lines:
        for at, run_id in enumerate(("2026a", "2026b", "2026c")):
            for row in records([at, at], run_id=run_id):
                lines.write(json.dumps(row) + "\n")
        # Another writer's line among those of others, and one that a killed writer tore.
        lines.write(
            json.dumps(record(seed=3, value=0, run_id="2026a")) + '\n{"run_id": "2026a", "da'
        )

    def values(text: str) -> list[float]:
        (number,) = open_side(text).numbers.values()
        return [draw for seed in number.values.values() for draw in seed.values()]

    assert values(str(path)) == [2, 2]
    assert values(f"{path}@2026a") == [0, 0, 0]
    assert values(f"{path}@-2") == [1, 1]
    with pytest.raises(BenchError, match="'2026' fits 3 of 3 runs"):
        open_side(f"{path}@2026")


def test_a_text_like_a_run_id_inside_a_value_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    row = record(note='"run_id": "fake"', error='{"run_id": "fake2"}')
    path.write_text(json.dumps(row) + "\n")
    assert open_side(str(path)).side.run_id == row["run_id"]


def test_newer_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(record(schema=99)) + "\n")
    with pytest.raises(FormatError, match="schema 99 is newer"):
        open_side(str(path))


def test_runs_by_name(write_run: Callable[..., Path], tmp_path: Path) -> None:
    first = write_run(records([1, 2]), "20260101T000000Z-aa")
    write_run(records([3, 4]), "20260202T000000Z-bb")
    out = tmp_path / "results"
    assert open_side(str(first)).side.machine == "Z80, 1 cores"
    for text, run in (
        ("tiny", "20260202T000000Z-bb"),
        ("tiny@-2", "20260101T000000Z-aa"),
        ("tiny@202601", "20260101T000000Z-aa"),
        ("20260101", "20260101T000000Z-aa"),
        ("run:tiny", "20260202T000000Z-bb"),
    ):
        assert open_side(text, out=out, baselines=tmp_path / "none").side.run_id == run
    with pytest.raises(BenchError, match="did you mean tiny"):
        open_side("tinny", out=out, baselines=tmp_path / "none")
    with pytest.raises(BenchError, match="no such baseline"):
        open_side("baseline:tiny", out=out, baselines=tmp_path / "none")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_baselines_of_git_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@y.z", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "baselines"
    folder.mkdir(parents=True)
    git("init", "-b", "main")
    (folder / "tiny.jsonl").write_text(saved(records([0.1, 0.11, 0.12])))
    git("add", ".")
    git("commit", "-m", "one")
    git("checkout", "-b", "branch")
    (folder / "tiny.jsonl").write_text(saved(records([0.3, 0.31, 0.32])))
    lines = "".join(json.dumps(row) + "\n" for row in records([1, 2]))
    (folder / "raw.jsonl").write_text(lines)
    git("add", ".")
    git("commit", "-m", "two")
    (folder / "tiny.jsonl").unlink()

    first, second = open_side("main"), open_side("HEAD", suite="tiny")
    assert first.side.source == "main:results/baselines/tiny.jsonl"
    row = next(row for row in compare(first, second).rows if row.submetric == "rmse")
    assert row.status == "regressed"
    assert row.difference == pytest.approx(0.2)
    with pytest.raises(BenchError, match="2 baselines at branch"):
        open_side("git:branch")
    (number,) = open_side("branch:raw").numbers.values()
    assert number.values == {1: {0: 1.0}, 2: {0: 2.0}}
    with pytest.raises(BenchError, match="no run folder, file, run"):
        open_side("nosuchref")
