"""Admixture and families: where ancestry changes, who has what from whom, and the tables."""

from __future__ import annotations

import numpy as np
import pytest
from peer_cases import context, fitted, panel, sampled
from scipy import stats

from haplobench import PluginError, RecombinationMap, SampleRequest

N_SITES = 400
SPAN = 1000 * (N_SITES - 1)
NAMES = np.repeat(["AFR", "EUR"], 20)
# Each ancestry has one allele everywhere, so that a haplotype tells its own.
MARKED = np.repeat(np.arange(40) // 20, 2)[:, None] * np.ones((1, N_SITES))


def half_a_morgan():
    """A map whose second half has four fifths of the recombinations."""
    positions = np.array([1, 1 + SPAN // 2, 1 + SPAN])
    return RecombinationMap(positions, np.array([0.0, 10.0, 50.0]))


def marked(folder):
    train = panel(MARKED, population=NAMES, superpopulation=NAMES)
    return train, context(folder, recombination_map=half_a_morgan())


def table(path):
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


def test_ancestry_changes_along_the_map_as_often_as_generations_say(tmp_path):
    train, ctx = marked(tmp_path)
    params = {"generations": 6, "proportions": {"AFR": 3, "EUR": 1}}
    drawn = sampled(fitted("admixture", train, ctx, **params), ctx, 2000)
    assert drawn.mean() == pytest.approx(0.25, abs=0.02)
    changes = np.diff(drawn, axis=1) != 0
    # A point of the process changes the ancestry with the chance that two draws differ.
    expected = 0.5 * 6 * 2 * 0.25 * 0.75
    per_haplotype = changes.sum() / 2000
    assert per_haplotype == pytest.approx(expected, abs=4 * np.sqrt(expected / 2000))
    assert changes[:, N_SITES // 2 :].sum() / changes.sum() == pytest.approx(0.8, abs=0.04)
    first = (changes.cumsum(axis=1) == 0).sum(axis=1)  # sites until the first change
    morgans = half_a_morgan().at(train.positions) / 100
    lengths = morgans[np.minimum(first, N_SITES - 1)]
    rows = drawn[:, 0] == 0
    inside = lengths[rows & (lengths < 0.5)]
    rate = 6 * 0.25  # AFR pieces end where an EUR one follows
    cut = stats.truncexpon(b=0.5 * rate, scale=1 / rate)
    assert stats.kstest(inside, cut.cdf).pvalue > 1e-3


def test_the_table_tells_every_pieces_ancestry(tmp_path):
    train, ctx = marked(tmp_path)
    model = fitted("admixture", train, ctx, generations=8)
    drawn = np.concatenate(list(model.sample(SampleRequest(21, start=250), ctx)))
    told = np.full((21, N_SITES), -1)
    for haplotype, start, end, ancestry in table(tmp_path / "local-ancestry-250.tsv"):
        sites = (train.positions >= int(start)) & (train.positions <= int(end))
        assert (told[int(haplotype) - 250, sites] == -1).all()
        told[int(haplotype) - 250, sites] = ancestry == "EUR"
    assert np.array_equal(told, drawn)


def test_an_ancestry_that_nobody_has_is_refused(tmp_path):
    train, ctx = marked(tmp_path)
    with pytest.raises(PluginError, match=r"name 'EAS', which nobody .* \(there are: AFR, EUR\)"):
        fitted("admixture", train, ctx, proportions={"EAS": 1})


def test_children_have_half_of_each_parent_and_the_maps_crossovers(tmp_path):
    """Where a parent's alleles differ, a child's tells its strand."""
    rng = np.random.default_rng(2)
    train = panel(rng.integers(0, 2, (80, N_SITES)))
    ctx = context(tmp_path, recombination_map=half_a_morgan())
    drawn = sampled(fitted("families", train, ctx, children=2, generations=0), ctx, 8 * 150)
    crossovers, shared = [], []
    for family in drawn.reshape(150, 4, 2, N_SITES):
        for child, parent in ((2, 0), (2, 1), (3, 0), (3, 1)):
            gamete, (first, second) = family[child, parent], family[parent]
            differ = np.flatnonzero(first != second)
            assert ((gamete == first) | (gamete == second)).all()
            strand = gamete[differ] == second[differ]
            crossovers.append(np.count_nonzero(np.diff(strand)))
            shared += strand.tolist()
    # 50 cM: but for pairs too near to be seen apart.
    assert np.mean(crossovers) == pytest.approx(0.5, abs=4 * np.sqrt(0.5 / 600))
    assert np.mean(shared) == pytest.approx(0.5, abs=0.08)


def test_the_table_tells_who_is_whose_child(tmp_path):
    train, ctx = panel(np.random.default_rng(3).integers(0, 2, (40, 30))), context(tmp_path)
    model = fitted("families", train, ctx, children=1, generations=0)
    whole = np.concatenate(list(model.sample(SampleRequest(600), ctx))).reshape(-1, 2, 30)
    rows = np.array(table(tmp_path / "families-0.tsv"), int)
    assert np.array_equal(rows[:, 1], np.arange(300))
    assert (rows[:, 0] == np.arange(300) // 3).all()
    children = rows[rows[:, 2] >= 0]
    assert len(children) == 100
    for _, child, father, mother in children:
        # No allele that the parent of that strand hasn't.
        for strand, parent in ((0, father), (1, mother)):
            assert ((whole[child, strand] == whole[parent]).any(axis=0)).all()
    assert (rows[rows[:, 1] % 3 < 2][:, 2:] == -1).all()
