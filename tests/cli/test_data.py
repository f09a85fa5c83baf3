"""`bench data info`: what is in a file, whatever its name and its phase."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from haplobench.cli import app

CASES = Path(__file__).parents[1] / "data" / "cases"


def info(*words: str) -> str:
    result = CliRunner().invoke(app, ["data", "info", *words])
    assert result.exit_code == 0, result.output
    return re.sub(r"\s+", " ", result.output)


def test_names_of_files_are_no_yaml(tmp_path: Path) -> None:
    text = (CASES / "split_star.vcf").read_text()
    for name in ("a.vcf #2.vcf", "a: b.vcf", "~.vcf", "[1].vcf"):
        (tmp_path / name).write_text(text)
    (tmp_path / "a.vcf").write_text(text.replace("20\t300", "20\t333"))
    for name in ("a.vcf #2.vcf", "a: b.vcf", "~.vcf", "[1].vcf"):
        assert "20:100-300" in info(str(tmp_path / name))
    assert "20:100-333" in info(str(tmp_path / "a.vcf"))


def test_files_without_phase_are_told_all_the_same() -> None:
    text = info(str(CASES / "ps_real.vcf.gz"))
    assert "80 haplotypes, not phased" in text
    assert "phase 20:1003958, sample R014: another phase set (PS) than before: 40 of 40" in text


def test_alleles_that_are_no_bases_by_option() -> None:
    assert "sites 574" in info(str(CASES / "ts_binary.vcf.gz"), "--set", "snps_only=false")


def test_a_parameter_that_isnt_one_is_told_in_words() -> None:
    path = str(CASES / "split_star.vcf")
    wrong = CliRunner().invoke(app, ["data", "info", path, "--set", "pth=x", "--set", "contig=[1]"])
    text = re.sub(r"\s+", " ", str(wrong.exception))
    assert "pth: unknown key; did you mean path" in text
    assert "contig: expected a valid string, found [1]" in text
