"""Whether a file's haplotypes are known: phase sets, phase marks, single unphased genotypes."""

from __future__ import annotations

from pathlib import Path

import pysam
import pytest

from haplobench import FormatError
from haplobench.data.formats import ReadOptions, read_panel
from haplobench.errors import UnphasedError

CASES = Path(__file__).parents[1] / "cases"
ANY = ReadOptions(allow_unphased=True)


def write(path: Path, *records: str, version: str = "4.2", declared: str = "Integer") -> Path:
    """A VCF of people A and B, a record per position from 5 on: `GT:PS` each, or `GT`."""
    head = [
        f"##fileformat=VCFv{version}",
        "##contig=<ID=20>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        f'##FORMAT=<ID=PS,Number=1,Type={declared},Description="Phase set">',
        "#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT A B".replace(" ", "\t"),
    ]
    if not declared:
        del head[3]
    body = [
        f"20\t{i}\t.\tA\tC\t.\t.\t.\t{'GT:PS' if ':' in calls else 'GT'}\t"
        + calls.replace(" ", "\t")
        for i, calls in enumerate(records, 5)
    ]
    path.write_text("\n".join(head + body) + "\n")
    return path


@pytest.mark.parametrize("declared", ["Integer", "String", ""])
@pytest.mark.parametrize(
    ("records", "first"),
    [
        (["0|1:5 0|1:5", "0|1:5 1|0:5"], ""),
        (["0|1:5 0|1:7", "0|1:5 1|0:7"], ""),  # one block each
        (["0|1:5 0|1:5", "0|1:5 1|0:6"], "20:6, sample B"),
        (["0|1:5 0|1:5", "0|1:5 1|1:6"], ""),  # homozygous: in any block
        (["0|1:5 0|1:5", "0|1:. 1|0:5"], "20:6, sample A"),
        (["0|1:. 0|1:.", "0|1:. 1|0:."], ""),
        (["0|1 0|1", "0|1:5 1|0:."], "20:6, sample A"),
        (["0|1:5 0|1:5", ".|.:. 1|0:5", "0|1:5 0|0:."], ""),
    ],
)
def test_several_phase_sets_are_no_phase(
    records: list[str], first: str, declared: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.vcf", *records, declared=declared)
    options = ReadOptions(max_missing=1)
    if not first:
        assert read_panel(path, options)[0].phased
        return
    expected = f"{first}: another phase set .PS. than before: 1 of 2 people are phased in blocks"
    with pytest.raises(UnphasedError, match=expected):
        read_panel(path, options)
    with pytest.raises(UnphasedError, match=expected):
        read_panel(path, ReadOptions(skip_unphased=True))
    assert not read_panel(path, ANY)[0].phased


def test_case_of_many_blocks() -> None:
    with pytest.raises(
        UnphasedError, match="40 of 40 people are phased in blocks, and not between"
    ):
        read_panel(CASES / "ps_real.vcf.gz")
    panel, _ = read_panel(CASES / "ps_real.vcf.gz", ANY)
    assert not panel.phased


def test_phase_sets_of_vcf_zarr(tmp_path: Path) -> None:
    bio2zarr = pytest.importorskip("bio2zarr.vcf")
    path = write(tmp_path / "a.vcf", "0|1:5 0|1:5", "0|1:5 1|0:6")
    pysam.tabix_index(str(path), preset="vcf", force=True)
    bio2zarr.convert([f"{path}.gz"], tmp_path / "a.vcz", worker_processes=0)
    with pytest.raises(UnphasedError, match="20:6, sample B: another phase set"):
        read_panel(tmp_path / "a.vcz")
    assert not read_panel(tmp_path / "a.vcz", ANY)[0].phased


def test_one_unphased_genotype_is_counted_and_placed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vcf", "0|1 0|1", "0|1 0/1", "0/1 1/0", "1/1 0/0")
    expected = "20:6, sample B: the heterozygous genotype is unphased, as are 2 more, at 2 sites"
    with pytest.raises(UnphasedError, match=f"{expected} in all .*skip_unphased, which leaves out"):
        read_panel(path)
    panel, skipped = read_panel(path, ReadOptions(skip_unphased=True))
    assert (panel.positions.tolist(), skipped, panel.phased) == ([5, 8], {"unphased": 2}, True)


@pytest.mark.parametrize("name", ["a.vcf", "a.vcf.gz", "a.bcf"])
def test_phase_marks_of_newer_versions(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.vcf", "|0|1 1|0", "|1|1 /0/0", "0|1 |1|0", version="4.5")
    if name != "a.vcf":  # as another htslib writes it
        with (
            pysam.VariantFile(str(path)) as records,
            pysam.VariantFile(
                str(tmp_path / name), "wb" if name.endswith("bcf") else "wz", header=records.header
            ) as out,
        ):
            for record in records:
                out.write(record)
    panel, _ = read_panel(tmp_path / name)
    assert panel.phased
    assert panel.haplotypes.tolist() == [[0, 1, 0], [1, 1, 1], [1, 0, 1], [0, 0, 0]]


def test_phase_marks_that_say_unphased(tmp_path: Path) -> None:
    for calls in ("/0|1 0|0", "|0/1 0|0", "/0/1 0|0"):
        path = write(tmp_path / "a.vcf", calls, version="4.5")
        with pytest.raises(UnphasedError, match="20:5, sample A"):
            read_panel(path)
    haploid = write(tmp_path / "b.vcf", "|1 /0", version="4.4")
    assert read_panel(haploid)[0].haplotypes.tolist() == [[1], [0]]
    with pytest.raises(FormatError, match="record 1, after the header: malformed"):
        read_panel(write(tmp_path / "c.vcf", "|0|1 0|0", version="4.2"))


def test_part_of_a_polyploid_genotype_unphased(tmp_path: Path) -> None:
    assert read_panel(write(tmp_path / "a.vcf", "0|1|1 0|0|1"))[0].phased
    with pytest.raises(UnphasedError, match="20:5, sample A"):
        read_panel(write(tmp_path / "b.vcf", "0|1/1 0|0|1"))
