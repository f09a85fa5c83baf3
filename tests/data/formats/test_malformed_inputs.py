"""What is wrong with a file is told in one line that names file, line or record, and cause."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest

from haplobench import BenchError, FormatError, Panel, RecombinationMap
from haplobench.data.consent import PeopleList
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.formats.people import write_labels
from haplobench.data.labels import read_labels
from haplobench.datasets.file import read_sequence

HEADER = """##fileformat=VCFv4.2
##contig=<ID=20,length=63025520>
##contig=<ID=21,length=48129895>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB
"""


def record(
    position: int, *genotypes: str, ref: str = "A", alt: str = "G", contig: str = "20"
) -> str:
    calls = "\t".join(genotypes or ("0|1", "1|1"))
    return f"{contig}\t{position}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t{calls}\n"


def one_line(path: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(BenchError) as caught:
        read_panel(path, options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"a.vcf: not a VCF"),
        ("hello\n", r"a.vcf: not a VCF"),
        (record(5), r"a.vcf: not a VCF"),
        (HEADER.replace("#CHROM", "#CRHOM"), r"a.vcf: not a VCF"),
        (HEADER, r"a.vcf: holds no records"),
        (HEADER.replace("\tFORMAT\tA\tB", ""), "a.vcf: has no samples"),
        (HEADER.replace("A\tB\n", "A\tA\n") + record(5), "a.vcf: "),
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


@pytest.mark.parametrize(
    "name", ["a.vcf", "a.vcf.gz", "a.bcf", "a.bed", "a.pgen", "a.hapt", "a.hapt.gz"]
)
@pytest.mark.parametrize("made", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_never_ends_is_no_file(
    name: str, made: Callable[[Path], object], panel: Panel, tmp_path: Path
) -> None:
    """Whichever of a format's files it stands for, and for tables, maps and sequences beside it."""
    write_panel(panel, tmp_path / name)
    region = ReadOptions(allow_unphased=True, region=f"{panel.contig}:1-")
    for each in sorted(tmp_path.iterdir()):
        each.rename(tmp_path / "away")
        made(each)
        with pytest.raises(FormatError, match=f"{each.name}: found a pipe or a device, expected"):
            read_panel(tmp_path / name, region)
        (tmp_path / "away").replace(each)
    made(tmp_path / "a.tsv")
    for read in (
        read_labels,
        RecombinationMap.read,
        PeopleList.read,
        lambda path: read_sequence(path, panel),
    ):
        with pytest.raises(FormatError, match="a.tsv: found a pipe or a device, expected a file"):
            read(tmp_path / "a.tsv")


def test_people_whose_names_are_no_text(panel: Panel, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / "a.vcf")
    content = (tmp_path / "a.vcf").read_bytes()
    (tmp_path / "a.vcf").write_bytes(content.replace(b"\tFORMAT\tA", b"\tFORMAT\t\xd0("))
    with pytest.raises(FormatError, match="a person's name isn't UTF-8: b'"):
        read_panel(tmp_path / "a.vcf", ReadOptions())


def test_metadata_that_never_end_are_no_zarr(panel: Panel, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / "a.vcz")
    named = (".zgroup", ".zattrs", ".zmetadata", ".zarray", "zarr.json")
    described = [path for path in sorted((tmp_path / "a.vcz").rglob("*")) if path.name in named]
    assert len(described) > 2
    for each in described:
        each.rename(tmp_path / "away")
        os.mkfifo(each)
        with pytest.raises(FormatError, match=f"{each.name}: found a pipe or a device, expected"):
            read_panel(tmp_path / "a.vcz", ReadOptions())
        each.unlink()
        (tmp_path / "away").replace(each)


def test_legends_that_are_none(panel: Panel, tmp_path: Path) -> None:
    hapt, legend = tmp_path / "a.hapt", tmp_path / "a.legend"
    write_panel(panel, hapt)
    text = legend.read_text()
    legend.write_text(text, encoding="utf-16")  # as spreadsheets save it
    assert read_panel(hapt)[0].digest == panel.digest
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


def test_hapt_that_is_no_text(tmp_path: Path) -> None:
    for line in (b"Real \xff_A 0 1\n", b"\xff HG_A 0 1\n"):
        (tmp_path / "a.hapt").write_bytes(line)
        assert "a.hapt:1: its kind or name isn't text" in one_line(tmp_path / "a.hapt")


# --- people ---------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    path = tmp_path / "a.vcf"
    path.write_text(HEADER + record(5))
    return path


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", r"panel.tsv:1: found columns none, expected"),
        ("name\tpop\nA\tGBR\n", r"panel.tsv:1: found columns name, pop, expected"),
        ("sample pop super_pop\n", "panel.tsv: holds no samples"),
        (
            "sample,reason\nA,moved\n",
            "panel.tsv:1: found columns sample, reason, expected sample, pop",
        ),
        ("A\tGBR\nB\tGBR\n", "panel.tsv:1: found columns A, GBR, expected"),
        ("sample\tpop\tsuper_pop\n", "holds no samples"),
        ("sample\tpop\tsuper_pop\nA\tGBR\n", "panel.tsv:2: found 'A.+GBR', expected a sample"),
        ("sample\tpop\tsuper_pop\nA\t\tEUR\n", "panel.tsv:2: "),
        ("sample\tpop\nA\tGBR\nA\tGBR\n", "panel.tsv:3: sample 'A' occurs a second time"),
        ("sample\tpop\nA\tGBR\nC\tGBR\n", "panel.tsv: no line for sample 'B' of .*a.vcf"),
        (
            "sample\tpop\n\xff\tGBR\n".encode("latin-1"),
            r"panel.tsv: can't be read: line 2 .* \(byte 0xff\); save the file as UTF-8",
        ),
    ],
)
def test_population_labels(table: str | bytes, expected: str, pair: Path, tmp_path: Path) -> None:
    path = tmp_path / "panel.tsv"
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(FormatError, match=expected):
        read_panel(pair, ReadOptions(panel_file=path))
    with pytest.raises(FormatError, match="absent.tsv: no such file"):
        read_panel(pair, ReadOptions(panel_file=tmp_path / "absent.tsv"))


def test_people_asked_for(pair: Path, tmp_path: Path) -> None:
    labels = tmp_path / "panel.tsv"
    labels.write_text(
        "sample\tpop\tsuper_pop\tgender\t\t\nA\tGBR\tEUR\tmale\nB\tYRI\tAFR\tmale\nZ\tYRI\tAFR\tmale\n"
    )
    options = ReadOptions(panel_file=labels)
    panel, _ = read_panel(pair, options.model_copy(update={"superpopulations": ("AFR",)}))
    assert panel.samples.tolist() == ["B"]
    assert panel.haplotypes.tolist() == [[1], [1]]
    assert panel.population.tolist() == ["YRI"]
    for update, expected in (
        ({"populations": ("GBS",)}, r"panel.tsv: no population is named 'GBS' \(did you mean GBR"),
        ({"superpopulations": ("EAS",)}, "no superpopulation is named 'EAS'"),
        ({"samples": ("HG1",)}, r"a.vcf: no sample is named 'HG1' \(there are A, B\)"),
        ({"samples": ("Z",)}, "a.vcf: no sample is named 'Z'"),
        ({"samples": ("A",), "populations": ("YRI",)}, "none of its 2 samples"),
    ):
        with pytest.raises(FormatError, match=expected):
            read_panel(pair, options.model_copy(update=update))
    with pytest.raises(FormatError, match="no labels are given.*set panel_file"):
        read_panel(pair, ReadOptions(populations=("GBR",)))


def test_labels_round_trip(pair: Path, tmp_path: Path) -> None:
    panel, _ = read_panel(pair)
    with pytest.raises(FormatError, match="without a population label"):
        write_labels(panel, tmp_path / "out.tsv")
    labelled = panel.with_haplotypes(
        panel.haplotypes, samples=panel.samples, population=["X", "Y"], superpopulation=["S", "S"]
    )
    write_labels(labelled, tmp_path / "out.tsv")
    again, _ = read_panel(pair, ReadOptions(panel_file=tmp_path / "out.tsv"))
    assert again.digest == labelled.digest
    assert list(read_labels(tmp_path / "out.tsv")) == ["A", "B"]


@pytest.mark.parametrize(
    "options",
    [
        {"region": "20:5-1"},
        {"region": "20:a-b"},
        {"region": "20:0-5"},
        {"max_missing": 2},
        {"allow_unphased": True, "skip_unphased": True},
        {"contig": "1", "region": "20:1-5"},
        {"regions": "20"},
    ],
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ReadOptions.model_validate(options)


# --- other formats --------------------------------------------------------------------------


@pytest.fixture
def panel() -> Panel:
    rng = np.random.default_rng(2)
    return Panel(
        haplotypes=rng.integers(0, 2, (10, 6)).astype(np.int8),
        positions=np.arange(10, 70, 10),
        contig="20",
        samples=np.array(list("ABCDE")),
        ref=np.full(6, "A"),
        alt=np.full(6, "C"),
    )


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


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
    harm: Callable[[Path], object], expected: str, panel: Panel, tmp_path: Path
) -> None:
    write_panel(panel, tmp_path / "a.bed")
    fam = tmp_path / "a.fam"
    fam.write_text(fam.read_text().replace("\t", " "))
    harm(tmp_path)
    with pytest.raises(FormatError, match=expected):
        read_panel(tmp_path / "a.bed")
    one_line(tmp_path / "a.bed")


def test_plink1_alleles_that_nobody_carries(panel: Panel, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / "a.bed")
    swap(tmp_path / "a.bim", "\tC\tA\n", "\t0\tA\n")
    found, skipped = read_panel(tmp_path / "a.bed")
    assert found.positions.tolist() == [20, 30, 40, 50, 60]
    assert skipped == {"no alternate allele": 1}


@pytest.mark.parametrize("code", [".", "0"])
def test_plink2_alternates_that_are_not_known(code: str, panel: Panel, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / "a.pgen")
    swap(tmp_path / "a.pvar", "20\t30\t.\tA\tC\n", f"20\t30\t.\tA\t{code}\n")
    found, skipped = read_panel(tmp_path / "a.pgen", ReadOptions(snps_only=False))
    assert found.positions.tolist() == [10, 20, 40, 50, 60]
    assert skipped == {"no alternate allele": 1}


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
    harm: Callable[[Path], object], expected: str, panel: Panel, tmp_path: Path
) -> None:
    write_panel(panel, tmp_path / "a.pgen")
    harm(tmp_path)
    with pytest.raises(FormatError, match=expected):
        read_panel(tmp_path / "a.pgen")
    one_line(tmp_path / "a.pgen")


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda z: (z / ".zgroup").unlink(), "a.vcz: not a Zarr group"),
        (
            lambda z: (z / "variant_position").rename(z / "elsewhere"),
            "a.vcz: not a VCF Zarr: lacks the arrays variant_position",
        ),
        (
            lambda z: (z / "call_genotype" / "0.0.0").write_bytes(b"junk"),
            "a.vcz/call_genotype/0.0.0: 4 bytes, and Blosc's header tells of more",
        ),
        (
            lambda z: (z / "call_genotype" / "0.0.0").write_bytes(bytes(16)),
            "a.vcz: array call_genotype, rows 0 to 6: can't be read",
        ),
        (
            lambda z: swap(z / "variant_contig" / ".zarray", "6", "5"),
            r"a.vcz: array variant_contig has shape \(5,\), expected",
        ),
    ],
)
def test_vcz(harm: Callable[[Path], object], expected: str, panel: Panel, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / "a.vcz")
    harm(tmp_path / "a.vcz")
    with pytest.raises(FormatError, match=expected):
        read_panel(tmp_path / "a.vcz")
    one_line(tmp_path / "a.vcz")


def test_vcz_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.vcz").write_text("x")
    assert "found a file, expected a folder" in one_line(tmp_path / "a.vcz")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a.hapt: holds no haplotypes"),
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


def test_hapt_cut_short(tmp_path: Path, panel: Panel) -> None:
    write_panel(panel, tmp_path / "a.hapt.gz")
    data = (tmp_path / "a.hapt.gz").read_bytes()
    (tmp_path / "a.hapt.gz").write_bytes(data[:-9])
    assert "damaged or cut short" in one_line(tmp_path / "a.hapt.gz")
