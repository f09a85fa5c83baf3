"""Hidden Chow-Liu trees, against enumeration and scikit-learn."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from peer_cases import clusters, context, fitted, panel, sampled
from scipy import stats
from sklearn.metrics import mutual_info_score

from haplobench import PluginError
from haplobench.testing import example_panel
from haplobench_peers.hclt import FittedHCLT, Tree, chow_liu

TRAIN = example_panel(n_samples=40, n_sites=40, populations=("YRI", "CEU"))


def small_tree(parent: list[int], order: list[int], n_states: int = 3) -> Tree:
    rng = np.random.default_rng(4)
    n = len(parent)
    transitions = rng.dirichlet(np.ones(n_states), (n, n_states)).astype(np.float32)
    transitions[order[0]] = transitions[order[0], 0]
    emissions = rng.uniform(0.05, 0.95, (n, n_states)).astype(np.float32)
    return Tree(np.array(order), np.array(parent), transitions, emissions)


TREES = [
    small_tree([-1, 0, 1, 2], [0, 1, 2, 3]),
    small_tree([2, 2, -1, 2, 3], [2, 0, 1, 3, 4]),
    small_tree([-1], [0]),
]


def enumerated(tree: Tree) -> dict[tuple[int, ...], float]:
    """Probability of every haplotype, by summing over all states of all latents."""
    n, n_states = tree.emissions.shape
    chances = {}
    for alleles in product((0, 1), repeat=n):
        total = 0.0
        for states in product(range(n_states), repeat=n):
            p = 1.0
            for site in range(n):
                above = states[tree.parent[site]] if tree.parent[site] >= 0 else 0
                p *= float(tree.transitions[site, above, states[site]])
                one = float(tree.emissions[site, states[site]])
                p *= one if alleles[site] else 1 - one
            total += p
        chances[alleles] = total
    return chances


@pytest.mark.parametrize("tree", TREES, ids=["chain", "branches", "lone"])
def test_likelihood_is_that_of_enumeration(tree):
    chances = enumerated(tree)
    assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
    haplotypes = np.array(list(chances), np.int8)
    assert tree.log_likelihood(haplotypes) == pytest.approx(
        np.log(list(chances.values())), abs=2e-5
    )


@pytest.mark.parametrize("tree", TREES, ids=["chain", "branches", "lone"])
def test_samples_have_the_distribution_of_the_tree(tree, tmp_path):
    chances = enumerated(tree)
    n_sites = tree.parent.size
    model = FittedHCLT(tree, np.full(n_sites, -1, np.int8))
    drawn = sampled(model, context(tmp_path), 20_000)
    counts = np.bincount(drawn @ (1 << np.arange(n_sites)[::-1]), minlength=2**n_sites)
    expected = np.array(list(chances.values()), np.float64)
    assert stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue > 1e-4


def test_the_tree_is_the_spanning_tree_of_greatest_mutual_information():
    """As many edges as a tree has, and no other pair would be a better one on its path."""
    alleles = TRAIN.haplotypes[:, :20]
    order, parent = chow_liu(alleles, 512)
    n = alleles.shape[1]
    assert sorted(order.tolist()) == list(range(n))
    assert (parent == -1).sum() == 1
    place = np.argsort(order)
    assert all(place[parent[i]] < place[i] for i in range(n) if parent[i] >= 0)

    shared = {
        (i, j): mutual_info_score(alleles[:, i], alleles[:, j])
        for i, j in product(range(n), repeat=2)
        if i < j
    }

    def path(i: int) -> list[int]:
        return [i] if parent[i] < 0 else [i, *path(int(parent[i]))]

    for (i, j), information in shared.items():
        up, down = path(i), path(j)
        common = next(site for site in up if site in down)
        between = [
            shared[min(a, parent[a]), max(a, parent[a])]
            for side in (up, down)
            for a in side[: side.index(common)]
        ]
        assert information <= min(between) + 1e-6


def test_reach_bounds_how_far_the_tree_joins():
    _, parent = chow_liu(TRAIN.haplotypes, 2)
    joined = parent >= 0
    assert np.abs(parent[joined] - np.flatnonzero(joined)).max() <= 2


def test_iterations_never_lower_the_likelihood(tmp_path):
    alleles, _ = clusters(300, 30)
    ctx = context(tmp_path)
    model = fitted("hclt", panel(alleles), ctx, iterations=25, pseudocount=0, states=4)
    history = json.loads((tmp_path / "training.json").read_text())["log_likelihood"]
    assert len(history) == 25
    assert (np.diff(history) > -1e-4).all()
    last = float(model.log_likelihood(panel(alleles)).mean())
    assert last >= history[-1] - 1e-4
    assert last > history[0] + 0.5


def test_it_learns_linkage_and_frequencies(tmp_path):
    alleles, _ = clusters(400, 30)
    ctx = context(tmp_path)
    drawn = sampled(fitted("hclt", panel(alleles), ctx, iterations=20), ctx, 3000)
    assert np.abs(drawn.mean(axis=0) - alleles.mean(axis=0)).max() < 0.05
    assert np.corrcoef(np.corrcoef(alleles.T).ravel(), np.corrcoef(drawn.T).ravel())[0, 1] > 0.98


def test_a_fit_goes_on_where_it_stopped(tmp_path):
    kept = tmp_path / "checkpoint"
    kept.mkdir()
    ctx = context(tmp_path, checkpoint=kept)
    whole = fitted("hclt", TRAIN, context(tmp_path), iterations=6)

    class KilledError(Exception):
        pass

    def kill(share: float, _: str) -> None:
        if share > 0.6:
            raise KilledError

    with pytest.raises(KilledError):
        fitted("hclt", TRAIN, replace(ctx, progress=kill), iterations=6)
    told: list[float] = []
    again = fitted("hclt", TRAIN, replace(ctx, progress=lambda f, _: told.append(f)), iterations=6)
    assert told == pytest.approx([5 / 6, 1])
    assert np.array_equal(again.tree.transitions, whole.tree.transitions)


def test_threads_change_nothing(tmp_path):
    one, two = (fitted("hclt", TRAIN, context(tmp_path, threads=t)) for t in (1, 2))
    assert np.array_equal(one.tree.transitions, two.tree.transitions)


def test_likelihood_of_another_panel_is_refused(tmp_path):
    model = fitted("hclt", TRAIN, context(tmp_path))
    with pytest.raises(PluginError, match="39 sites; expected 40"):
        model.log_likelihood(TRAIN.select_sites(np.arange(39)))


def test_many_leaves_do_not_underflow():
    """A hub of 400 sites, none of which fits its state."""
    n = 401
    transitions = np.full((n, 2, 2), 1e-6, np.float32)
    transitions[:, [0, 1], [0, 1]] = 1 - 1e-6
    transitions[0] = 0.5
    emissions = np.tile(np.float32([1e-6, 1 - 1e-6]), (n, 1))
    parent = np.zeros(n, np.int64)
    parent[0] = -1
    tree = Tree(np.arange(n), parent, transitions, emissions)
    alleles = np.ones((1, n), np.int8)
    alleles[0, : n // 2] = 0
    assert tree.log_likelihood(alleles)[0] == pytest.approx(
        np.log(0.5) + np.log(1e-6) + 199 * np.log(2e-6), rel=1e-3
    )
