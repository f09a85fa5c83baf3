"""VCF: what a header says beside its records, and what is wrong with a file, told in one line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest
from malformed_files import HEADER, one_line, record

from haplobench import FormatError, Panel
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.formats.vcf import stated_build


@pytest.mark.parametrize(
    ("lines", "build"),
    [
        ("##contig=<ID=20,assembly=b37,length=5>", "GRCh37"),
        ("##contig=<ID=20,length=64444167>", "GRCh38"),
        ("##reference=file:///data/37/hg38.fa\n##contig=<ID=20>", "GRCh38"),
        ("##contig=<ID=19,assembly=b37>\n##contig=<ID=20>", ""),
    ],
)
def test_the_build_that_a_header_states(lines: str, build: str, tmp_path: Path) -> None:
    path = tmp_path / "x.vcf"
    columns = "\t".join(("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"))
    path.write_text(
        f"##fileformat=VCFv4.2\n{lines}\n{columns}\n20\t5\t.\tA\tC\t.\t.\t.\n", encoding="utf-8"
    )
    assert stated_build(path, "20") == build


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"a.vcf: not a VCF"),
        ("hello\n", r"a.vcf: not a VCF"),
        (record(5), r"a.vcf: not a VCF"),
        (HEADER.replace("#CHROM", "#CRHOM"), r"a.vcf: not a VCF"),
        (HEADER, r"a.vcf: holds no records"),
        (HEADER.replace("\tFORMAT\tA\tB", ""), "a.vcf: has no samples"),
        (HEADER.replace("A\tB\n", "A\tA\n") + record(5), "2 samples are named 'A' .*reheader"),
        ((HEADER + record(5)).replace("\t", " "), "the #CHROM line has no tabs"),
        ("\ufeff" + HEADER + record(5), "starts with a byte order mark .*remove it"),
        (HEADER + record(5) + record(0).replace("\t0\t", "\tx\t"), "record 2, after 20:5: malf"),
        (HEADER + record(5) + "20\t9\t.\tA\n", "record 2, after 20:5: malformed"),
        (HEADER + record(5) + record(9, "0|1"), "record 2, after 20:5: malformed"),
        (HEADER + record(5) + record(9, "0|x", "0|0"), "record 2, after 20:5: malformed"),
        (HEADER + record(5).replace("GT", "DP"), r"record 1 \(20:5\): no GT field"),
        (HEADER + record(0), "position 20:0, expected 1-based bp"),
        (HEADER + record(9) + record(5), "position 20:5 comes after 20:9.*sort the file"),
        (HEADER + record(5, "0/1", "0|0"), "20:5, sample A: the heterozygous genotype is unphased"),
        (HEADER + record(5, "0|2", "0|0"), "20:5, sample A: allele 2, but the record has one"),
        (HEADER + record(5, "0|65537", "0|0"), "20:5, sample A: allele 65537, but the record has"),
        (HEADER + record(5, "0|0", "131072|0"), "20:5, sample B: allele 131072, but"),
        (HEADER + record(5, "0|65535", "0|0"), "20:5, sample A: allele 65535, but"),
        (HEADER + record(5, "0|1", "0"), "20:5, sample B: ploidy 1, expected 2"),
        (HEADER + record(5) + record(9, "0", "1"), "20:9, sample A: ploidy 1, expected 2"),
        (HEADER + record(5, "0", "1") + record(9), "20:9, sample A: ploidy 2, expected 1"),
        (HEADER + record(5) + record(9, contig="21"), r"several contigs \(20, 21, …\)"),
        (HEADER + record(5, alt="G,T"), "no site to read; skipped: 1 multi-allelic"),
        (HEADER + record(5, "./.", "0|0"), "skipped: 1 missing above threshold"),
        (HEADER + record(5, ".", "."), "skipped: 1 missing above threshold"),
        (
            HEADER + record(5, ref="0", alt="1"),
            r"skipped: 1 alleles that aren't bases \(first at 5\) \(with snps_only: false",
        ),
        (HEADER + record(5, ref="a", alt="A"), "skipped: 1 no alternate allele"),
    ],
)
def test_vcf(text: str, expected: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.vcf"
    path.write_text(text)
    with pytest.raises(FormatError, match=expected):
        read_panel(path)
    assert str(path) in one_line(path)
    assert capfd.readouterr().err == ""  # htslib says nothing of its own


def test_vcf_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    good = (HEADER + record(5)).encode()
    for bad in (record(7).replace("\tA\t", "\t\xc1\t"), record(7).replace("\tG\t", "\t\xc1\t")):
        path.write_bytes(good + bad.encode("latin-1"))
        assert "record 2 (20:7): its alleles aren't text" in one_line(path)


def test_vcf_kinds_of_records_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    records = [
        record(5),
        record(6, alt="G,T"),
        record(7, alt="<DEL>"),
        record(8, alt="A[21:99["),
        record(9, ref="AC", alt="A"),
        record(10, alt="*"),
        record(11, ref="AC", alt="GT"),
        record(12, alt="."),
        record(13),
        record(13, alt="T"),
        record(14, "0/0", "1/1"),
        record(15, ".|1", "0|0"),
        record(16, alt="<CN0>,<CN2>"),
    ]
    path.write_text(HEADER + "".join(records))
    panel, skipped = read_panel(path)
    assert panel.positions.tolist() == [5, 14]
    assert panel.phased  # homozygous genotypes need no phase
    assert skipped == {
        "duplicate position": 2,
        "indel": 2,
        "missing above threshold": 1,
        "multi-allelic": 2,
        "multi-nucleotide": 1,
        "no alternate allele": 1,
        "structural variant": 2,
    }
    panel, skipped = read_panel(path, ReadOptions(snps_only=False, max_missing=0.25))
    assert panel.positions.tolist() == [5, 7, 8, 9, 10, 11, 14, 15]
    assert panel.haplotypes[:, -1].tolist() == [-1, 1, 0, 0]
    assert skipped == {"duplicate position": 2, "multi-allelic": 2, "no alternate allele": 1}


@pytest.mark.parametrize(("name", "left_out"), [("multi", "multi-allelic"), ("star", "indel")])
def test_split_sites_whose_other_record_is_no_snp(name: str, left_out: str) -> None:
    path = Path(__file__).parents[1] / "cases" / f"split_{name}.vcf"
    panel, skipped = read_panel(path)
    assert panel.positions.tolist() == [100, 300]
    assert skipped == {"duplicate position": 1, left_out: 1}


@pytest.mark.parametrize(
    ("ref", "alt", "rival"),
    [
        ("A", "T", True),
        ("A", "*", True),
        ("A", "T,*", True),
        ("A", "TT", True),
        ("AC", "TC", True),
        ("AC", "T", True),
        ("A", "AT", False),  # the base at the position stays
        ("AT", "A", False),
        ("AT", "ATT,A", False),
        ("A", "<DEL>", False),
        ("A", "A[21:9[", False),
        ("A", ".", False),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_records_beside_a_snp(ref: str, alt: str, rival: bool, first: bool, tmp_path: Path) -> None:
    pair = [record(9), record(9, "0|1", "0|0", ref=ref, alt=alt)]
    path = tmp_path / "a.vcf"
    path.write_text(HEADER + record(5) + "".join(pair if first else pair[::-1]) + record(11))
    panel, _ = read_panel(path)
    assert panel.positions.tolist() == ([5, 11] if rival else [5, 9, 11])


def test_alleles_in_lower_case_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.vcf").write_text(HEADER + record(5, ref="a", alt="g") + record(7, alt="t"))
    (tmp_path / "b.vcf").write_text(HEADER + record(5) + record(7, alt="T"))
    assert read_panel(tmp_path / "a.vcf")[0].digest == read_panel(tmp_path / "b.vcf")[0].digest


def test_alleles_that_are_no_bases_are_named_and_can_be_read() -> None:
    path = Path(__file__).parents[1] / "cases" / "ts_binary.vcf.gz"
    with pytest.raises(FormatError, match="574 alleles that aren't bases"):
        read_panel(path)
    panel, skipped = read_panel(path, ReadOptions(snps_only=False))
    assert (panel.n_sites, skipped) == (574, {})
    assert set(panel.alt) == {"1"}


def test_vcf_unphased_by_option(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    path.write_text(HEADER + record(5, "1/0", "1|0") + record(6))
    panel, skipped = read_panel(path, ReadOptions(allow_unphased=True))
    assert panel.haplotypes[:, 0].tolist() == [0, 1, 1, 0]  # the phased one stays
    assert not panel.phased
    panel, skipped = read_panel(path, ReadOptions(skip_unphased=True))
    assert (panel.positions.tolist(), skipped, panel.phased) == ([6], {"unphased": 1}, True)


@pytest.mark.parametrize("indexed", [True, False])
def test_contigs(indexed: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.vcf.gz"
    with pysam.BGZFile(str(path), "wb") as out:
        out.write((HEADER + record(5) + record(9) + record(9, contig="21")).encode())
    if indexed:
        pysam.tabix_index(str(path), preset="vcf")
    assert "no contig '22'; it holds 20, 21" in one_line(path, ReadOptions(region="22:1-9"))
    assert "no contig 'chrX'; it holds 20, 21" in one_line(path, ReadOptions(contig="chrX"))
    assert "no site to read in 20:100-200" in one_line(path, ReadOptions(region="20:100-200"))
    panel, _ = read_panel(path, ReadOptions(region="chr20:6-"))
    assert (panel.contig, panel.positions.tolist()) == ("20", [9])
    assert read_panel(path, ReadOptions(contig="21"))[0].contig == "21"
    assert read_panel(path, ReadOptions(region="NC_000021.8"))[0].contig == "21"


def test_contig_23_is_x_where_there_are_22_autosomes(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    head = HEADER.replace("ID=21,", "ID=23,")
    path.write_text(head + record(5) + record(5, contig="23"))
    assert read_panel(path, ReadOptions(contig="chrX"))[0].contig == "23"
    path.write_text(path.read_text() + record(5, contig="27"))
    assert "no contig 'chrX'; it holds 20, 23, 27" in one_line(path, ReadOptions(contig="chrX"))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data[:-28], "cut short: the BGZF end marker is missing"),
        (lambda data: data[: len(data) // 2], "cut short: the BGZF end marker is missing"),
        (
            lambda data: data[:9_000] + bytes([data[9_000] ^ 255]) + data[9_001:],
            r"record \d+, after 20:\d+: malformed, damaged",
        ),
        (lambda data: gzip.compress(gzip.decompress(data))[:-20], "damaged or cut short after"),
        (lambda data: gzip.compress(gzip.decompress(data))[:2_000], "damaged or cut short after"),
        (
            lambda data: gzip.compress(gzip.decompress(data))[:-6] + bytes(6),
            "damaged or cut short after .*CRC",
        ),
        (lambda data: b"\x1f\x8b" + data[:100], "damaged or cut short|not a VCF"),
    ],
)
def test_damaged_compression(
    damage: Callable[[bytes], bytes], expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.vcf.gz"
    rng = np.random.default_rng(1)
    alleles = rng.integers(0, 2, (3_000, 4))
    with pysam.BGZFile(str(path), "wb") as out:
        out.write(HEADER.encode())
        for i, (a, b, c, d) in enumerate(alleles, 1):
            out.write(record(i, f"{a}|{b}", f"{c}|{d}").encode())
    assert read_panel(path)[0].n_sites == 3_000
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError, match=expected):
        read_panel(path)
    one_line(path)


def test_plain_gzip_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf.gz"
    path.write_bytes(gzip.compress((HEADER + record(5)).encode()))
    assert read_panel(path)[0].n_sites == 1


def test_damaged_index(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf.gz"
    with pysam.BGZFile(str(path), "wb") as out:
        out.write((HEADER + record(5)).encode())
    path.with_name("a.vcf.gz.tbi").write_bytes(b"junk")
    assert "index" in one_line(path, ReadOptions(region="20:1-9"))


def test_bcf_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.bcf").write_bytes(b"\0\1junk")
    assert "a.bcf: not a VCF or BCF" in one_line(tmp_path / "a.bcf")
    (tmp_path / "b.vcf").mkdir()
    assert "found a folder, expected a file" in one_line(tmp_path / "b.vcf")


def test_people_whose_names_are_no_text(small_panel: Panel, tmp_path: Path) -> None:
    write_panel(small_panel, tmp_path / "a.vcf")
    content = (tmp_path / "a.vcf").read_bytes()
    (tmp_path / "a.vcf").write_bytes(content.replace(b"\tFORMAT\tA", b"\tFORMAT\t\xd0("))
    with pytest.raises(FormatError, match="a person's name isn't UTF-8: b'"):
        read_panel(tmp_path / "a.vcf", ReadOptions())
