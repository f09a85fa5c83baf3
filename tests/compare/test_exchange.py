"""Terminal, Markdown, JUnit and benchmark trackers' JSON of a comparison."""

from __future__ import annotations

import io
import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from comparison_records import measured, record, records
from rich.console import Console

from haplobench.compare.compare import compare
from haplobench.compare.exchange import FILES, render
from haplobench.compare.model import TOLD, Comparison
from haplobench.compare.show import change, number, print_comparison, what

NOISE = np.array([0.0005, -0.0008, 0.0002, 0.0007, -0.0004, -0.0006, 0.0004])


def failure() -> dict[str, Any]:
    return record(
        generator="gan", metric="", submetric="", value=None, status="failed", phase="fit",
        error_type="ValueError", error="a | b\n<script>\x00",
    )  # fmt: skip


@pytest.fixture
def comparison() -> Comparison:
    """A regression, an improvement, two unchanged, a failure, a missing and an incomparable."""
    base = [
        *records(0.1 + NOISE),
        *records(0.9 + NOISE, submetric="r"),
        *records(0.02 + NOISE, submetric="bias"),
        *records(100 + NOISE, submetric="pairs"),
        *records(0.1 + NOISE, generator="gone <b>|"),
        *records(0.1 + NOISE, generator="gan"),
        *records([1.0, 1.1], metric="time", submetric="fit_cpu"),
    ]
    head = [
        *records(0.2 - NOISE),
        *records(0.95 - NOISE, submetric="r"),
        *records(0.02 - NOISE, submetric="bias"),
        *records(100 - NOISE, submetric="pairs"),
        failure(),
        *records([2.0, 2.1], metric="time", submetric="fit_cpu"),
    ]
    return compare(measured(base, "main"), measured(head, "HEAD"))


def terminal(comparison: Comparison, width: int = 140, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_comparison(comparison, console, **options)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_shows_the_verdict_first_and_what_changed(comparison: Comparison) -> None:
    text = terminal(comparison)
    assert text.splitlines()[0] == "1 regressed, 1 failed and 1 missing: model, gan, gone <b>|"
    assert "▼ regressed" in text
    assert "▲ improved" in text
    assert "0.100" in text
    assert "+0.1000" in text or "+0.100" in text
    assert "times are ranked from 7 repeats a side on: 2 in base, 2 in head" in " ".join(
        text.split()
    )
    assert "= unchanged" not in text
    assert "= unchanged" in terminal(comparison, everything=True)


def test_eighty_columns_hold_every_number_whole(comparison: Comparison) -> None:
    wide, narrow = (terminal(comparison, width, everything=True) for width in (140, 80))
    assert max(map(len, narrow.splitlines())) <= 80
    assert "…" not in narrow
    for row in comparison.rows:
        if row.status in TOLD:
            for cell in (
                what(row),
                number(row.base, row.unit),
                number(row.head, row.unit),
                *change(row).split(" ["),
            ):
                assert " ".join(cell.split()) in " ".join(narrow.split()), row
                assert cell in wide


def test_markdown_is_safe_and_fits_a_comment(comparison: Comparison) -> None:
    text = render(comparison, "md")
    assert text.startswith("### ❌ haplobench: 1 regressed, 1 failed and 1 missing")
    assert "<script>" not in text
    assert "gone &lt;b&gt;\\|" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for line in rows:
        cells = line.replace("\\|", "").count("|") - 1
        assert cells in (4, 8)
    many = [
        row for k in range(400) for row in records(0.1 + NOISE, labels={"bin": "x" * 90 + str(k)})
    ]
    worse = [{**row, "value": row["value"] + 0.1} for row in many]
    long = render(compare(measured(many), measured(worse)), "md", everything=True)
    assert len(long) < 65_536
    assert "more\n" in long


def test_junit_counts_what_fails(comparison: Comparison) -> None:
    top = ElementTree.fromstring(render(comparison, "junit"))
    counts = {name: int(top.get(name) or -1) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": 7, "failures": 2, "errors": 1, "skipped": 1}
    cases = {f"{case.get('classname')}:{case.get('name')}": case for case in top.iter("testcase")}
    assert len(cases) == 7
    failed = cases["chr20.model:ld/rmse"].find("failure")
    assert failed is not None
    assert "0.1" in (failed.get("message") or "")
    assert cases["chr20.gan:run"].find("error") is not None
    for suite in top.iter("testsuite"):
        assert int(suite.get("tests") or 0) == len(suite.findall("testcase"))


def test_github_action_benchmark_files_hold_one_direction_each(comparison: Comparison) -> None:
    smaller = {item["name"]: item for item in json.loads(render(comparison, "github-smaller"))}
    bigger = {item["name"]: item for item in json.loads(render(comparison, "github-bigger"))}
    assert set(bigger) == {"chr20/model/ld/r"}
    assert set(smaller) == {
        "chr20/model/ld/rmse", "chr20/model/ld/bias", "chr20/model/time/fit_cpu",
    }  # fmt: skip
    assert bigger["chr20/model/ld/r"]["value"] == pytest.approx(0.95, abs=1e-3)
    assert smaller["chr20/model/ld/bias"]["unit"] == "1 from 0"
    for item in [*smaller.values(), *bigger.values()]:
        assert {"name", "unit", "value"} <= set(item)
        assert isinstance(item["value"], float)
        assert isinstance(item["unit"], str)


def test_bencher_metric_format(comparison: Comparison) -> None:
    """Benchmark, measure, then value with optional bounds, as Bencher's JSON Schema has it."""
    found = json.loads(render(comparison, "bencher"))
    assert set(found) == {"chr20/model"}
    assert set(found["chr20/model"]) == {"ld/rmse", "ld/r", "ld/bias", "ld/pairs", "time/fit_cpu"}
    for measure in found["chr20/model"].values():
        assert set(measure) <= {"value", "lower_value", "upper_value"}
        assert measure.get("lower_value", measure["value"]) <= measure["value"]
        assert measure["value"] <= measure.get("upper_value", measure["value"])


def test_what_cant_be_told_is_counted_in_every_form() -> None:
    rng = np.random.default_rng(0)
    base, head = (records(rng.normal(0.5, 0.2, 5)) for _ in range(2))
    blind = compare(measured(base, "main"), measured(head, "HEAD"))
    verdict = "Too little power to find anything: fidelity of model"
    text = terminal(blind)
    assert text.splitlines()[0] == verdict
    assert "1 can't tell" in text
    assert "? can't tell" in text
    assert "note: can't tell 1 of 1 gated numbers" in text
    markdown = render(blind, "md")
    assert markdown.startswith(f"### ⚠️ haplobench: {verdict}\n\n1 can't tell\n")
    top = ElementTree.fromstring(render(blind, "junit"))
    skipped = top.find(".//skipped")
    assert skipped is not None
    assert (skipped.get("message") or "").startswith("can't tell; 0.")
    assert top.get("skipped") == "1"
    found = json.loads(render(blind, "json"))
    assert (found["exit_code"], found["counts"]["can't tell"]) == (3, 1)
    assert found["rows"][0]["detectable"] > 0.1
    (entry,) = json.loads(render(blind, "github-smaller"))
    assert entry["extra"].startswith("can't tell; n=5; detectable=")
    page = render(blind, "html")
    assert 'class="status-cant-tell"' in page
    assert "1 can&#39;t tell" in page
    assert f"{verdict}." in page


def test_json_holds_the_rows(comparison: Comparison) -> None:
    found = json.loads(render(comparison, "json"))
    assert found["exit_code"] == 1
    assert found["counts"]["regressed"] == 1
    assert len(found["rows"]) == len(comparison.rows) == 7


@pytest.mark.parametrize("form", FILES)
def test_every_form_of_an_empty_comparison(form: str) -> None:
    empty = compare(measured([]), measured([]))
    assert empty.exit_code == 3
    assert render(empty, form)
