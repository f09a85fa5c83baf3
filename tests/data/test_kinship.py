"""Genotypes of pairs compared: KING-robust kinship against PLINK 2, counts against loops."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from haplobench import Panel
from haplobench.data.kinship import closest_people, compare_genotypes, king
from haplobench.testing import example_panel


def child(panel: Panel, i: int, j: int) -> NDArray[np.int8]:
    """The two haplotypes of a child of two people, without recombination."""
    return panel.haplotypes[[2 * i, 2 * j]]


def all_pairs(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    kinship = np.empty((a.shape[0], b.shape[0]))
    for rows, block in king(a, b):
        kinship[rows] = block
    return kinship


@pytest.mark.skipif(shutil.which("plink2") is None, reason="program plink2 is not installed")
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_kinship_is_plinks(tmp_path: Path, missing: float) -> None:
    panel = example_panel(30, n_sites=600, seed=5)
    children = np.concatenate([child(panel, 0, 1), child(panel, 2, 3), panel.haplotypes[8:10]])
    family = panel.with_haplotypes(np.concatenate([panel.haplotypes, children]))
    genotypes = family.haplotypes.reshape(family.n_samples, 2, family.n_sites)
    gone = np.random.default_rng(3).random((family.n_samples, family.n_sites)) < missing
    genotypes = np.where(gone[:, None], -1, genotypes)
    names = [f"p{i}" for i in range(family.n_samples)]
    with (tmp_path / "family.vcf").open("w") as vcf:
        vcf.write("##fileformat=VCFv4.2\n##contig=<ID=1>\n")
        vcf.write('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
        columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"]
        vcf.write("\t".join(columns + names) + "\n")
        for site in range(family.n_sites):
            calls = "\t".join("./." if a < 0 else f"{a}|{b}" for a, b in genotypes[:, :, site])
            vcf.write(f"1\t{1000 + site}\t.\tA\tC\t.\t.\t.\tGT\t{calls}\n")
    subprocess.run(
        [
            "plink2",
            "--vcf",
            "family.vcf",
            "--make-king",
            "square",
            "--out",
            "king",
            "--threads",
            "1",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    expected = np.loadtxt(tmp_path / "king.king")
    counted = np.maximum(genotypes.sum(axis=1, dtype=np.int8), -1)
    found = all_pairs(counted, counted)
    off = ~np.eye(family.n_samples, dtype=bool)
    np.testing.assert_allclose(found[off], expected[off], atol=2e-6)
    blocks = list(compare_genotypes(counted, counted))
    np.testing.assert_array_equal(np.concatenate([one.kinship for one in blocks]), found)
    assert found[32, 4] == pytest.approx(0.5)  # a copy of person 4
    assert found[30, 0] > 0.1768


def test_no_heterozygous_site_means_no_kinship() -> None:
    flat = np.zeros((2, 50), np.int8)
    other = np.tile(np.array([0, 1, 2, 1, 0], np.int8), (3, 10))
    assert (closest_people(flat, other).kinship == -np.inf).all()
    assert closest_people(other, other).kinship == pytest.approx(0.5)


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3]))
@settings(max_examples=30, deadline=None)
def test_counts_are_those_of_a_loop(seed: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = (
        np.where(rng.random((n, 25)) < missing, -1, rng.integers(0, 3, (n, 25))).astype(np.int8)
        for n in (7, 5)
    )
    (pairs,) = compare_genotypes(a, b)
    distances = np.empty((7, 5))
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            both = (one >= 0) & (other >= 0)
            g, h = one[both].astype(int), other[both].astype(int)
            assert pairs.called[i, j] == both.sum()
            assert pairs.mismatches[i, j] == (g != h).sum()
            assert pairs.opposite[i, j] == (abs(g - h) == 2).sum()
            assert pairs.heterozygous[i, j] == min((g == 1).sum(), (h == 1).sum())
            distances[i, j] = ((g - h) ** 2).sum()
    people = closest_people(a, b)
    np.testing.assert_array_equal(people.distances, distances.min(axis=1))
    np.testing.assert_array_equal(people.kinship, pairs.kinship.max(axis=1))
    np.testing.assert_array_equal(people.of_others, pairs.kinship.max(axis=0))
