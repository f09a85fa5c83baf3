"""What is wrong with PLINK 1's files is told by file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from malformed_files import one_line, swap

from haplobench import FormatError, Panel
from haplobench.data.formats import read_panel, write_panel
from haplobench.testing import example_panel


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda p: (p / "a.bim").unlink(), "a.bim: no such file"),
        (lambda p: (p / "a.fam").unlink(), "a.fam: no such file"),
        (lambda p: swap(p / "a.bim", "\t30\t", "\tx\t"), "a.bim:3: found position 'x'"),
        (lambda p: swap(p / "a.bim", "\tC\tA\n", "\tC\n"), "a.bim:1: found .*expected 6 columns"),
        (lambda p: swap(p / "a.fam", "0 C 0", "0 C").__class__, "a.fam:3: found"),
        (
            lambda p: (p / "a.bed").write_bytes(b"junk"),
            "a.bed: starts with 6a756e, expected 6c1b01",
        ),
        (
            lambda p: (p / "a.bed").write_bytes((p / "a.bed").read_bytes()[:-1]),
            r"a.bed: 14 bytes, expected 15 for 5 people of the .fam and 6 sites of the .bim",
        ),
        (lambda p: swap(p / "a.bim", "\t30\t", "\t5\t"), "position 20:5 comes after 20:20"),
        (lambda p: (p / "a.bim").write_bytes(b"\xff\xfe\x00"), "a.bim: not a text file"),
    ],
)
def test_plink1(
    harm: Callable[[Path], object], expected: str, small_panel: Panel, tmp_path: Path
) -> None:
    write_panel(small_panel, tmp_path / "a.bed")
    fam = tmp_path / "a.fam"
    fam.write_text(fam.read_text().replace("\t", " "))
    harm(tmp_path)
    with pytest.raises(FormatError, match=expected):
        read_panel(tmp_path / "a.bed")
    one_line(tmp_path / "a.bed")


def test_a_fam_that_lacks_people_of_the_bed(tmp_path: Path) -> None:
    panel = example_panel(7, n_sites=30)  # six people have as many bytes
    write_panel(panel, tmp_path / "a.bed")
    assert read_panel(tmp_path / "a.bed")[0].n_samples == 7
    fam = tmp_path / "a.fam"
    fam.write_text("".join(fam.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(FormatError, match=r"a.bed: has genotypes of more than the 6 people of the"):
        read_panel(tmp_path / "a.bed")


def test_plink1_alleles_that_nobody_carries(small_panel: Panel, tmp_path: Path) -> None:
    write_panel(small_panel, tmp_path / "a.bed")
    swap(tmp_path / "a.bim", "\tC\tA\n", "\t0\tA\n")
    found, skipped = read_panel(tmp_path / "a.bed")
    assert found.positions.tolist() == [20, 30, 40, 50, 60]
    assert skipped == {"no alternate allele": 1}
