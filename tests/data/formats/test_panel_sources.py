"""Panels of arrays, datasets and tree sequences, against what other programs make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msprime
import numpy as np
import pytest
import xarray

from haplobench import BenchError, Panel, read_panel
from haplobench.data.formats import write_panel
from haplobench.testing import example_panel


def same(one: Panel, other: Panel) -> None:
    assert np.array_equal(one.haplotypes, other.haplotypes)
    assert one.same_sites(other)
    for name in ("samples", "population", "superpopulation"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert (one.ploidy, one.phased) == (other.ploidy, other.phased)


@pytest.fixture(scope="module")
def trees() -> Any:
    demography = msprime.Demography.island_model([1e3, 1e3], 1e-4)
    ancestry = msprime.sim_ancestry(
        {"pop_0": 5, "pop_1": 4},
        demography=demography,
        sequence_length=3e4,
        recombination_rate=1e-8,
        random_seed=3,
    )
    return msprime.sim_mutations(ancestry, rate=2e-6, random_seed=3)


def test_a_tree_sequence_is_what_its_vcf_is(trees: Any, tmp_path: Path) -> None:
    path = tmp_path / "trees.vcf"
    with path.open("w") as out:
        trees.write_vcf(out, contig_id="20", position_transform=lambda x: np.round(x) + 1)
    expected = read_panel(path)
    panel = read_panel(trees, contig="20", offset=1)
    # tskit names alleles that nobody has; a record of several is left out of a VCF for them.
    assert expected.left_out["multi-allelic"] > panel.left_out["multi-allelic"] > 0
    common = np.isin(panel.positions, expected.positions)
    chosen = panel.select_sites(common)
    assert chosen.positions.tolist() == expected.positions.tolist()
    assert np.array_equal(chosen.haplotypes, expected.haplotypes)
    assert chosen.samples.tolist() == expected.samples.tolist()
    assert chosen.ref.tolist() == expected.ref.tolist()
    assert panel.population.tolist() == ["pop_0"] * 5 + ["pop_1"] * 4
    assert read_panel(trees, contig="20", offset=1, populations=["pop_1"]).n_samples == 4


def test_a_tree_sequence_without_individuals_is_haploid_and_alleles_without_bases_have_no_name(
    trees: Any,
) -> None:
    tables = trees.dump_tables()
    tables.nodes.individual = np.full(trees.num_nodes, -1, np.int32)
    tables.individuals.clear()
    panel = read_panel(tables.tree_sequence(), contig="20", offset=1)
    whole = read_panel(trees, contig="20", offset=1)
    assert (panel.ploidy, panel.n_samples) == (1, 18)
    assert np.array_equal(panel.haplotypes, whole.haplotypes)
    binary = msprime.sim_mutations(
        trees, rate=1e-7, model=msprime.BinaryMutationModel(), keep=False, random_seed=1
    )
    assert set(read_panel(binary, contig="20", offset=1).ref.tolist()) == {"N"}


@pytest.mark.parametrize("phased", [True, False])
def test_an_xarray_dataset_is_what_its_zarr_is(tmp_path: Path, phased: bool) -> None:
    panel = example_panel(12, n_sites=40, populations=("FIN", "YRI"))
    path = tmp_path / "p.vcz"
    write_panel(panel, path)
    data = xarray.open_zarr(path, consolidated=False)
    if phased:
        same(read_panel(data), read_panel(path))
        some = read_panel(data, region=f"20:{panel.positions[3]}-{panel.positions[9]}")
        assert some.positions.tolist() == panel.positions[3:10].tolist()
    else:
        with pytest.warns(UserWarning, match="read as not phased"):
            unphased = read_panel(data.drop_vars("call_genotype_phased"))
        assert not unphased.phased
        assert np.array_equal(unphased.dosages(), panel.dosages())
    # sgkit's own, before VCF Zarr: contigs are an attribute, alleles and names bytes.
    old = data.drop_vars("contig_id").assign_attrs(contigs=["20"])
    old["variant_allele"] = old["variant_allele"].astype("S1")
    if phased:
        same(
            read_panel(old),
            panel.with_haplotypes(panel.haplotypes, samples=panel.samples)
            if not panel.labelled
            else read_panel(path),
        )


def test_arrays_of_either_layout_are_one_panel() -> None:
    panel = example_panel(6, n_sites=30)
    as_called = panel.haplotypes.T.reshape(30, 6, 2)
    named = {"contig": "20", "samples": panel.samples}
    for source, more in (
        ((panel.haplotypes, panel.positions), {}),
        ((panel.haplotypes.astype(np.int64), panel.positions.tolist()), {}),
        (as_called, {"positions": panel.positions}),
    ):
        made = read_panel(source, **named, **more)
        assert np.array_equal(made.haplotypes, panel.haplotypes)
        assert made.samples.tolist() == panel.samples.tolist()
    assert read_panel((panel.haplotypes > 0, panel.positions), ploidy=1).n_samples == 12


def test_masked_alleles_are_missing() -> None:
    alleles = np.random.default_rng(1).integers(0, 2, (4, 3)).astype(np.uint8)
    masked = np.ma.masked_array(alleles, mask=np.eye(4, 3) > 0)
    panel = read_panel(masked, positions=[1, 2, 3])
    assert np.array_equal(panel.haplotypes == -1, masked.mask)
    assert np.array_equal(panel.haplotypes[~masked.mask], masked.compressed())


def test_the_panel_in_the_package_has_a_name() -> None:
    panel = read_panel("embedded", region="20:1000000-1100000", populations=["FIN"])
    assert set(panel.population.tolist()) == {"FIN"}
    assert 1_000_000 <= panel.positions[0] < panel.positions[-1] <= 1_100_000
    assert panel.left_out


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        (np.zeros((4, 3), int), {}, "positions: none are given"),
        ((np.zeros((4, 3), int), [1, 2, 3, 4]), {}, "give it transposed: haplotypes.T"),
        ((np.full((4, 3), 2), [1, 2, 3]), {}, "dosages aren't haplotypes"),
        ((np.zeros((4, 3)), [1, 2, 3]), {}, "expected whole numbers, found float64"),
        ((np.zeros((4, 3), int), [1.5, 2, 3]), {}, "expected whole numbers of bp"),
        ((np.zeros((3, 2, 2), int), [1, 2, 3]), {"ploidy": 1}, "the array has 2"),
        ((np.zeros((4, 3), int), [1, 2, 3]), {"region": "20"}, "region: no field of a panel of"),
        ("x.vcf", {"regio": "20"}, "did you mean region"),
        ("x.vcf", {"region": "20:5-1"}, "is not a region"),
        ("embedded", {"region": "21"}, "no contig '21'; it holds 20"),
        ("embedded", {"pannel": "x"}, "did you mean panel"),
        (5, {}, "a panel of int: expected a Panel, a path"),
        (5, {"positions": [1]}, "a panel of int: expected a Panel, a path"),
        (memoryview(b"x"), {}, "a panel of memoryview"),
        ("x.vcf", {"colour": "red"}, "colour: there is no such setting .there are allow_unphased"),
        (xarray.Dataset(), {}, "lacks variant_position, variant_allele, call_genotype"),
    ],
)
def test_what_is_no_panel_is_refused_in_a_line(
    source: Any, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(BenchError, match=words) as caught:
        read_panel(source, **settings)
    assert "\n" not in str(caught.value)
