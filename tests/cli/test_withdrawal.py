"""Lists of people who withdrew, given to the commands that read files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_checks import Bench, assert_one_clear_error

from haplobench import Panel
from haplobench.data.formats import read_panel, write_panel
from haplobench.testing import example_panel


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    """Sixty people, P000 to P059, in panel.vcf.gz."""
    made = example_panel(60, n_sites=40)
    made = made.with_haplotypes(
        made.haplotypes,
        samples=[f"P{i:03}" for i in range(60)],
        population=made.population,
        superpopulation=made.superpopulation,
    )
    write_panel(made, tmp_path / "panel.vcf.gz")
    return made


def test_data(bench: Bench, panel: Panel, tmp_path: Path) -> None:
    (tmp_path / "left.csv").write_bytes(b"\xef\xbb\xbfP000;\r\nP001;\r\n")
    info = bench("data", "info", "panel.vcf.gz", "--withdrawn", "left.csv")
    assert info.returncode == 0, info.stderr
    assert "58 (116 haplotypes" in info.stdout
    assert "2 of 2 withdrawn people left out" in info.stdout
    command = ("data", "get", "file", "--set", "path=panel.vcf.gz", "--to", "out.vcf.gz")
    got = bench(*command, "--withdrawn", "left.csv")
    assert got.stdout.rstrip().endswith("2 of 2 withdrawn people left out")
    assert read_panel(tmp_path / "out.vcf.gz")[0].samples.tolist() == panel.samples[2:].tolist()
    (tmp_path / "left.csv").write_text("p000\nP001\n")
    refused = bench(*command, "--withdrawn", "left.csv")
    assert_one_clear_error(refused, "--withdrawn: left.csv", "line 1 'p000'", "1 of 2")
    allowed = bench(*command, "--withdrawn", "left.csv", "--allow-unknown")
    assert "1 of 2 withdrawn people left out; 1 match nobody in the panel" in allowed.stdout


def test_evaluate(bench: Bench, panel: Panel, tmp_path: Path) -> None:
    """Out of real and training people alike, each name in one of them."""
    for name, people in (("real", range(20)), ("train", range(20, 60))):
        write_panel(panel.select_samples(list(people)), tmp_path / f"{name}.vcf.gz")
    cohort = panel.with_haplotypes(
        panel.haplotypes[:40], samples=[f"synthetic{i}" for i in range(20)]
    )
    write_panel(cohort, tmp_path / "mine.vcf.gz")
    (tmp_path / "left.txt").write_text("F1 P000\nF2 P059\n")
    files = ("--real", "real.vcf.gz", "--train", "train.vcf.gz", "--synthetic", "mine.vcf.gz")
    command = ("evaluate", *files, "--metric", "allele-frequency", "--withdrawn", "left.txt")
    done = bench(*command)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 withdrawn people left out" in done.stdout
    (run,) = (tmp_path / "results").rglob("run.json")
    facts = json.loads(run.read_text())["datasets"]["real.vcf.gz"]
    assert facts["withdrawn"] == {"listed": 2, "left_out": 2, "unknown": 0, "repeated": 0}
    assert (facts["n_holdout_haplotypes"], facts["n_train_haplotypes"]) == (38, 78)
    (tmp_path / "left.txt").write_text("P000\nP060\n")
    assert_one_clear_error(bench(*command), "--withdrawn: left.txt", "line 2 'P060'")
