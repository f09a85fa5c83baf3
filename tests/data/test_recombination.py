"""Recombination maps from haplotypes: simulated people of known rates, and enumeration."""

from itertools import pairwise, product

import msprime
import numpy as np
import pytest
from tree_panels import panel_of_trees

from haplobench import Panel
from haplobench.data.recombination import _expected_switches, estimate_map

NE = 10_000


def people(rate: float | msprime.RateMap, n: int, length: int, seed: int = 1) -> Panel:
    """Simulated people; `rate` in cM/Mb."""
    trees = msprime.sim_ancestry(
        n,
        population_size=NE,
        sequence_length=length,
        recombination_rate=rate * 1e-8 if isinstance(rate, float) else rate,
        random_seed=seed,
    )
    trees = msprime.sim_mutations(
        trees, rate=1.25e-8, random_seed=seed, model=msprime.BinaryMutationModel()
    )
    return panel_of_trees(trees)


def mean_rate(panel: Panel) -> float:
    groups = np.zeros(panel.n_haplotypes, np.int64)
    estimated = estimate_map(panel, groups, NE, np.random.default_rng(1))
    start, end = panel.positions[[0, -1]]
    return float(np.diff(estimated.at([start, end]))[0] / (end - start) * 1e6)


@pytest.mark.parametrize(
    ("rate", "length", "low", "high"),
    [(0.1, 600_000, 0.5, 4), (1.0, 400_000, 0.5, 2), (10.0, 200_000, 0.3, 1.5)],
)
def test_the_mean_rate_is_that_of_the_simulation(
    rate: float, length: int, low: float, high: float
) -> None:
    found = [mean_rate(people(rate, 100, length, seed)) for seed in (1, 2)]
    assert low < np.exp(np.mean(np.log(found))) / rate < high, found


def test_a_hot_spot_is_where_it_is() -> None:
    rates = msprime.RateMap(position=[0, 3e5, 3.2e5, 6e5], rate=[0.2e-8, 60e-8, 0.2e-8])
    panel = people(rates, 150, 600_000, 5)
    groups = np.zeros(panel.n_haplotypes, np.int64)
    estimated = estimate_map(panel, groups, NE, np.random.default_rng(1))
    pieces = np.linspace(0, 600_000, 13)
    found = np.diff(estimated.at(pieces))
    assert found.argmax() in (5, 6), found
    assert found[[5, 6]].sum() > 3 * np.median(found) * 2, found


def test_groups_keep_to_themselves() -> None:
    """Haplotypes of another population explain nobody: pooled, they seem to switch more."""
    demography = msprime.Demography()
    for name in ("pop_0", "pop_1", "old"):
        demography.add_population(name=name, initial_size=NE)
    demography.add_population_split(4 * NE, derived=["pop_0", "pop_1"], ancestral="old")
    trees = msprime.sim_ancestry(
        {"pop_0": 60, "pop_1": 60},
        demography=demography,
        sequence_length=400_000,
        recombination_rate=1e-8,
        random_seed=2,
    )
    trees = msprime.sim_mutations(
        trees, rate=1.25e-8, random_seed=2, model=msprime.BinaryMutationModel()
    )
    panel = panel_of_trees(trees)
    own = estimate_map(panel, np.repeat([0, 1], 120), NE, np.random.default_rng(1))
    length = np.ptp(own.at(panel.positions))
    assert 0.5 < length / 0.4 < 2.5, length


def test_expected_switches_are_those_of_all_paths() -> None:
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 2, (5, 2)).astype(np.int8)
    sources = rng.integers(0, 2, (5, 2, 3)).astype(np.int8)
    targets[1, 0] = -1
    expected, miscopied = np.array([0.1, 0.9, 0.4, 0.2]), 0.07
    found, errors = _expected_switches(targets, sources, expected, miscopied)
    jump = 1 - np.exp(-expected)
    switches, wrong = np.zeros(4), 0.0
    for t in range(2):
        total, here, off = 0.0, np.zeros(4), 0.0
        for path, jumps in product(product(range(3), repeat=5), product([0, 1], repeat=4)):
            if any(not j and a != b for j, (a, b) in zip(jumps, pairwise(path), strict=True)):
                continue
            p = 1 / 3
            for j, x in zip(jumps, jump, strict=True):
                p *= x / 3 if j else 1 - x
            missed = 0
            for site, source in enumerate(path):
                fits = targets[site, t] in (-1, sources[site, t, source])
                p *= 1 - miscopied if fits else miscopied
                missed += not fits
            total += p
            here += p * np.array(jumps)
            off += p * missed
        switches += here / total
        wrong += off / total
    np.testing.assert_allclose(found, switches * expected / jump, rtol=1e-4)
    assert errors == pytest.approx(wrong / 9, rel=1e-4)


def test_panels_with_little_to_go_by_get_one_centimorgan_per_megabase() -> None:
    panel = people(1.0, 50, 100_000).select_samples(np.arange(1))
    assert mean_rate(panel) == pytest.approx(1)
    few = people(1.0, 50, 100_000)
    few = few.select_sites(np.arange(5))
    assert mean_rate(few) == pytest.approx(1)


def test_haplotypes_of_as_many_labels_as_people_are_one_group() -> None:
    """Haploid people of a population each: nobody has another of the group to be copied from."""
    panel = people(1.0, 30, 100_000)
    alone = np.arange(panel.n_haplotypes)
    found, pooled = (
        estimate_map(panel, groups, NE, np.random.default_rng(1))
        for groups in (alone, np.zeros_like(alone))
    )
    np.testing.assert_array_equal(found.centimorgans, pooled.centimorgans)
