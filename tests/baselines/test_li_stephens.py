"""Li-Stephens mosaic: switches, mutations and whom it copies, against closed forms."""

from __future__ import annotations

import msprime
import numpy as np
import pytest
from baseline_cases import context, fitted, panel, rows, sampled, worst_z
from scipy import special
from tree_panels import panel_of_trees

from haplobench import PluginError, RecombinationMap
from haplobench.testing import example_panel
from haplobench_baselines.common import Groups
from haplobench_baselines.li_stephens import (
    Copies,
    copying_pairs,
    likeliest_rates,
    watterson_theta,
)

TRAIN = example_panel(n_samples=45, n_sites=60, populations=("YRI", "CEU", "CHB"))


def test_without_recombination_and_mutation_it_copies(tmp_path):
    ctx = context(tmp_path)
    mosaic = fitted("li-stephens", TRAIN, ctx, theta=0, cm_per_mb=0)
    for label in ("YRI", "CEU", "CHB"):
        own = TRAIN.haplotypes[TRAIN.haplotype_populations == label]
        drawn = sampled(mosaic, ctx, 600, populations=np.full(600, label))
        assert rows(drawn) == rows(own)


def test_endless_recombination_leaves_frequencies_and_no_ld(tmp_path):
    ctx = context(tmp_path)
    mosaic = fitted("li-stephens", TRAIN, ctx, theta=0, ne=1e12, within="all")
    n = 2000
    drawn = sampled(mosaic, ctx, n)
    assert worst_z(drawn.sum(axis=0, dtype=np.int64), n, TRAIN.frequencies) < 4.5
    polymorphic = drawn[:, drawn.any(axis=0) & ~drawn.all(axis=0)]
    r = np.corrcoef(polymorphic.T)
    r2 = r[np.triu_indices(polymorphic.shape[1], 1)] ** 2
    assert r2.mean() * (n - 1) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("ne", [100.0, 2000.0])
def test_switches_follow_the_map(ne, tmp_path):
    """Of two haplotypes, 0…0 and 1…1, a switch shows with probability ½ (1 - exp(-4 Ne d / n))."""
    alleles = np.tile([[0], [1]], (1, 60))
    train = panel(alleles)
    rng = np.random.default_rng(6)
    steps = rng.exponential(0.02, 59) * (rng.random(59) < 0.8)  # cM; a fifth without any
    centimorgans = np.concatenate([[0.0], np.cumsum(steps)])
    recombination_map = RecombinationMap(train.positions, centimorgans)
    ctx = context(tmp_path, recombination_map=recombination_map)
    n = 20_000
    drawn = sampled(fitted("li-stephens", train, ctx, theta=0, ne=ne), ctx, n)
    switched = (drawn[:, 1:] != drawn[:, :-1]).sum(axis=0)
    expected = (1 - np.exp(-4 * ne * steps / 100 / 2)) / 2
    assert expected.max() > 0.05
    assert worst_z(switched, n, expected) < 4.2


def test_without_a_map_the_rate_is_cm_per_mb(tmp_path):
    train = panel(np.tile([[0], [1]], (1, 30)), step=500)
    ctx = context(tmp_path)
    n = 20_000
    mosaic = fitted("li-stephens", train, ctx, theta=0, ne=5000, cm_per_mb=3)
    drawn = sampled(mosaic, ctx, n)
    expected = (1 - np.exp(-4 * 5000 * 500 * 3e-8 / 2)) / 2
    switched = (drawn[:, 1:] != drawn[:, :-1]).sum(axis=0)
    assert worst_z(switched, n, np.full(29, expected)) < 4


@pytest.mark.parametrize("theta", [None, 0.02, 5.0])
def test_mutations_are_as_frequent_as_the_model_says(theta, tmp_path):
    """A copied allele errs with probability θ / (2 (n + θ)), in each population with its own n."""
    people = {"A": 4, "B": 16}
    labels = np.repeat(list(people), list(people.values()))
    train = panel(np.zeros((40, 200)), population=labels)
    ctx = context(tmp_path)
    mosaic = fitted("li-stephens", train, ctx, theta=theta)
    for label, count in people.items():
        n = 2 * count
        scaled = 1 / (special.digamma(n) + np.euler_gamma) if theta is None else theta
        drawn = sampled(mosaic, ctx, 5000, populations=np.full(5000, label))
        expected = np.array([scaled / (2 * (n + scaled))])
        assert worst_z(np.array([drawn.sum(dtype=np.int64)]), drawn.size, expected) < 4
        assert worst_z(drawn.sum(axis=0, dtype=np.int64), 5000, np.repeat(expected, 200)) < 4.5


@pytest.mark.parametrize("n", [2, 3, 10, 5008])
def test_theta_estimate(n):
    assert watterson_theta(n) == pytest.approx(1 / (special.digamma(n) + np.euler_gamma))


@pytest.mark.parametrize(
    ("within", "copied"), [("population", {1}), ("superpopulation", {1, 2}), ("all", {0, 1, 2})]
)
def test_whom_it_copies(within, copied, tmp_path):
    """Each population's haplotypes carry its own mark at one site."""
    alleles = np.zeros((30, 3), np.int8)
    alleles[np.arange(30), np.arange(30) // 10] = 1
    train = panel(
        alleles,
        population=np.repeat(["YRI", "CEU", "GBR"], 5),
        superpopulation=np.repeat(["AFR", "EUR", "EUR"], 5),
    )
    ctx = context(tmp_path)
    mosaic = fitted("li-stephens", train, ctx, theta=0, cm_per_mb=0, within=within)
    drawn = sampled(mosaic, ctx, 400, populations=np.full(400, "CEU"))
    assert set(drawn.argmax(axis=1).tolist()) == copied


def test_the_population_stands_in_for_a_missing_superpopulation(tmp_path):
    alleles = np.zeros((8, 2), np.int8)
    alleles[np.arange(8), np.arange(8) // 4] = 1
    train = panel(alleles, population=np.repeat(["A", "B"], 2))
    ctx = context(tmp_path)
    mosaic = fitted("li-stephens", train, ctx, theta=0, within="superpopulation")
    drawn = sampled(mosaic, ctx, 100, populations=np.repeat(["A", "B"], 50))
    assert np.array_equal(drawn.argmax(axis=1), np.repeat([0, 1], 50))


def test_a_population_in_two_superpopulations_is_refused(tmp_path):
    train = panel(
        np.zeros((4, 2)),
        population=np.array(["CEU", "CEU"]),
        superpopulation=np.array(["EUR", "AFR"]),
    )
    with pytest.raises(PluginError, match="'CEU' lies in several superpopulations"):
        fitted("li-stephens", train, context(tmp_path), within="superpopulation")


def test_a_lone_haplotype_is_refused(tmp_path):
    train = panel(np.zeros((3, 2)), ploidy=1, population=np.array(["A", "A", "B"]))
    with pytest.raises(PluginError, match="one haplotype"):
        fitted("li-stephens", train, context(tmp_path))


@pytest.mark.parametrize(("ne", "theta"), [(2000.0, 0.5), (20_000.0, 4.0)])
def test_fitted_rates_are_those_that_made_the_haplotypes(ne, theta, tmp_path):
    """Founders in linkage equilibrium, so that it shows where copying switches."""
    rng = np.random.default_rng(3)
    founders = panel(rng.random((40, 1500)) < 0.5)
    steps = rng.exponential(3e-5, 1499)
    centimorgans = np.concatenate([[0.0], np.cumsum(steps)]) * 100
    ctx = context(tmp_path, recombination_map=RecombinationMap(founders.positions, centimorgans))
    model = fitted("li-stephens", founders, ctx, ne=ne, theta=theta)
    drawn = np.ascontiguousarray(sampled(model, ctx, 60).T)
    sources = np.repeat(founders.haplotypes.T[:, None], 60, axis=1)
    copies = [Copies(np.arange(1500), np.zeros(1499, np.bool_), drawn, sources)]
    found = likeliest_rates(copies, model.morgans, 10_000.0, 1.0)
    assert found == pytest.approx((ne, theta), rel=0.15)
    only_ne = likeliest_rates(copies, model.morgans, 10_000.0, theta, fit_theta=False)
    assert only_ne == (pytest.approx(ne, rel=0.15), theta)


@pytest.mark.parametrize("cm_per_mb", [1.0, 4.0])
def test_simulated_people_have_the_size_of_their_population(cm_per_mb, tmp_path):
    """Only Ne times the map shows: a map four times as long has a quarter of the size."""
    trees = msprime.sim_ancestry(
        120, population_size=10_000, sequence_length=4e5, recombination_rate=1e-8, random_seed=4
    )
    trees = msprime.sim_mutations(
        trees, rate=1.25e-8, random_seed=4, model=msprime.BinaryMutationModel()
    )
    people = panel_of_trees(trees)
    model = fitted(
        "li-stephens",
        people.select_sites(people.common_sites(0.01)),
        context(tmp_path),
        ne="fitted",
        theta="fitted",
        cm_per_mb=cm_per_mb,
    )
    ne = model.switches[0] * 2 * 120 / 4
    assert 0.6 < ne * cm_per_mb / 10_000 < 2.5
    # No allele was misread, and hardly any mutated twice.
    assert model.mutations[0] < 1e-3


def test_long_panels_are_fitted_to_some_runs_of_sites(tmp_path):
    train = example_panel(n_samples=20, n_sites=1300)
    groups = Groups.of(train, "all")
    (copies,) = copying_pairs(train, groups, np.random.default_rng(1))
    assert copies.sites.size == 1000
    breaks = np.flatnonzero(np.diff(copies.sites) > 1)
    assert np.array_equal(np.flatnonzero(copies.starts), breaks)
    assert copies.sources.shape == (1000, copies.targets.shape[1], 39)
    # Nobody copies himself.
    for i in range(copies.targets.shape[1]):
        sources = {row.tobytes() for row in copies.sources[:, i].T}
        assert len(sources) + 1 >= len(rows(train.haplotypes))
    ne, _ = likeliest_rates([copies], np.linspace(0, 0.013, 1300), 1e4, 0.2)
    assert np.isfinite(ne)
    assert ne > 0
