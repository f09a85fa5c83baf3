"""Contigs: which names mean one, and where a man has one copy."""

from __future__ import annotations

import numpy as np
import pytest

from haplobench.data.contigs import build_of, one_copy, same_contig


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("20", "chr20"),
        ("X", "23"),
        ("chrX", "chr23"),
        ("Y", "24"),
        ("MT", "26"),
        ("chrM", "MT"),
        ("NC_000020.10", "20"),
        ("NC_000001.11", "chr1"),
        ("NC_000023.10", "X"),
        ("NC_000024.10", "24"),
        ("NC_012920.1", "chrM"),
        ("CM000682.1", "20"),
        ("CM000685.2", "X"),
        ("CHR7", "7"),
        ("scaffold_3", "scaffold_3"),
    ],
)
def test_names_of_one_contig(one: str, other: str) -> None:
    assert same_contig(one, other)
    assert same_contig(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2", "20"),
        ("X", "Y"),
        ("X", "XY"),
        ("NC_000002.11", "20"),
        ("", "20"),
        ("CM000699.1", "37"),
    ],
)
def test_other_contigs(one: str, other: str) -> None:
    assert not same_contig(one, other)


def test_one_copy_of_x_lies_between_its_pseudo_autosomal_regions() -> None:
    at = np.array([2_699_520, 2_699_521, 2_781_479, 2_781_480, 154_931_043, 154_931_044])
    alone, unsure = one_copy("chrX", at, "GRCh37")
    assert alone.tolist() == [False, True, True, True, True, False]
    assert not unsure.any()
    assert one_copy("23", at, "hg38")[0].tolist() == [False, False, False, True, True, True]
    alone, unsure = one_copy("X", at, "")
    assert (alone | unsure).all()
    assert alone.tolist() == [False, False, False, True, True, False]
    assert one_copy("Y", at, "")[0].all()
    assert one_copy("chrM", at, "")[0].all()
    assert not one_copy("20", at, "")[0].any()


@pytest.mark.parametrize(
    ("text", "contig", "length", "build"),
    [
        ("b37", "", 0, "GRCh37"),
        ("hs37d5.fa.gz", "", 0, "GRCh37"),
        ("hg38.fa", "", 0, "GRCh38"),
        ("Homo_sapiens_assembly38.fasta", "", 0, "GRCh38"),
        ("chm13v2.0.fa", "", 0, "CHM13"),
        ("", "chr20", 63_025_520, "GRCh37"),
        ("", "20", 64_444_167, "GRCh38"),
        ("", "X", 156_040_895, "GRCh38"),
        ("", "20", 3_000_000, ""),
        ("", "scaffold_3", 63_025_520, ""),
        ("ref.fa", "", 0, ""),
    ],
)
def test_a_build_by_its_names_and_by_lengths(
    text: str, contig: str, length: int, build: str
) -> None:
    assert build_of(text, contig, length) == build
