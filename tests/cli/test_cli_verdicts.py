"""`bench verdict` and `bench leaks`, as a user calls them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli_checks import Bench, assert_one_clear_error

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from leaks_fixture import build_listed


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    return build_listed(tmp_path / "run")


def test_a_verdict_on_all_on_one_and_on_a_page(bench: Bench, listed: Path, tmp_path: Path) -> None:
    every = bench("verdict", listed)
    assert every.returncode == 0, every.stderr
    assert every.stdout.count(" · verdict") == 2
    assert "leaks: can't tell: no attack was run" in every.stdout
    told = json.loads(bench("verdict", listed, "--format", "json").stdout)
    assert len(told["verdicts"]) == 2 * 8
    suite = tmp_path / "mine.yaml"
    suite.write_text("name: mine\ndatasets: [embedded]\nverdict: {faithful: 0.6}\n")
    ruled = bench("verdict", listed, "--suite", suite, "--format", "json", "-g", "chain")
    assert json.loads(ruled.stdout)["rules"]["faithful"] == 0.6
    page = tmp_path / "page.html"
    several = bench("verdict", listed, "-g", "patchwork", "--to", page)
    assert_one_clear_error(several, "one generator and one dataset, here are 2", "-d")
    one = bench("verdict", listed, "-g", "patchwork", "-d", "chr1", "--to", page)
    assert (one.returncode, one.stdout) == (0, f"written: {page}\n")
    assert "Verdict on patchwork, chr1" in page.read_text()
    assert_one_clear_error(bench("verdict", listed, "-g", "chane"), "did you mean chain?")


def test_people_in_every_form(bench: Bench, listed: Path, tmp_path: Path) -> None:
    table = bench("leaks", listed)
    assert table.returncode == 0, table.stderr
    assert "chr20-eur · patchwork: 2 training people" in table.stdout
    (row,) = [line.split() for line in table.stdout.splitlines() if "HG01" in line]
    assert row == ["HG01", "GBR", "both", "haplotypes", "copied", "0.012", "2", "of", "2"]
    assert bench("leaks", listed, "--format", "csv").stdout.count("\n") == 3
    assert len(json.loads(bench("leaks", listed, "--format", "json").stdout)) == 2
    assert bench("leaks", listed, "-g", "chain").stdout == "nobody is named\n"
    assert_one_clear_error(bench("leaks", listed, "-d", "chr1"), "no list of people of chr1")
