"""Clusters in the place of labels: simulated populations are told apart, labels stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msprime
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from tree_panels import panel_of_trees

from haplobench import Panel, SampleRequest
from haplobench.testing import example_context
from haplobench_vae import VAEParams
from haplobench_vae.structure import with_clusters
from haplobench_vae.vae import VAE


@pytest.fixture(scope="module")
def islands() -> tuple[Panel, np.ndarray]:
    """People of three islands, nobody labelled, and whose they are."""
    demography = msprime.Demography.island_model([5_000] * 3, migration_rate=2e-5)
    trees = msprime.sim_ancestry(
        {f"pop_{i}": n for i, n in enumerate((120, 90, 60))},
        demography=demography,
        sequence_length=300_000,
        recombination_rate=1e-8,
        random_seed=4,
    )
    trees = msprime.sim_mutations(
        trees, rate=2e-8, random_seed=4, model=msprime.BinaryMutationModel()
    )
    panel = panel_of_trees(trees)
    return panel.select_sites(panel.common_sites(0.02)), np.repeat([0, 1, 2], (120, 90, 60))


def test_clusters_are_the_populations(islands: tuple[Panel, np.ndarray]) -> None:
    panel, island = islands
    found = with_clusters(panel, 3, 1).population
    assert adjusted_rand_score(island, found) > 0.95
    names, counts = np.unique(found, return_counts=True)
    assert names.tolist() == ["cluster 1", "cluster 2", "cluster 3"]
    assert (np.diff(counts) <= 0).all()
    np.testing.assert_array_equal(with_clusters(panel, 3, 1).population, found)
    missing = panel.haplotypes.copy()
    missing[np.random.default_rng(1).random(missing.shape) < 0.02] = -1
    again = with_clusters(panel.with_haplotypes(missing), 3, 1).population
    assert adjusted_rand_score(found, again) > 0.95


def test_labels_and_small_panels_stay(islands: tuple[Panel, np.ndarray]) -> None:
    panel, island = islands
    labelled = replace(panel, population=island.astype(np.str_))
    assert with_clusters(labelled, 3, 1) is labelled
    assert with_clusters(panel, 1, 1) is panel
    few = panel.select_samples(np.arange(150))
    assert with_clusters(few, None, 1) is few
    assert set(with_clusters(panel, None, 1).population) == {"cluster 1", "cluster 2"}


def test_a_model_of_people_without_labels_has_their_structure(
    islands: tuple[Panel, np.ndarray], tmp_path: Path
) -> None:
    panel, _ = islands
    ctx = replace(example_context(tmp_path, panel), recombination_map=None)
    params = VAEParams(clusters=3, epochs=2, codes=16, dimension=16, heads=2, reach=4, residual=8)
    fitted = VAE().fit(panel, params, ctx)
    record = json.loads((ctx.artifacts / "training.json").read_text())
    assert record["recombination_map"] == "estimated"
    assert 0.1 < record["centimorgans"] < 1
    assert list(record["populations"]) == ["cluster 1", "cluster 2", "cluster 3"]
    # As the harness asks for people who have no labels, and as a user asks for a cluster.
    for asked in (None, np.full(64, ""), np.full(64, "cluster 2")):
        request = SampleRequest(64, populations=asked)
        assert sum(len(batch) for batch in fitted.sample(request, ctx)) == 64
