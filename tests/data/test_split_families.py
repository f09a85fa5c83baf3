"""Families from tables of people, and from pairs of relatives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from haplobench import FormatError, Panel
from haplobench.data.formats import ReadOptions, read_panel, write_panel
from haplobench.data.labels import Label
from haplobench.data.split import declared_families, family_sizes, keep_together
from haplobench.testing import example_panel


def families(names: Sequence[str], table: dict[str, Label]) -> list[str]:
    named = {name: name for name in names if name in table}
    return declared_families(names, table, named).tolist()


def test_parents_children_and_their_relatives_are_one_family() -> None:
    table = {
        "mother": Label(),
        "child": Label(mother="mother", father="absent"),
        "half-sibling": Label(father="absent"),
        "grandchild": Label(mother="half-sibling"),
        "stranger": Label(),
    }
    names = ["stranger", "grandchild", "mother", "child"]
    # The half-sibling isn't in the panel, and links its people nevertheless.
    assert families(names, table) == ["", "child", "child", "child"]


def test_a_shared_family_name_is_a_family_and_ones_own_is_not() -> None:
    table = {f"p{i}": Label(family="F1" if i < 2 else f"p{i}") for i in range(4)}
    assert families(["p0", "p1", "p2", "p3"], table) == ["p0", "p0", "", ""]


def test_a_family_name_of_a_whole_cohort_is_no_family() -> None:
    cohort = {f"p{i:02}": Label(family="GBR") for i in range(21)}
    assert set(families(list(cohort), cohort)) == {""}
    # With parents in it, it is one.
    cohort["p01"] = Label(family="GBR", father="p00")
    assert set(families(list(cohort), cohort)) == {"p00"}


def test_pairs_are_added_to_declared_families() -> None:
    panel = example_panel(6, n_sites=10)
    names = panel.samples.tolist()
    declared = keep_together(panel, np.array([[0, 1]]))
    assert declared.family.tolist() == [names[0]] * 2 + [""] * 4
    more = keep_together(declared, np.array([[1, 3], [4, 5]]))
    assert more.family.tolist() == [names[0], names[0], "", names[0], names[4], names[4]]
    assert sorted(family_sizes(more).tolist()) == [2, 3]
    assert keep_together(panel, np.empty((0, 2), np.int64)).digest == panel.digest
    assert more.digest != panel.digest


def test_families_go_with_their_people(tmp_path: Path) -> None:
    panel = keep_together(example_panel(6, n_sites=10), np.array([[1, 4]]))
    panel.save(tmp_path / "saved")
    for same in (Panel.load(tmp_path / "saved"), panel.select_sites([0, 2])):
        assert same.family.tolist() == panel.family.tolist()
    chosen = panel.select_samples([4, 0])
    assert chosen.family.tolist() == [panel.samples[1], ""]
    assert (panel.with_haplotypes(panel.haplotypes).family == "").all()


TRIO = {"person2": ("person1", "person3"), "person5": ("person4", "0")}


@pytest.fixture
def panel() -> Panel:
    return example_panel(7, n_sites=30, seed=3)


def pedigrees(panel: Panel) -> dict[str, str]:
    """Lines as PLINK, and as the 1000 Genomes Project's 3,202 people's two pedigrees write them."""
    rows = [(name, *TRIO.get(name, ("0", "0"))) for name in panel.samples.tolist()]
    return {
        "plink.fam": "".join(f"0 {name} {pat} {mat} 0 -9\n" for name, pat, mat in rows),
        "info.txt": "sampleID fatherID motherID sex\n"
        + "".join(f"{name} {pat} {mat} 1\n" for name, pat, mat in rows),
        "population.txt": "FamilyID SampleID FatherID MotherID Sex Population Superpopulation\n"
        + "".join(f"{name} {name} {pat} {mat} 2 GBR EUR\n" for name, pat, mat in rows),
        "g1k.ped": "Family ID\tIndividual ID\tPaternal ID\tMaternal ID\tGender\tPhenotype\n"
        + "".join(f"{name}\t{name}\t{pat}\t{mat}\t1\t0\n" for name, pat, mat in rows),
    }


@pytest.mark.parametrize("name", ["plink.fam", "info.txt", "population.txt", "g1k.ped"])
def test_pedigree_files(tmp_path: Path, panel: Panel, name: str) -> None:
    vcf, pedigree = tmp_path / "p.vcf.gz", tmp_path / name
    write_panel(panel, vcf)
    pedigree.write_text(pedigrees(panel)[name])
    read, _ = read_panel(vcf, ReadOptions(pedigree_file=pedigree))
    expected = [*["person1"] * 3, *["person4"] * 2, "", ""]
    assert read.family.tolist() == expected
    # One parent is enough, who may have been left out.
    some = ReadOptions(pedigree_file=pedigree, samples=("person3", "person2", "person5"))
    assert read_panel(vcf, some)[0].family.tolist() == ["person2", "person2", ""]
    assert (read_panel(vcf)[0].family == "").all()


@pytest.mark.parametrize("ending", [".bed", ".pgen"])
def test_families_in_plinks_own_tables(tmp_path: Path, panel: Panel, ending: str) -> None:
    path = tmp_path / f"p{ending}"
    write_panel(panel, path)
    assert (read_panel(path)[0].family == "").all()
    people = tmp_path / ("p.fam" if ending == ".bed" else "p.psam")
    header = "" if ending == ".bed" else "#FID\tIID\tPAT\tMAT\tSEX\tPHENO1\n"
    people.write_text(header + pedigrees(panel)["plink.fam"].replace(" ", "\t"))
    assert read_panel(path)[0].family.tolist() == [*["person1"] * 3, *["person4"] * 2, "", ""]


def test_a_pedigree_of_others_is_refused(tmp_path: Path, panel: Panel) -> None:
    vcf, pedigree = tmp_path / "p.vcf.gz", tmp_path / "other.fam"
    write_panel(panel, vcf)
    pedigree.write_text("0 NA1 NA2 NA3 0 -9\n0 NA2 0 0 0 -9\n")
    with pytest.raises(FormatError, match=r"other\.fam: its 2 people are none of the samples"):
        read_panel(vcf, ReadOptions(pedigree_file=pedigree))
