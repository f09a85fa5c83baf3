"""Tables of people in the forms in which they are published, exported and mailed."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from haplobench import FormatError, files
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.labels import (
    Label,
    SampleNames,
    match_labels,
    read_labels,
    read_pedigree,
)
from haplobench.testing import example_panel

# Lines as published: the phase 3 panel, the 3,202 people's pedigree with populations, the
# pedigree of phase 1's relatives, the IGSR portal's table of samples, PLINK 2's .psam.
PANEL = "sample\tpop\tsuper_pop\tgender\t\t\nHG00403\tCHS\tEAS\tmale\n"
PED_3202 = (
    "FamilyID SampleID FatherID MotherID Sex Population Superpopulation\n"
    "SH001 HG00403 0 0 1 CHS EAS\nSH001 HG00405 HG00403 HG00404 2 CHS EAS\n"
)
PED_G1K = (
    "Family ID\tIndividual ID\tPaternal ID\tMaternal ID\tGender\tPhenotype\tPopulation\t"
    "Relationship\tSiblings\tSecond Order\tThird Order\tOther Comments\n"
    "SH001\tHG00403\t0\t0\t1\t0\tCHS\tfather\t0\t0\t0\t0\n"
)
PORTAL = (
    "Sample name\tSex\tBiosample ID\tPopulation code\tPopulation name\tSuperpopulation code\t"
    "Superpopulation name\tPopulation elastic ID\tData collections\n"
    "HG00403\tmale\tSAME123\tCHS\tSouthern Han Chinese\tEAS\tEast Asian Ancestry\tCHS\t"
    "1000 Genomes on GRCh38,1000 Genomes 30x on GRCh38\n"
    "HGDP00001\tmale\tSAMEA1\t\tBrahui\t\tCentral South Asia (HGDP)\tBrahuiHGDP\tHGDP\n"
)
PSAM = "#FID\tIID\tPAT\tMAT\tSEX\tSuperPop\tPopulation\nSH001\tHG00403\t0\t0\t1\tEAS\tCHS\n"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "people.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (PANEL, Label("CHS", "EAS", "male")),
        (PED_3202, Label("CHS", "EAS", "male", "SH001")),
        (PED_G1K, Label("CHS", "", "male", "SH001")),
        (PORTAL, Label("CHS", "EAS", "male")),
        (PSAM, Label("CHS", "EAS", "male", "SH001")),
        (PANEL.replace("\t", ","), Label("CHS", "EAS", "male")),
        (PANEL.replace("\t", ";"), Label("CHS", "EAS", "male")),
        ('"Sample","Pop","Super Pop"\r\n"HG00403","CHS","EAS"\r\n', Label("CHS", "EAS")),
        ("SAMPLE_ID\tPOPULATION\rHG00403\tCHS\r", Label("CHS")),
        ("sample\tpop\nHG00403\u00a0\tCHS \n", Label("CHS")),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_published_tables_and_their_exports(
    table: str, expected: Label, encoding: str, tmp_path: Path
) -> None:
    data = table.encode(encoding)
    if encoding == "utf-16-be":
        data = b"\xfe\xff" + data
    assert read_labels(write(tmp_path, data))["HG00403"] == expected


def test_names_stand_in_for_codes_that_a_table_leaves_empty(tmp_path: Path) -> None:
    label = read_labels(write(tmp_path, PORTAL))["HGDP00001"]
    assert (label.population, label.superpopulation) == ("Brahui", "Central South Asia (HGDP)")


def test_populations_without_superpopulations_come_back(tmp_path: Path) -> None:
    panel = example_panel(8)
    panel = replace(panel, superpopulation=np.full(8, ""))
    write_panel(panel, tmp_path / "x.vcf.gz")
    read, _ = read_panel(tmp_path / "x.vcf.gz")
    assert read.population.tolist() == panel.population.tolist()
    assert set(read.superpopulation) == {""}


def test_a_panel_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    data = "\ufeffsample\tpop\tsuper_pop\nP000\tGBR\tEUR\nP001\tYRI\tAFR\n".encode()
    vcf = tmp_path / "a.vcf"
    vcf.write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=20>\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="G">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tF1_P000\tP001\n"
        "20\t5\t.\tA\tC\t.\t.\t.\tGT\t0|1\t1|1\n"
    )
    panel, _ = read_panel(vcf, ReadOptions(panel_file=write(tmp_path, data)))
    assert panel.samples.tolist() == ["F1_P000", "P001"]
    assert panel.population.tolist() == ["GBR", "YRI"]


def test_pedigrees(tmp_path: Path) -> None:
    family = read_pedigree(write(tmp_path, PED_3202))
    assert family["HG00405"] == Label("CHS", "EAS", "female", "SH001", "HG00403", "HG00404")
    published = "sampleID fatherID motherID sex\nHG00405 HG00403 HG00404 2\nHG00403 0 0 1\n"
    assert read_pedigree(write(tmp_path, published)) == {
        "HG00405": Label(sex="female", father="HG00403", mother="HG00404"),
        "HG00403": Label(sex="male"),
    }
    fam = "SH001 HG00405 HG00403 HG00404 2 -9\nSH001\tHG00403\t0\t0\t1\t-9\n"
    assert read_pedigree(write(tmp_path, fam)) == {
        "HG00405": Label(sex="female", family="SH001", father="HG00403", mother="HG00404"),
        "HG00403": Label(sex="male", family="SH001"),
    }
    assert read_pedigree(write(tmp_path, PANEL)) == read_labels(write(tmp_path, PANEL))
    with pytest.raises(FormatError, match=r"people.tsv:1: found columns HG1, HG2, expected sample"):
        read_pedigree(write(tmp_path, "HG1\tHG2\n"))
    with pytest.raises(FormatError, match=r"people.tsv:1: found columns sampleID, .*, pop and"):
        read_labels(write(tmp_path, published))


def test_names_joined_by_plink_are_found() -> None:
    names = SampleNames(["F1_A", "F2_B", "F3_B", "C", "D_D", "0_E", "C_2_X"])
    assert names.find("A") == ["F1_A"]
    assert names.find("B") == ["F2_B", "F3_B"]
    assert names.find("B", "F3") == ["F3_B"]
    assert names.find("C") == ["C"] == names.find("C", "F9") == names.find("F9_C")
    assert names.find("D", "F9", of_family=True) == ["D_D"]
    assert names.find("E", "0") == ["0_E"]
    assert names.find("A", "F9", of_family=True) == []
    assert names.find("2_X") == ["C_2_X"] == names.find("X")
    assert names.find("a") == names.find("") == []


def test_labels_by_iid_for_samples_by_fid_and_iid() -> None:
    where = Path("labels.tsv")
    table = {"A": Label("GBR"), "B": Label("YRI", family="F3"), "Z": Label("CHB")}
    assert match_labels(["F1_A", "F3_B", "F2_B"], table, where) == {"F1_A": "A", "F3_B": "B"}
    with pytest.raises(FormatError, match="'A' may be sample 'F1_A' or 'F2_A'"):
        match_labels(["F1_A", "F2_A"], table, where)
    twice = {"F1_A": Label("GBR"), "F2_A": Label("FIN")}
    with pytest.raises(FormatError, match="sample 'A' may be 'F1_A' or 'F2_A'"):
        match_labels(["A"], twice, where)
    assert match_labels(["A", "X_A"], {"A": Label("GBR")}, where) == {"A": "A"}


def test_a_compressed_table_is_read_and_one_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "panel.txt.gz"
    path.write_bytes(gzip.compress(PANEL.encode()))
    assert list(read_labels(path)) == ["HG00403"]
    monkeypatch.setattr(files, "LIMIT", 1 << 21)
    path.write_bytes(gzip.compress(PANEL.encode() + bytes(1 << 24)))
    with pytest.raises(FormatError, match=r"expected a table, but it unpacks to over 2.0 MiB"):
        read_labels(path)
