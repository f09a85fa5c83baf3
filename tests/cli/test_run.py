"""`bench evaluate` reads files as they come: without phase, or without bases."""

from __future__ import annotations

from pathlib import Path

import pytest

from haplobench.cli.run import _read
from haplobench.data.formats import ReadOptions
from haplobench.errors import FormatError

HEAD = (
    "##fileformat=VCFv4.2\n##contig=<ID=20>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT"
)


def vcf(path: Path, *lines: str) -> Path:
    body = [f"20\t{line.split()[0]}\t.\t" + "\t".join(line.split()[1:]) for line in lines]
    path.write_text("\n".join([f"{HEAD}\ta\tb", *body]) + "\n")
    return path


def test_unphased_genotypes_are_placed_and_can_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = vcf(
        tmp_path / "x.vcf",
        "100 A C . PASS . GT 0|1 1|1",
        "200 A C . PASS . GT 0|1 0/1",
        "300 A C . PASS . GT 0/0 1|1",
        "400 A C . PASS . GT 1/0 0/1",
    )
    panel, _ = _read(path, ReadOptions(), tmp_path / "one")
    assert (panel.n_sites, panel.phased) == (4, False)
    said = " ".join(capsys.readouterr().out.split())
    assert "20:200, sample b: the heterozygous genotype is unphased, as are 2 more, at 2" in said
    assert "--skip-unphased leaves out such sites" in said
    panel, skipped = _read(path, ReadOptions(skip_unphased=True), tmp_path / "two")
    assert (panel.positions.tolist(), panel.phased) == ([100, 300], True)
    assert skipped == {"unphased": 2}
    assert capsys.readouterr().out == ""


def test_alleles_without_bases_name_the_option_of_this_command(tmp_path: Path) -> None:
    path = vcf(tmp_path / "x.vcf", "100 0 1 . PASS . GT 0|1 1|1")
    with pytest.raises(FormatError, match="with --no-snps-only they are read as they are"):
        _read(path, ReadOptions(), tmp_path / "one")
    panel, _ = _read(path, ReadOptions(snps_only=False), tmp_path / "two")
    assert panel.n_sites == 1
