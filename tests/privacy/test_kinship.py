"""KING-robust kinship against PLINK 2, and its excess among made-up relatives."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from haplobench import Panel, Reference
from haplobench.testing import example_context, example_panel
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.kinship import closest, dosages, king
from haplobench_privacy.relatives import Kinship
from haplobench_privacy.specs.common import DistanceParams


def child(panel: Panel, i: int, j: int) -> NDArray[np.int8]:
    """The two haplotypes of a child of two people, without recombination."""
    return panel.haplotypes[[2 * i, 2 * j]]


def all_pairs(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    found = np.empty((a.shape[0], b.shape[0]))
    for rows, block in king(a, b):
        found[rows] = block
    return found


@pytest.mark.skipif(shutil.which("plink2") is None, reason="program plink2 is not installed")
def test_kinship_is_plinks(tmp_path: Path) -> None:
    panel = example_panel(30, n_sites=600, seed=5)
    children = np.concatenate([child(panel, 0, 1), child(panel, 2, 3), panel.haplotypes[8:10]])
    family = panel.with_haplotypes(np.concatenate([panel.haplotypes, children]))
    genotypes = family.haplotypes.reshape(family.n_samples, 2, family.n_sites)
    names = [f"p{i}" for i in range(family.n_samples)]
    with (tmp_path / "family.vcf").open("w") as vcf:
        vcf.write("##fileformat=VCFv4.2\n##contig=<ID=1>\n")
        vcf.write('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
        columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"]
        vcf.write("\t".join(columns + names) + "\n")
        for site in range(family.n_sites):
            calls = "\t".join(f"{a}|{b}" for a, b in genotypes[:, :, site])
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
    counted = genotypes.sum(axis=1, dtype=np.int8)
    found = all_pairs(counted, counted)
    off = ~np.eye(family.n_samples, dtype=bool)
    np.testing.assert_allclose(found[off], expected[off], atol=2e-6)
    assert found[32, 4] == pytest.approx(0.5)  # a copy of person 4
    assert found[30, 0] > 0.1768


def test_no_heterozygous_site_means_no_kinship() -> None:
    flat = np.zeros((2, 50), np.int8)
    other = np.tile(np.array([0, 1, 2, 1, 0], np.int8), (3, 10))
    assert (closest(flat, other) == -np.inf).all()
    assert closest(other, other) == pytest.approx(0.5)


def test_dosages_are_the_panels(tmp_path: Path) -> None:
    panel = example_panel(12, n_sites=90, seed=2)
    data = cohorts(Reference(panel, panel), panel, 100, example_context(tmp_path, panel))
    np.testing.assert_array_equal(dosages(data, panel), panel.dosages())


def test_children_of_training_people_are_first_degree(tmp_path: Path) -> None:
    panel = example_panel(240, n_sites=1500, seed=9)
    train, holdout = (panel.select_samples(part) for part in np.split(np.arange(240), [160]))
    pairs = np.arange(160).reshape(-1, 2)
    children = np.concatenate([child(train, int(i), int(j)) for i, j in pairs])
    metric = Kinship(Reference(train, holdout), DistanceParams(), example_context(tmp_path, train))
    metric.update(train.with_haplotypes(children))
    found = {name: one.value for name, one in metric.result().measurements.items()}  # type: ignore[union-attr]
    assert found["duplicates"] < 0.2
    assert found["first_degree"] > 0.75
    assert found["closer_than_unseen"] > 0.9  # type: ignore[operator]
