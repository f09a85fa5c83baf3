"""`bench compare` and `bench baseline` as programs: exit codes, files, messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_records import record, records

from haplobench.cli import main

NOISE = np.array([0.0005, -0.0008, 0.0002, 0.0007, -0.0004, -0.0006, 0.0004])


@pytest.fixture
def bench(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run the program in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


def test_exit_codes(bench: Callable[..., Any], write_run: Callable[..., Path]) -> None:
    base = write_run(records(0.1 + NOISE), "1")
    same = write_run(records(0.1 - NOISE), "2")
    worse = write_run(records(0.2 - NOISE), "3")
    other = write_run([{**row, "dataset_digest": "x"} for row in records(0.2 - NOISE)], "4")
    assert bench("compare", base, same)[0] == 0
    code, out, _ = bench("compare", base, worse)
    assert code == 1
    assert out.startswith("1 regressed: model")
    assert bench("compare", worse, base)[0] == 0
    code, out, _ = bench("compare", base, other)
    assert code == 3
    assert out.startswith("Nothing could be compared")
    code, _, err = bench("compare", base, "nosuch")
    assert code == 2
    assert err.startswith("error: 'nosuch' is no run folder")
    assert bench("compare", base)[0] == 2


def unfinished(run: Path, status: str) -> None:
    """Have a run's description say that it was interrupted, or is at work."""
    path = run / "run.json"
    info = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**info, "status": status}))


@pytest.mark.parametrize("status", ["incomplete", "running"])
def test_an_unfinished_run_does_not_pass(
    bench: Callable[..., Any], write_run: Callable[..., Path], status: str
) -> None:
    both = [*records(0.1 + NOISE), *records(0.1 + NOISE, generator="late")]
    base, head = write_run(both, "1"), write_run(records(0.1 - NOISE), "2")
    unfinished(head, status)
    code, out, _ = bench("compare", base, head)
    assert code == 1
    assert out.startswith("1 missing: late")
    assert "head is an unfinished run" in out
    code, out, _ = bench("compare", base, head, "--allow-missing")
    assert (code, out.splitlines()[0]) == (0, "No regression, 1 missing")
    # All that base has is there already, but not all seeds need be.
    code, out, _ = bench("compare", head, head)
    assert (code, out.splitlines()[0]) == (1, "No regression so far: head is an unfinished run")
    code, _, err = bench("baseline", "save", head)
    assert code == 2
    assert "not a whole run: it was interrupted, or is still running" in err
    assert bench("baseline", "save", head, "--allow-missing")[0] == 0


def test_what_vanishes_does_not_pass(
    bench: Callable[..., Any], write_run: Callable[..., Path]
) -> None:
    numbers = [*records(0.1 + NOISE), *records(0.1 + NOISE, metric="leak", submetric="copies")]
    two = [*numbers, *records(0.1 + NOISE, generator="second")]
    base = write_run(two, "1")
    without_metric = write_run([row for row in two if row["metric"] != "leak"], "2")
    without_generator = write_run(numbers, "3")
    for head, gone in ((without_metric, "model"), (without_generator, "second")):
        code, out, _ = bench("compare", base, head)
        assert (code, out.splitlines()[0]) == (1, f"1 missing: {gone}")
        assert bench("compare", base, head, "--allow-missing")[0] == 0
    # What the machine lacks is stated, and the suite says that it is optional.
    lacks = {"metric": "", "submetric": "", "value": None, "status": "not-applicable"}
    note = "not available: needs art_illumina"
    stated = [*numbers, record(generator="second", **lacks, note=note)]
    code, out, _ = bench("compare", base, write_run(stated, "4"))
    assert (code, out.splitlines()[0]) == (0, "No regression, 1 missing")
    # A generator of which nothing was measured, and nothing says why.
    begun = [*numbers, record(generator="second", value=None, status="not-applicable")]
    code, out, _ = bench("compare", base, write_run(begun, "5"))
    assert (code, out.splitlines()[0]) == (1, "1 missing: second")


def test_forms_and_files(bench: Callable[..., Any], write_run: Callable[..., Path]) -> None:
    base, head = write_run(records(0.1 + NOISE), "1"), write_run(records(0.2 - NOISE), "2")
    code, out, _ = bench("compare", base, head, "--format", "md")
    assert code == 1
    assert out.startswith("### ❌")
    code, out, _ = bench("compare", base, head, "-f", "junit", "-f", "bencher", "--to", "reports")
    assert code == 1
    assert "written: reports/comparison.xml" in out
    assert json.loads(Path("reports/bencher.json").read_text())
    bench("compare", base, head, "-f", "json", "--to", "one.json")
    assert json.loads(Path("one.json").read_text())["exit_code"] == 1
    code, _, err = bench("compare", base, head, "-f", "md", "-f", "json")
    assert code == 2
    assert "--to FOLDER" in err


def test_a_page(bench: Callable[..., Any], write_run: Callable[..., Path]) -> None:
    base, head = write_run(records(0.1 + NOISE), "1"), write_run(records(0.2 - NOISE), "2")
    assert bench("compare", base, head, "-f", "html", "--to", "page.html")[0] == 1
    assert Path("page.html").read_text().lower().startswith("<!doctype html>")


def test_a_suite_overrides(bench: Callable[..., Any], write_run: Callable[..., Path]) -> None:
    base, head = write_run(records(0.1 + NOISE), "1"), write_run(records(0.2 - NOISE), "2")
    suite = Path("mine.yaml")
    suite.write_text("name: mine\ncompare:\n  rules:\n    - {metric: ld, min_effect: 0.5}\n")
    assert bench("compare", base, head, "--suite", suite)[0] == 0
    suite.write_text("name: mine\ncompare:\n  rules:\n    - {metric: ld, min_effekt: 0.5}\n")
    code, _, err = bench("compare", base, head, "--suite", suite)
    assert code == 2
    assert "min_effekt" in err
    assert "mine.yaml" in err


def test_baselines(bench: Callable[..., Any], write_run: Callable[..., Path]) -> None:
    assert bench("baseline", "list")[1].startswith("no baselines in")
    write_run(records(0.1 + NOISE), "1")
    code, out, _ = bench("baseline", "save", "tiny")
    assert code == 0
    assert out.startswith("written: results/baselines/tiny.jsonl")
    write_run(records(0.2 - NOISE), "2")
    # A name that is both is the baseline as BASE and the newest run as HEAD.
    code, out, _ = bench("compare", "tiny", "tiny")
    assert code == 1
    assert "1 regressed" in out
    assert bench("compare", "baseline:tiny", "baseline:tiny")[0] == 0
    assert "tiny" in bench("baseline", "list")[1]
    assert "RMSE" in bench("baseline", "show", "tiny")[1]
    code, _, err = bench("baseline", "save", "tiny", "--name", "../x")
    assert code == 2
    assert "expected letters" in err


def test_a_fuller_baseline_is_not_replaced_unasked(
    bench: Callable[..., Any], write_run: Callable[..., Path]
) -> None:
    leak = records(0.1 + NOISE, metric="leak", submetric="copies")
    whole = [*records(0.1 + NOISE), *leak, *records(0.1 + NOISE, generator="second")]
    elsewhere = [{**row, "dataset": "chr1", "cell_id": f"1-{row['cell_id']}"} for row in whole]
    assert bench("baseline", "save", write_run([*whole, *elsewhere], "1"))[0] == 0
    kept = Path("results/baselines/tiny.jsonl").read_text()
    runs = {
        "dataset chr1": whole,
        "generator second on chr20": [
            row
            for row in (*whole, *elsewhere)
            if (row["generator"], row["dataset"]) != ("second", "chr20")
        ],
        "metric leak": [row for row in (*whole, *elsewhere) if row["metric"] != "leak"],
        "2 seeds of model on chr20": [row for row in (*whole, *elsewhere) if row["seed"] < 6],
    }
    for at, (lost, rows) in enumerate(runs.items(), 2):
        code, _, err = bench("baseline", "save", write_run(rows, str(at)))
        assert code == 2
        assert "holds more than" in err
        assert lost in err
        assert "--replace-fuller" in err
        assert Path("results/baselines/tiny.jsonl").read_text() == kept
    assert bench("baseline", "save", write_run(whole, "9"), "--replace-fuller")[0] == 0
    assert Path("results/baselines/tiny.jsonl").read_text() != kept
    # As full, or fuller.
    assert bench("baseline", "save", write_run([*whole, *elsewhere], "10"))[0] == 0


@pytest.mark.slow
def test_real_runs(bench: Callable[..., Any], tmp_path: Path) -> None:
    """Real runs: one against the baseline made of it, and one of a chain with less memory."""
    suite = tmp_path / "real.yaml"
    suite.write_text(
        "name: real\nseeds: [1, 2, 3]\n"
        "datasets:\n  - name: embedded\n    params: {region: '20:1000000-1100000'}\n"
        "generators: [{name: markov, params: {order: 8}}]\n"
        "metrics: [allele-frequency, ld-decay, time]\nfloor: {draws: 2}\n"
    )
    assert bench("run", suite, "--no-report")[0] == 0
    assert bench("baseline", "save", "real")[0] == 0
    code, out, _ = bench("compare", "real", "real")
    assert code == 0
    assert out.startswith("No regression")
    assert "improved" not in out
    assert bench("run", suite, "--no-report", "--set", "generators[0].params.order=1")[0] == 0
    code, out, _ = bench("compare", "real", "real", "--format", "json")
    rows = [row for row in json.loads(out)["rows"] if row["generator"] == "markov"]
    worse = {row["submetric"] for row in rows if row["status"] == "regressed"}
    assert code == 1
    assert "bias" in worse  # one site of context: LD falls
    assert all("other parameters" in row["reason"] for row in rows if row["status"] == "regressed")
