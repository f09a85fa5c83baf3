"""Attacks on genomes: contigs apart, people whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msprime
import numpy as np
import pytest

from haplobench import Panel, Reference, RunContext
from haplobench.data.joined import contig_of_sites, join_panels
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.evidence import (
    closeness,
    longest_tracts,
    nearest_distances,
    real_thinned_sites,
)
from haplobench_privacy.leak_list import leak_list
from haplobench_privacy.rare_alleles import rare_alleles
from haplobench_privacy.specs_attacks import LEAK_LIST, LeakListParams, RareAlleleParams

N_TRAIN, N_HOLDOUT, N_COHORT = 100, 50, 60
CONTIGS = ("1", "2", "X")


def simulated(contig: str, seed: int) -> Panel:
    """Training, held-out and further people of one population, on one contig."""
    trees = msprime.sim_ancestry(
        N_TRAIN + N_HOLDOUT + N_COHORT,
        sequence_length=600_000,
        recombination_rate=1e-8,
        population_size=10_000,
        random_seed=seed,
    )
    trees = msprime.sim_mutations(trees, rate=1.5e-8, model="binary", random_seed=seed)
    positions = np.unique(trees.tables.sites.position.astype(np.int64), return_index=True)
    alleles = trees.genotype_matrix()[positions[1]].T.astype(np.int8)
    return Panel(
        alleles,
        1 + positions[0],
        contig,
        np.array([f"person{i}" for i in range(alleles.shape[0] // 2)]),
    )


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Panel, Panel, Panel]:
    """Training, held-out and other people on three contigs; nobody copied."""
    panels = [simulated(name, seed) for seed, name in enumerate(CONTIGS, 5)]
    bounds = np.cumsum([0, N_TRAIN, N_HOLDOUT, N_COHORT])
    sides = []
    for low, high in pairwise(bounds):
        folder = tmp_path_factory.mktemp("joined")
        sides.append(
            join_panels([one.select_samples(np.arange(low, high)) for one in panels], folder)
        )
    return sides[0], sides[1], sides[2]


def context(folder: Path) -> RunContext:
    return RunContext(seed=3, artifacts=folder, scratch=folder)


def test_a_person_copied_on_one_chromosome_alone_is_named(
    genome: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, others = genome
    on_x = contig_of_sites(train) == 2
    haplotypes = np.array(others.haplotypes)
    # Of two people's rows of the cohort, in other places than in the training panel.
    haplotypes[14:16, on_x] = train.haplotypes[22:24, on_x]
    copied = replace(others, haplotypes=haplotypes)
    ctx, params = context(tmp_path), LeakListParams()
    nobody = leak_list(Reference(train, holdout), others, params, ctx)
    assert not nobody.series["people"]["flagged"].any()
    found = leak_list(Reference(train, holdout), copied, params, ctx)
    people = found.series["people"]
    assert people["sample"][people["flagged"]].tolist() == ["person11"]
    assert people["evidence"][0].startswith("a person copied on contig X; ")
    number = found.measurements["flagged"]
    assert (number.value, number.n) == (1.0, N_TRAIN)  # type: ignore[union-attr]
    assert {*found.measurements} == {one.name for one in LEAK_LIST.submetrics}


def test_no_evidence_pairs_sites_of_two_contigs(
    genome: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, others = genome
    ctx = context(tmp_path)
    data = cohorts(Reference(train, holdout), others, 10_000, ctx)
    contig = contig_of_sites(train)
    here = [data.at(one, np.arange(train.n_sites)) for one in (train, others)]
    own, synthetic = here[0][:4], here[1]
    apart = np.zeros((len(CONTIGS), 4))
    tracts = np.zeros(4)
    for i in range(len(CONTIGS)):
        differs = own[:, None, contig == i] != synthetic[None][:, :, contig == i]
        apart[i] = differs.sum(axis=2).min(axis=1)
        for row in range(4):
            for other in range(synthetic.shape[0]):
                borders = np.flatnonzero(np.r_[True, differs[row, other], True])
                tracts[row] = max(tracts[row], np.diff(borders).max() - 1)
    people = apart.reshape(len(CONTIGS), 2, 2)
    assert np.allclose(closeness(data, train)[:2], -np.log1p(people).mean(axis=2).sum(axis=0))
    assert np.allclose(nearest_distances(data, train)[:2], np.sort(people, 2).sum(axis=0))
    assert longest_tracts(data, train)[:2].tolist() == tracts.reshape(2, 2).max(axis=1).tolist()
    # Sites in linkage equilibrium, and pairs of rare alleles, are those of the contigs.
    parts = [of for of, _ in data.contigs(train)]
    starts = np.searchsorted(contig, np.arange(len(CONTIGS)))
    each = [start + real_thinned_sites(of, 0.1) for start, of in zip(starts, parts, strict=True)]
    assert real_thinned_sites(data, 0.1).tolist() == np.concatenate(each).tolist()
    names = ("private_pairs", "private_alleles")
    found = [
        rare_alleles(Reference(of.train, of.holdout), of.synthetic, RareAlleleParams(), ctx)
        for of in (data, *parts)
    ]
    for name in names:
        values = [one.measurements[name].value for one in found]  # type: ignore[union-attr]
        assert values[0] == sum(values[1:]) > 0
