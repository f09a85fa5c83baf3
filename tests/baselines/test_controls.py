"""The two controls: frequencies without LD, and whole training people."""

from __future__ import annotations

import numpy as np
import pytest
from baseline_cases import context, fitted, panel, rows, sampled, worst_z

N = 24  # people


def test_frequencies_are_the_training_panels(tmp_path):
    train = panel(np.random.default_rng(0).random((40, 500)) < np.linspace(0, 1, 500))
    ctx = context(tmp_path)
    n = 10_000
    drawn = sampled(fitted("independent", train, ctx), ctx, n)
    assert worst_z(drawn.sum(axis=0, dtype=np.int64), n, train.frequencies) < 4.5


def test_missing_alleles_do_not_count(tmp_path):
    alleles = np.array([[1, 0], [-1, 0], [-1, 1], [1, 1]])
    assert fitted("independent", panel(alleles), context(tmp_path)).frequencies.tolist() == [1, 0.5]


def test_no_ld_between_sites(tmp_path):
    """r² of independent sites has mean 1 / (n - 1), even where training sites are copies."""
    site = np.random.default_rng(1).random((60, 1)) < 0.4
    train = panel(np.repeat(site, 150, axis=1))
    ctx = context(tmp_path)
    n = 500
    r = np.corrcoef(sampled(fitted("independent", train, ctx), ctx, n).T)
    r2 = r[np.triu_indices(150, 1)] ** 2
    assert r2.mean() * (n - 1) == pytest.approx(1, abs=0.06)


@pytest.fixture(scope="module")
def train():
    """Every haplotype is unique; site 0 tells the strand of a person, bits 1-5 its index."""
    index = np.arange(N)
    people = np.repeat((index[:, None] >> np.arange(5)) & 1, 2, axis=0)
    strand = np.tile([0, 1], N)[:, None]
    return panel(np.hstack([strand, people]), population=np.repeat(["A", "B", "C"], [12, 8, 4]))


def who(drawn):
    """Index of the training person behind each synthetic one."""
    strands, people = drawn[:, 0].reshape(-1, 2), drawn[:, 1:] @ (1 << np.arange(5))
    assert (strands == [0, 1]).all(), "both haplotypes, in order"
    people = people.reshape(-1, 2)
    assert np.array_equal(people[:, 0], people[:, 1]), "of one person"
    return people[:, 0]


def test_everyone_once_then_again(train, tmp_path):
    ctx = context(tmp_path)
    drawn = sampled(fitted("copycat", train, ctx), ctx, 4 * N)
    assert rows(drawn) == rows(train.haplotypes)
    people = who(drawn)
    assert sorted(people[:N]) == list(range(N))
    assert np.array_equal(people[:N], people[N:])


def test_later_draws_bring_other_people(train, tmp_path):
    ctx = context(tmp_path)
    copycat = fitted("copycat", train, ctx)
    first, second = (set(who(sampled(copycat, ctx, N, start=start))) for start in (0, N))
    assert not first & second


def test_people_of_the_population_asked_for(train, tmp_path):
    ctx = context(tmp_path)
    labels = np.random.default_rng(0).choice(["A", "B", "C"], 300)
    copycat = fitted("copycat", train, ctx)
    people = who(sampled(copycat, ctx, 600, populations=np.repeat(labels, 2)))
    assert np.array_equal(train.population[people], labels)
    assert set(people) == set(range(N))


@pytest.mark.parametrize("start", [0, 46, 1002])
def test_no_one_twice_among_neighbours_of_one_population(train, start, tmp_path):
    ctx = context(tmp_path)
    labels = np.repeat(["C", "A", "B"], [4, 12, 8])
    copycat = fitted("copycat", train, ctx)
    people = who(sampled(copycat, ctx, 2 * N, start, populations=np.repeat(labels, 2)))
    assert np.unique(people).size == N


def test_the_seed_decides_the_order(train, tmp_path):
    orders = set()
    for seed in (1, 1, 2, 3):
        ctx = context(tmp_path, seed=seed)
        orders.add(tuple(who(sampled(fitted("copycat", train, ctx), ctx, 2 * N))))
    assert len(orders) == 3
