"""What is written is read back, in every format; drawn panels, with and without missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haplobench import FormatError, Panel
from haplobench.data.formats import ENDINGS, ReadOptions, read_panel, write_panel

PHASED = ["a.vcf", "a.vcf.gz", "a.bcf", "a.vcz", "a.pgen", "a.hapt", "a.hapt.gz"]
BASES = np.array(list("ACGT"))


@st.composite
def panels(draw: st.DrawFn, *, missing: bool = False, labelled: bool = True) -> Panel:
    n_samples, n_sites = draw(st.integers(1, 7)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    haplotypes = rng.integers(0, 2, (2 * n_samples, n_sites)).astype(np.int8)
    if missing:  # of whole genotypes: PLINK knows no other
        gone = rng.random((n_samples, n_sites)) < 0.3
        haplotypes[np.repeat(gone, 2, axis=0)] = -1
    start = draw(st.sampled_from([1, 1_000, 200_000_000]))
    ref = rng.integers(0, 4, n_sites)
    population = rng.choice(["GBR", "YRI"], n_samples)
    return Panel(
        haplotypes=haplotypes,
        positions=start + np.cumsum(rng.integers(1, 5_000, n_sites)),
        contig=draw(st.sampled_from(["20", "chr4", "X"])),
        samples=np.array([f"P{i}" for i in range(n_samples)]),
        ref=BASES[ref],
        alt=BASES[(ref + rng.integers(1, 4, n_sites)) % 4],
        population=population if labelled else np.empty(0, "U1"),
        superpopulation=np.where(population == "GBR", "EUR", "AFR")
        if labelled
        else np.empty(0, "U1"),
        build="GRCh38",
    )


def read_all(path: Path) -> Panel:
    panel, skipped = read_panel(path, ReadOptions(max_missing=1, build="GRCh38"))
    assert skipped == {}
    return panel


@pytest.mark.parametrize("name", PHASED)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(panel=st.one_of(panels(), panels(missing=True)))
def test_phased_round_trip(panel: Panel, name: str, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / name)
    found = read_all(tmp_path / name)
    expected = panel
    if "hapt" in name:
        expected = replace(panel, superpopulation=np.empty(0, "U1"))
    np.testing.assert_array_equal(found.haplotypes, expected.haplotypes)
    assert found.digest == expected.digest


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(panel=st.one_of(panels(labelled=False), panels(labelled=False, missing=True)))
def test_plink1_round_trip_keeps_genotypes_and_forgets_phase(panel: Panel, tmp_path: Path) -> None:
    write_panel(panel, tmp_path / "a.bed")
    found = read_all(tmp_path / "a.bed")
    assert not found.phased
    assert found.same_sites(panel)
    np.testing.assert_array_equal(found.dosages(), panel.dosages())
    heterozygous = found.dosages() == 1
    assert not found.haplotypes[0::2][heterozygous].any()
    # Written from its unphased self, nothing changes.
    write_panel(found, tmp_path / "b.bed")
    assert read_all(tmp_path / "b.bed").digest == found.digest


@pytest.mark.parametrize("name", ["a.vcf.gz", "a.bcf", "a.vcz", "a.pgen"])
def test_unphased_panel_stays_unphased(name: str, tmp_path: Path) -> None:
    panel = Panel(
        haplotypes=np.array([[0, 0, 1], [1, 0, 1]], np.int8),
        positions=np.array([5, 9, 12]),
        contig="1",
        samples=np.array(["A"]),
        ref=np.array(["A", "C", "G"]),
        alt=np.array(["T", "T", "T"]),
        phased=False,
    )
    write_panel(panel, tmp_path / name)
    with pytest.raises(FormatError, match=r"1:5, sample A: the heterozygous genotype is unphased"):
        read_panel(tmp_path / name)
    found, skipped = read_panel(tmp_path / name, ReadOptions(allow_unphased=True))
    assert found.digest == panel.digest
    assert skipped == {}
    found, skipped = read_panel(tmp_path / name, ReadOptions(skip_unphased=True))
    assert found.positions.tolist() == [9, 12]
    assert found.phased
    assert skipped == {"unphased": 1}


@pytest.mark.parametrize("name", ["a.vcf.gz", "a.bcf", "a.vcz", "a.hapt"])
def test_half_missing_and_haploid(name: str, tmp_path: Path) -> None:
    half = Panel(
        haplotypes=np.array([[0, -1], [-1, 1]], np.int8),
        positions=np.array([5, 9]),
        contig="1",
        samples=np.array(["A"]),
        build="GRCh38",
    )
    write_panel(half, tmp_path / name)
    assert read_all(tmp_path / name).digest == half.digest
    haploid = Panel(
        haplotypes=np.array([[0, 1], [1, 1], [0, 0]], np.int8),
        positions=np.array([5, 9]),
        contig="Y",
        samples=np.array(["A", "B", "C"]),
        ploidy=1,
        build="GRCh38",
    )
    write_panel(haploid, tmp_path / name)
    assert read_all(tmp_path / name).digest == haploid.digest


@pytest.mark.parametrize("name", ["a.bed", "a.pgen"])
def test_plink_refuses_what_it_cannot_hold(name: str, tmp_path: Path) -> None:
    half = Panel(
        haplotypes=np.array([[0, -1], [1, 1]], np.int8),
        positions=np.array([5, 9]),
        contig="1",
        samples=np.array(["A"]),
    )
    with pytest.raises(FormatError, match=r"1:9, sample A: .*half-missing"):
        write_panel(half, tmp_path / name)
    haploid = Panel(
        haplotypes=np.array([[0, 1]], np.int8),
        positions=np.array([5, 9]),
        contig="1",
        samples=np.array(["A"]),
        ploidy=1,
    )
    with pytest.raises(FormatError, match="diploid"):
        write_panel(haploid, tmp_path / name)
    assert list(tmp_path.iterdir()) == []  # whole or not at all


def test_hapt_refuses_unphased(tmp_path: Path) -> None:
    panel = Panel(
        haplotypes=np.zeros((2, 1), np.int8),
        positions=np.array([5]),
        contig="1",
        samples=np.array(["A"]),
        phased=False,
    )
    with pytest.raises(FormatError, match="unphased"):
        write_panel(panel, tmp_path / "a.hapt")


@pytest.mark.parametrize("name", ["a.vcf", "a.hapt", "a.bed", "a.pgen"])
def test_names_with_blanks_are_refused(name: str, tmp_path: Path) -> None:
    panel = Panel(
        haplotypes=np.zeros((2, 1), np.int8),
        positions=np.array([5]),
        contig="1",
        samples=np.array(["A B"]),
    )
    with pytest.raises(FormatError, match="'A B'"):
        write_panel(panel, tmp_path / name)


def test_overwriting_leaves_nothing_behind(tmp_path: Path) -> None:
    def panel(n: int) -> Panel:
        return Panel(
            haplotypes=np.ones((2, n), np.int8),
            positions=np.arange(1, n + 1),
            contig="1",
            samples=np.array(["A"]),
            ref=np.full(n, "A"),
            alt=np.full(n, "C"),
        )

    for name in PHASED[:-1]:
        write_panel(panel(5), tmp_path / name)
        write_panel(panel(3), tmp_path / name)
        assert read_panel(tmp_path / name)[0].n_sites == 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_every_ending_has_its_module(tmp_path: Path) -> None:
    for ending in ENDINGS:
        with pytest.raises(FormatError, match="no such"):
            read_panel(tmp_path / f"absent{ending}")
    with pytest.raises(FormatError, match=r"unknown ending.*did you mean \.vcf\.gz"):
        read_panel(tmp_path / "a.vfc.gz")
    with pytest.raises(FormatError, match="unknown ending"):
        read_panel(tmp_path / "a.csv")
