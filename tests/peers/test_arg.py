"""`tsinfer`: what is drawn through inferred trees, labels, fits that go on, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from typing import Any

import msprime
import numpy as np
import pytest
from numpy.typing import NDArray
from peer_cases import clusters, context, fitted, panel, sampled

from haplobench import PluginError
from haplobench.testing import example_panel
from haplobench_peers.arg import Genealogy

RNG = np.random.default_rng(1)


def seeds(n: int, seed: int = 1) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 1 << 64, n, np.uint64)


def two_leaves(root: float, mutations: Any, n_sites: int, two_n: float) -> Genealogy:
    """The same tree at all sites: leaves 0 and 1 under node 2; `mutations`: (site, node, age)."""
    rows = np.array([(site, node, 1) for site, node, _ in mutations], np.int32).reshape(-1, 3)
    edges = np.array([(0, n_sites, 2, 0), (0, n_sites, 2, 1)], np.int32)
    genealogy = Genealogy.dated(
        np.array([0.0, 0.0, 1.0]), edges, np.zeros(n_sites, np.int8), rows, 2, two_n, RNG
    )
    return replace(
        genealogy,
        ages=np.array([0.0, 0.0, root]),
        mutation_ages=np.array([age for _, _, age in mutations], float),
        rates=np.zeros((2, n_sites)),
    )


def simulated(n: int = 12) -> Any:
    trees = msprime.sim_ancestry(
        n,
        sequence_length=2e5,
        recombination_rate=1e-8,
        population_size=1e4,
        ploidy=1,
        random_seed=4,
    )
    model = msprime.BinaryMutationModel()
    return msprime.sim_mutations(
        trees, rate=2e-8, model=model, discrete_genome=False, random_seed=4
    )


def genealogy_of(trees: Any, two_n: float) -> Genealogy:
    """With tskit's ages of the nodes."""
    edges, at = trees.tables.edges, trees.sites_position
    columns = (np.searchsorted(at, p) for p in (edges.left, edges.right))
    genealogy = Genealogy.dated(
        trees.nodes_time,
        np.stack([*columns, edges.parent, edges.child], 1).astype(np.int32),
        np.zeros(at.size, np.int8),
        np.array([(m.site, m.node, 1) for m in trees.mutations()], np.int32),
        trees.num_samples,
        two_n,
        RNG,
    )
    return replace(genealogy, ages=trees.nodes_time)


@pytest.mark.parametrize("youngest", [0.0, 150.0])
def test_who_coalesces_before_a_mutation_has_it(youngest):
    """With either of two branches at a rate of 1 / 2N: 1/2 (1 - exp(-2 a / 2N)) by age a."""
    two_n, ages = 1000.0, np.array([100.0, 400.0, 900.0])
    genealogy = two_leaves(1000, [(i, 0, a) for i, a in enumerate(ages)], 3, two_n)
    n = 40_000
    drawn = genealogy.thread(np.zeros(3), two_n, youngest, seeds(n)).mean(axis=0)
    expected = np.where(ages > youngest, (1 - np.exp(-2 * ages / two_n)) / 2, 0)
    assert np.abs(drawn - expected).max() < 4.5 * np.sqrt(0.25 / n)


def test_recombination_breaks_lineages_along_the_map():
    """Of one age y they are of one leaf after d Morgans in (1 + exp(-d y)) / 2 of all cases."""
    youngest, n = 200.0, 20_000
    morgans = np.array([0.0, 0.001, 0.004, 0.02])
    genealogy = two_leaves(1e6, [(i, 0, 1e5) for i in range(4)], 4, 1.0)
    drawn = genealogy.thread(morgans, 1.0, youngest, seeds(n))
    same = (drawn == drawn[:, :1]).mean(axis=0)
    expected = (1 + np.exp(-morgans * youngest)) / 2
    assert np.abs(same - expected).max() < 4.5 * np.sqrt(0.25 / n)


def test_lineages_mutate_at_the_rates_of_their_sites():
    genealogy = replace(two_leaves(1000, [], 2, 1.0), rates=np.array([[0, 0], [0.0, 1e-3]]))
    n = 20_000
    drawn = genealogy.thread(np.zeros(2), 1e-6, 100.0, seeds(n)).mean(axis=0)
    assert drawn[0] == 0
    assert drawn[1] == pytest.approx(0.1, abs=4.5 * np.sqrt(0.09 / n))


def test_at_once_without_recombination_they_are_copies():
    trees = simulated()
    panel = trees.genotype_matrix().T
    genealogy = genealogy_of(trees, 2e4)
    drawn = genealogy.thread(np.zeros(trees.num_sites), 1e-9, 0.0, seeds(400))
    copied = (drawn[:, None] == panel[None]).all(axis=2)
    assert copied.any(axis=1).all()
    assert copied.any(axis=0).all()


def test_they_have_the_alleles_of_the_ancestors_of_an_age():
    """Of the first tree, by tskit: a mutation is there where its age is more."""
    trees, youngest = simulated(), 3000.0
    genealogy = genealogy_of(trees, 2e4)
    first = trees.first()
    sites = [site.id for site in first.sites()]
    ages = dict(zip(map(tuple, genealogy.mutations[:, :2]), genealogy.mutation_ages, strict=True))
    expected = set()
    for leaf in trees.samples():
        node = leaf
        while first.parent(node) >= 0 and first.time(first.parent(node)) <= youngest:
            node = first.parent(node)
        above = {n for n in (node, *first.ancestors(node)) if n >= 0}
        expected.add(
            tuple(
                sum(
                    m.node in above and ages[m.site, m.node] > youngest
                    for m in trees.site(site).mutations
                )
                for site in sites
            )
        )
    drawn = genealogy.thread(np.zeros(trees.num_sites), 1e-9, youngest, seeds(400))
    assert set(map(tuple, drawn[:, sites].tolist())) == expected
    assert len(expected) < trees.num_samples


def test_mutations_lie_on_their_branches():
    trees = simulated()
    genealogy = genealogy_of(trees, 2e4)
    dated = Genealogy.dated(
        *(trees.nodes_time, genealogy.edges, genealogy.ancestral, genealogy.mutations),
        *(trees.num_samples, 2e4, RNG),
    )
    for tree in trees.trees():
        for mutation in tree.mutations():
            above = tree.parent(mutation.node)
            age = dated.mutation_ages[mutation.id]
            assert dated.ages[mutation.node] <= age <= (dated.ages[above] if above >= 0 else np.inf)


def test_nodes_have_the_expected_age_of_their_number_of_leaves():
    """Of true trees, where most have it: regression of the true ages on those of the order."""
    true, dated = [], []
    for seed in range(30):
        trees = msprime.sim_ancestry(30, ploidy=1, population_size=1e4, random_seed=seed + 1)
        trees = msprime.sim_mutations(trees, rate=1, random_seed=1)
        genealogy = genealogy_of(trees, 1e4)
        again = Genealogy.dated(
            *(trees.nodes_time, genealogy.edges, genealogy.ancestral, genealogy.mutations),
            *(30, 1e4, RNG),
        )
        inner = trees.nodes_time > 0
        true.append(trees.nodes_time[inner])
        dated.append(again.ages[inner])
    assert np.sum(dated) == pytest.approx(np.sum(true), rel=0.1)


HERE = pytest.mark.skipif(shutil.which("tsinfer") is None, reason="no program tsinfer on PATH")


@HERE
def test_frequencies_and_which_sites_go_together(tmp_path):
    alleles, _ = clusters(200, 40)
    ctx = context(tmp_path)
    drawn = sampled(fitted("tsinfer", panel(alleles), ctx), ctx, 2000)
    assert np.abs(drawn.mean(axis=0) - alleles.mean(axis=0)).max() < 0.1
    real, made = (np.cov(rows.T)[np.triu_indices(40, 1)] for rows in (alleles, drawn))
    assert np.corrcoef(real, made)[0, 1] > 0.95


@HERE
def test_a_label_has_its_own_trees_and_a_fit_goes_on(tmp_path, monkeypatch):
    train = example_panel(n_samples=40, n_sites=60, populations=("YRI", "CEU"))
    kept = tmp_path / "kept"
    kept.mkdir()
    ctx = context(tmp_path, checkpoint=kept)
    model = fitted("tsinfer", train, ctx, within="population")
    n = 2000
    for label in ("YRI", "CEU"):
        frequencies = train.haplotypes[train.haplotype_populations == label].mean(axis=0)
        drawn = sampled(model, ctx, n, np.full(n, label)).mean(axis=0)
        assert np.corrcoef(drawn, frequencies)[0, 1] > 0.98
    monkeypatch.setenv("PATH", "")  # the trees are there
    again = fitted("tsinfer", train, ctx, within="population")
    for one, other in zip(model.genealogies, again.genealogies, strict=True):
        for part in fields(Genealogy):
            np.testing.assert_array_equal(getattr(one, part.name), getattr(other, part.name))


def test_without_the_program_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PluginError, match=r"needs program tsinfer \(make tsinfer"):
        fitted("tsinfer", panel(clusters(8, 5)[0]), context(tmp_path))


@pytest.mark.parametrize(
    ("script", "message"),
    [("echo no module >&2; exit 3", "ended with 3: no module"), (None, "expected the Python of")],
)
def test_another_programs_python_is_told(script, message, tmp_path, monkeypatch):
    program = tmp_path / "tsinfer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    if script:
        (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PluginError, match=message):
        fitted("tsinfer", panel(clusters(8, 5)[0]), context(tmp_path))
