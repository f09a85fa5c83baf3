"""An index of another file, or of part of this one, is refused; times don't count."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pysam
import pytest

from haplobench import FormatError
from haplobench.data.formats import ReadOptions, read_panel

N_SITES = 20_000


def text(n: int, contig: str = "20", first: int = 1) -> str:
    rng = np.random.default_rng(first)
    calls = np.array(["0|0", "0|1", "1|0", "1|1"])[rng.integers(0, 4, (n, 3))]
    return "".join(
        f"{contig}\t{first + 7 * i}\t.\tA\tC\t.\t.\t.\tGT\t" + "\t".join(row) + "\n"
        for i, row in enumerate(calls)
    )


HEADER = (
    "##fileformat=VCFv4.2\n##contig=<ID=20>\n##contig=<ID=21>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\tC\n"
)


def write(path: Path, body: str) -> None:
    if path.suffix == ".bcf":
        plain = path.with_suffix(".vcf")
        plain.write_text(HEADER + body)
        with (
            pysam.VariantFile(str(plain)) as records,
            pysam.VariantFile(str(path), "wb", header=records.header) as out,
        ):
            for record in records:
                out.write(record)
        return
    with pysam.BGZFile(str(path), "wb") as out:
        out.write((HEADER + body).encode())


def index(path: Path, ending: str) -> Path:
    csi = ending == ".csi"
    pysam.tabix_index(
        str(path), preset="bcf" if path.suffix == ".bcf" else "vcf", csi=csi, force=True
    )
    return path.with_name(path.name + ending)


KINDS = [("a.vcf.gz", ".tbi"), ("a.vcf.gz", ".csi"), ("a.bcf", ".csi")]


@pytest.mark.parametrize(("name", "ending"), KINDS)
@pytest.mark.parametrize(
    "later",
    [
        text(N_SITES) + text(9, first=1 + 7 * N_SITES),  # some records more
        text(2 * N_SITES),
        text(N_SITES) + text(100, contig="21"),
        text(N_SITES // 2),
        text(N_SITES, first=3),
    ],
)
def test_index_of_an_earlier_file(name: str, ending: str, later: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, text(N_SITES))
    made = index(path, ending)
    region = ReadOptions(region="20:1-1,000,000")
    assert read_panel(path, region)[0].n_sites == N_SITES
    write(path, later)
    os.utime(made)  # newer than the file, as a copy may be
    with pytest.raises(
        FormatError, match=f"{made.name}: isn't the index.*bcftools index -f {name}"
    ):
        read_panel(path, region)
    index(path, ending)
    os.utime(path)  # an index that is older than its file, and whole
    assert read_panel(path, region)[0].n_sites > 0


@pytest.mark.parametrize(("name", "ending"), KINDS)
def test_copies_without_times_are_fine(name: str, ending: str, tmp_path: Path) -> None:
    write(tmp_path / name, text(N_SITES) + text(50, contig="21"))
    made = index(tmp_path / name, ending)
    copied = tmp_path / "copied"
    copied.mkdir()
    shutil.copy(made, copied)
    shutil.copy(tmp_path / name, copied)
    os.utime(copied / made.name, ns=(1, 1))
    assert read_panel(copied / name, ReadOptions(contig="21"))[0].n_sites == 50


def test_real_index_is_whole(data_dir: Path) -> None:
    path = data_dir / "1kg_p3_chr20_1-4Mb_EUR300.vcf.gz"
    assert read_panel(path, ReadOptions(region="20:1000000-1010000"))[0].n_sites > 0


def test_empty_blocks_at_the_end_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf.gz"
    write(path, text(2_000))
    index(path, ".tbi")
    path.write_bytes(path.read_bytes() + path.read_bytes()[-28:])
    assert read_panel(path, ReadOptions(contig="20"))[0].n_sites == 2_000


def test_damaged_csi(tmp_path: Path) -> None:
    path = tmp_path / "a.bcf"
    write(path, text(20))
    made = index(path, ".csi")
    made.write_bytes(made.read_bytes()[:-30])
    with pytest.raises(FormatError, match=r"a.bcf.csi: not a whole index.*bcftools index -f"):
        read_panel(path, ReadOptions(contig="20"))


@pytest.mark.parametrize(
    ("name", "ending", "counts"),
    [
        # Places of counts in the text of an index of one contig, of which one bin has records: of
        # contigs, of bytes of names or more, of bins, of the bin's chunks, of windows.
        ("a.vcf.gz", ".tbi", (4, 32, 39, 47, 107)),
        ("a.vcf.gz", ".csi", (8, 12, 47, 51, 67)),
        ("a.bcf", ".csi", (8, 12, 16, 20, 36)),
    ],
)
@pytest.mark.parametrize("region", ["20:1-1,000,000", ""])
def test_an_index_that_counts_more_than_it_holds(
    name: str, ending: str, counts: tuple[int, ...], region: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path, text(20))
    made = index(path, ending)
    whole = gzip.decompress(made.read_bytes())
    for place in counts:
        assert 0 <= struct.unpack_from("<i", whole, place)[0] < 100
        for count in (1 << 24, (1 << 31) - 1, -1):
            content = bytearray(whole)
            struct.pack_into("<i", content, place, count)
            made.write_bytes(gzip.compress(content))
            if name == "a.bcf" and not region:  # nothing reads it
                assert read_panel(path)[0].n_sites == 20
                continue
            with pytest.raises(FormatError, match=f"{made.name}: not a whole index"):
                read_panel(path, ReadOptions(region=region))
