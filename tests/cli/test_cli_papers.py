"""`bench report` for a paper and `bench site`, as a user calls them."""

from __future__ import annotations

import sys
from pathlib import Path

from cli_checks import Bench, assert_one_clear_error

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from report_fixture import build_run


def test_a_paper_and_a_site_of_a_run(bench: Bench, tmp_path: Path) -> None:
    run = build_run(tmp_path / "results" / "demo" / "one")
    chosen = ("--only", "chain,network", "-m", "ld-decay/rmse", "--width", "8.5cm")
    done = bench("report", run, "--to", tmp_path / "out", "-f", "latex,bib", *chosen)
    assert done.returncode == 0, done.stderr
    paper = tmp_path / "out" / "paper"
    assert done.stdout.splitlines()[0] == str(paper / "references.bib")
    table = (paper / "chr1-fidelity.tex").read_text()
    assert table.count("network") == 1
    assert "patchwork" not in table
    assert r"\newcommand{\hbwidth}{241.85pt}" in table
    refused = bench("report", run, "-f", "bib", "--only", "chian")
    assert_one_clear_error(refused, "'chian'", "did you mean chain?")
    page = tmp_path / "site" / "runs" / "20261121-100000-abc" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("newer than its run")
    site = bench("site", "demo", "--out", tmp_path / "results", "--to", tmp_path / "site")
    assert (site.returncode, site.stdout) == (0, f"{tmp_path / 'site' / 'index.html'}\n"), site
