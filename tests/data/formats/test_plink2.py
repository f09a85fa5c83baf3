"""What is wrong with PLINK 2's files is told by file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from malformed_files import one_line, swap

from haplobench import FormatError, Panel
from haplobench.data.formats import ReadOptions, read_panel, write_panel


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda p: (p / "a.pvar").unlink(), r"a.pvar: no such file \(a .pgen needs"),
        (lambda p: (p / "a.psam").unlink(), "a.psam: no such file"),
        (
            lambda p: swap(p / "a.pvar", "\t30\t", "\tx\t"),
            "a.pvar:5: found position 'x', expected bp",
        ),
        (lambda p: swap(p / "a.pvar", "\tA\tC", ""), "a.pvar:3: found .* expected 5 columns"),
        (lambda p: swap(p / "a.psam", "C\tNA", "C"), "a.psam:4: found 'C', expected 2 columns"),
        (lambda p: swap(p / "a.psam", "C\tNA\n", ""), "a.pgen: "),
        (lambda p: swap(p / "a.pvar", "20\t60\t.\tA\tC\n", ""), "a.pgen: "),
        (lambda p: swap(p / "a.pvar", "#CHROM\tPOS", "#CHR\tPOS"), "a.pvar:2: found '#CHR POS"),
        (lambda p: (p / "a.pvar").rename(p / "a.pvar.zst"), "a.pvar.zst: damaged"),
        (lambda p: (p / "a.pgen").write_bytes(b"junk"), "a.pgen: "),
        (
            lambda p: (p / "a.pgen").write_bytes((p / "a.pgen").read_bytes()[:-8]),
            "a.pgen: ",
        ),
    ],
)
def test_plink2(
    harm: Callable[[Path], object], expected: str, small_panel: Panel, tmp_path: Path
) -> None:
    write_panel(small_panel, tmp_path / "a.pgen")
    harm(tmp_path)
    with pytest.raises(FormatError, match=expected):
        read_panel(tmp_path / "a.pgen")
    one_line(tmp_path / "a.pgen")


@pytest.mark.parametrize("code", [".", "0"])
def test_plink2_alternates_that_are_not_known(
    code: str, small_panel: Panel, tmp_path: Path
) -> None:
    write_panel(small_panel, tmp_path / "a.pgen")
    swap(tmp_path / "a.pvar", "20\t30\t.\tA\tC\n", f"20\t30\t.\tA\t{code}\n")
    found, skipped = read_panel(tmp_path / "a.pgen", ReadOptions(snps_only=False))
    assert found.positions.tolist() == [10, 20, 40, 50, 60]
    assert skipped == {"no alternate allele": 1}
