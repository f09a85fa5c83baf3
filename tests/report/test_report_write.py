"""The files of a report: CSV, Markdown, figures, and the entry that writes them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from report_fixture import HOSTILE, Drawn, build_run

from haplobench.errors import BenchError
from haplobench.report.exchange import TIDY, render_tidy, render_wide
from haplobench.report.markdown import render_markdown
from haplobench.report.model import Summary
from haplobench.report.summary import summarise
from haplobench.report.write import ReportPaths, write_report, write_site
from haplobench.results.table import load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("written") / "demo")


@pytest.fixture(scope="module")
def written(run: Path) -> ReportPaths:
    return write_report(run, formats=("html", "md", "csv", "svg", "png"))


def test_tidy_csv_comes_back_the_same(demo: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(render_tidy(demo))))
    assert tuple(rows[0]) == TIDY
    keyed = {
        (r["dataset"], r["generator"], r["metric"], r["submetric"], r["labels"]): r for r in rows
    }
    assert len(keyed) == len(rows)
    n_values = 0
    for dataset in demo.datasets.values():
        for cohort in dataset.cohorts:
            for column in dataset.columns:
                labels = ", ".join(map("=".join, column.labels))
                row = keyed[dataset.label, cohort.label, *column.key[:2], labels]
                cell = dataset.cell(cohort.label, column)
                assert row["state"] == cell.state
                assert row["reason"] == cell.reason
                assert (row["value"] == "") == (cell.value is None)
                if cell.value is not None:
                    n_values += 1
                    assert float(row["value"]) == cell.value  # full precision
    assert n_values > 200
    assert "nan" not in render_tidy(demo).lower().replace("nano", "")


def test_wide_csv_has_a_line_per_dataset_and_generator(demo: Summary) -> None:
    frame = pd.read_csv(io.StringIO(render_wide(demo)))
    assert len(frame) == 2 * 9
    row = frame[(frame["dataset"] == "chr1") & (frame["generator"] == "network")].iloc[0]
    dataset = demo.datasets["chr1"]
    column = next(c for c in dataset.columns if c.key == ("words", "jsd", ()))
    assert row["words.jsd"] == dataset.cell("network", column).value
    assert "frequency.r[superpopulation=EUR]" in frame.columns


def test_csv_survives_hostile_labels(tmp_path: Path) -> None:
    summary = summarise(load_run(build_run(tmp_path / "run", hostile=True)))
    rows = list(csv.DictReader(io.StringIO(render_tidy(summary))))
    assert {row["dataset"] for row in rows} == {HOSTILE, "chr1"}


def test_markdown_tables_are_whole(demo: Summary, drawn: Drawn) -> None:
    text = render_markdown(demo, *drawn)
    lines = text.splitlines()
    tables = [i for i, line in enumerate(lines) if line.startswith("| ---")]
    assert len(tables) == 10  # two leaderboards and three families per dataset
    for at in tables:
        columns = lines[at].count("|")
        row = at - 1
        while lines[row].startswith("|"):
            assert lines[row].count("|") == columns, lines[row]
            row += 1
    assert "![Decay of LD with distance](figures/chr1/ld-decay-curve.svg)" in text
    assert "- a: sites differ" in text
    assert "Not run: broken (failed: ValueError: shapes" in text
    assert "Not drawn: chr1: figure bad of ld-decay" in text
    assert "    bench run suites/demo.yaml --seeds 1,2,3" in text
    assert "\n\n\n" not in text


def test_markdown_escapes_hostile_strings(tmp_path: Path) -> None:
    text = render_markdown(summarise(load_run(build_run(tmp_path / "run", hostile=True))))
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("| &lt;script")]
    assert rows
    assert {line.count("|") for line in rows} <= {9, 6, 5, 10}


def test_writes_all_forms(written: ReportPaths) -> None:
    files = {path.relative_to(written.folder).as_posix() for path in written.folder.rglob("*")}
    names = {"report.html", "report.md", "summary.csv", "summary-wide.csv", "leaderboard.csv"}
    assert names <= files
    assert {f"figures/chr1/leaderboard{free}.svg" for free in ("", "-site-free")} <= files
    assert {f"figures/chr1/ld-decay-curve.{kind}" for kind in ("svg", "png")} <= files
    assert len(written.figures) == 16
    assert len(written.problems) == 4
    assert written.html is not None
    assert written.html.stat().st_size < 2_000_000
    assert not [name for name in files if name.startswith(".") or name.endswith(".tmp")]
    assert set(written) >= {written.html, written.markdown, *written.csv}
    svg = (written.folder / "figures/chr1/ld-decay-curve.svg").read_text()
    assert "data-" not in svg  # only a page has a script to read it
    assert "currentColor" not in svg  # a file of its own has no page to take a colour from


def test_writes_only_what_is_asked(demo_run: Path, tmp_path: Path) -> None:
    paths = write_report(demo_run, tmp_path, ("csv",))
    assert (paths.html, paths.markdown, paths.figures) == (None, None, ())
    assert {path.name for path in tmp_path.iterdir()} == {
        "summary.csv",
        "summary-wide.csv",
        "leaderboard.csv",
    }


def test_goes_into_the_run_folder_by_default(run: Path, written: ReportPaths) -> None:
    assert written.markdown == run / "report" / "report.md"
    for line in written.markdown.read_text().splitlines():
        if line.startswith("!["):
            assert (run / "report" / line.split("](")[1].rstrip(")")).is_file()


def test_unknown_format_is_the_users_mistake(demo_run: Path) -> None:
    with pytest.raises(BenchError, match="no format 'docx'"):
        write_report(demo_run, formats=("docx",))


def test_importing_the_report_is_light() -> None:
    code = (
        "import sys, haplobench.report, haplobench.report.style;"
        "heavy = {'pandas', 'altair', 'jinja2', 'pyarrow', 'vl_convert', 'PIL', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def runs(demo_run: Path, tmp_path: Path) -> list[Path]:
    """The demo, and a run with hostile names."""
    other = build_run(tmp_path / "other", hostile=True)
    info = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(info | {"run_id": "run <2>"}))
    return [demo_run, other]


def test_every_row_of_every_run_leads_to_its_page(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    kept = tmp_path / "site" / "runs" / "20261121-100000-abc" / "report.html"
    kept.parent.mkdir(parents=True)
    kept.write_text("newer than its run")
    index, left_out = write_site([*runs, runs[0], tmp_path / "broken"], tmp_path / "site", "A & B")
    assert len(left_out) == 2
    assert f"the same run as {runs[0]}" in left_out[0]
    page = index.read_text()
    assert "<title>A &amp; B</title>" in page
    assert "2 runs, 3 datasets" in page
    assert page.count('<th scope="row"') == 2 * 2 * 8
    links = set(re.findall(r'href="(runs/[^"]+)"', page))
    assert links == {"runs/20261121-100000-abc/report.html", "runs/run-2/report.html"}
    made = index.parent / "runs" / "run-2" / "report.html"
    assert "Made-up generators compared" in made.read_text()
    assert HOSTILE not in page
    assert str(tmp_path) not in page
    network = next(line for line in page.splitlines() if "network" in line and "chr20" in line)
    assert re.search(r'data-sort="3">3 <span class="spread">of \d', network)
    assert "1.57×" in network
    # A page is written anew only where its run has changed since.
    assert kept.read_text() == "newer than its run"


@pytest.mark.slow
def test_a_page_is_written_anew_where_its_run_changed(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "site" / "runs" / "run-2" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("older than its run")
    os.utime(page, (0, 0))
    write_site(runs[1:], tmp_path / "site", "T")
    assert page.read_text() != "older than its run"


def test_no_run_at_all_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no run can be read"):
        write_site([tmp_path], tmp_path / "site", "T")
    assert not (tmp_path / "site").exists()
