"""A leaderboard of many runs: an index and a page for each, in a folder that can be moved."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from report_fixture import HOSTILE, build_run

from haplobench.errors import BenchError
from haplobench.report.write import write_site


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
