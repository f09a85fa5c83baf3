"""What is wrong with a .hapt or its legend is told by file and line; what is published is read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from malformed_files import one_line

from haplobench import FormatError, Panel
from haplobench.data.formats import ReadOptions, read_panel, write_panel


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a.hapt: holds no haplotypes"),
        ("HG1_A 0 1 1\nHG1_B 1 0 0\n", "a.hapt: its second column holds alleles, expected names"),
        ("Real HG1_A\n", "a.hapt:1: found 'Real HG1_A', expected a kind, a name and alleles"),
        ("Real HG1_A 0 1\nReal HG1_B 0\n", "a.hapt:2: 1 alleles, expected 2"),
        ("Real HG1_A 0 2\nReal HG1_B 0 1\n", "a.hapt:1: allele 2 is '2', expected 0, 1 or ."),
        ("Real HG1_A 0 01\nReal HG1_B 0 1\n", "a.hapt:1: allele 2 is '01'"),
        ("Real HG1_A 0 1\nReal HG2_A 0 1\n", "haplotypes HG1_A and HG2_A follow each other"),
        ("Real HG1_A 0 1\n", r"odd number of haplotypes \(1\), named as pairs"),
    ],
)
def test_hapt(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "a.hapt"
    path.write_text(text)
    with pytest.raises(FormatError, match=expected):
        read_panel(path)
    one_line(path)


def test_hapt_that_is_no_text(tmp_path: Path) -> None:
    for line in (b"Real \xff_A 0 1\n", b"\xff HG_A 0 1\n"):
        (tmp_path / "a.hapt").write_bytes(line)
        assert "a.hapt:1: its kind or name isn't text" in one_line(tmp_path / "a.hapt")


def test_legends_that_are_none(small_panel: Panel, tmp_path: Path) -> None:
    hapt, legend = tmp_path / "a.hapt", tmp_path / "a.legend"
    write_panel(small_panel, hapt)
    text = legend.read_text()
    legend.write_text(text, encoding="utf-16")  # as spreadsheets save it
    assert read_panel(hapt)[0].digest == small_panel.digest
    legend.write_bytes(text.encode().replace(b"A C", b"A \xff"))
    assert "a.legend: can't be read: line 2 isn't UTF-8" in one_line(hapt)
    legend.unlink()
    legend.mkdir()
    assert "a.legend: found a folder, expected a file" in one_line(hapt)
    legend.rmdir()
    (tmp_path / "a.legend.gz").write_text(text)
    assert "a.legend.gz: can't be read: Not a gzipped file" in one_line(hapt)
    (tmp_path / "a.legend.gz").write_bytes(gzip.compress(text.encode())[:-9])
    assert "a.legend.gz: can't be read: Compressed file ended" in one_line(hapt)


def test_hapt_as_published(tmp_path: Path) -> None:
    path = tmp_path / "a.hapt"
    path.write_text("Real HG1_A 0  1\t1\nReal HG1_B 0 0 1 \nReal HG2_A 1 0 1\nReal HG2_B 1 1 1\n")
    panel, _ = read_panel(path)
    assert panel.samples.tolist() == ["HG1", "HG2"]
    assert panel.haplotypes.tolist() == [[0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 1, 1]]
    assert panel.positions.tolist() == [1, 2, 3]
    assert panel.ref.tolist() == ["N"] * 3
    assert not panel.labelled
    assert "put a.legend beside it" in one_line(path, ReadOptions(region="20:1-2"))
    legend = tmp_path / "a.legend"
    legend.write_text("id position a0 a1\nrs1 100 A C\nrs2 200 G T\nrs3 300 AT A\n")
    panel, skipped = read_panel(path, ReadOptions(region="15:150-"))
    assert (panel.contig, panel.positions.tolist()) == ("15", [200])
    assert skipped == {"indel": 1}
    ids = ["15:100_A_C", "chr15:200:G:T", "15-300-AT-A"]
    rows = zip(ids, ("100 a c", "200 G T", "300 AT A"), strict=True)
    legend.write_text("id position a0 a1\n" + "".join(f"{a} {b}\n" for a, b in rows))
    assert "holds several contigs (15, chr15)" in one_line(path)
    legend.write_text(legend.read_text().replace("chr15", "15"))
    panel, _ = read_panel(path)
    assert (panel.contig, panel.positions.tolist()) == ("15", [100, 200])
    assert panel.ref.tolist() == ["A", "G"]
    legend.write_text("id position a0 a1\nrs1 100 A C\n")
    assert "a.legend: 1 sites, expected 3 as in a.hapt" in one_line(path)
    legend.write_text("id position a0 a1\nrs1 x A C\n")
    assert "a.legend:2: found 'rs1 x A C', expected id position a0 a1" in one_line(path)


def test_hapt_artificial_genomes_pair_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.hapt"
    path.write_text("AG AG0 0 1\nAG AG1 1 1\nAG AG2 0 0\nAG AG3 1 0\n")
    panel, _ = read_panel(path)
    assert (panel.samples.tolist(), panel.ploidy) == (["AG0", "AG2"], 2)


def test_hapt_cut_short(tmp_path: Path, small_panel: Panel) -> None:
    write_panel(small_panel, tmp_path / "a.hapt.gz")
    data = (tmp_path / "a.hapt.gz").read_bytes()
    (tmp_path / "a.hapt.gz").write_bytes(data[:-9])
    assert "damaged or cut short" in one_line(tmp_path / "a.hapt.gz")
