"""Copies of people: the tail's p-values against exponentials, distances against brute force."""

from pathlib import Path

import numpy as np
import pytest

from haplobench import Panel, Reference
from haplobench.testing import example_context
from haplobench_privacy.cohorts import cohorts
from haplobench_privacy.copies import find_copies, tail_p
from haplobench_privacy.evidence import copy_distances, paired


def test_tail_p_values_of_an_exponential_hold_far_beyond_the_sample() -> None:
    rng = np.random.default_rng(1)
    level, found = 1e-4, []
    for _ in range(400):
        null = rng.exponential(size=60)
        # Where the p-value crosses the level, an exponential says how probable more is.
        grid = np.linspace(0, 60, 6001)
        at = grid[np.searchsorted(-tail_p(null, grid, 0.2, 10), -level)]
        found.append(np.exp(-at))
    assert 0.3 * level < np.mean(found) <= 1.5 * level


def test_tail_p_values_inside_the_sample_are_ranks() -> None:
    null = np.arange(100.0)
    assert tail_p(null, np.array([50.0]), 0.2, 10)[0] == 51 / 101
    values = np.linspace(-5, 300, 500)
    assert (np.diff(tail_p(null, values, 0.2, 10)) <= 0).all()
    assert tail_p(np.zeros(20), np.zeros(3), 0.2, 10).tolist() == [1.0] * 3


@pytest.mark.parametrize("ploidy", [1, 2, 3])
def test_people_lie_side_by_side_as_fits_best(ploidy: int) -> None:
    from itertools import permutations

    block = np.random.default_rng(2).integers(0, 50, (4 * ploidy, 5 * ploidy))
    apart = paired(block, ploidy)
    for i in range(4):
        for j in range(5):
            part = block[i * ploidy : (i + 1) * ploidy, j * ploidy : (j + 1) * ploidy]
            ways = [sum(part[a, b] for a, b in enumerate(o)) for o in permutations(range(ploidy))]
            assert apart[i, j] == min(ways)


def test_distances_to_the_cohort_against_brute_force(
    people: tuple[Panel, Panel, Panel], tmp_path: Path
) -> None:
    train, holdout, unseen = people
    context = example_context(tmp_path, train)
    data = cohorts(Reference(train, holdout), unseen, 10_000, context)
    apart = (train.haplotypes[:, None] != unseen.haplotypes[None]).sum(axis=2)
    found = copy_distances(data, train)
    np.testing.assert_array_equal(found[:, :2], apart.min(axis=1).reshape(-1, 2))
    np.testing.assert_array_equal(found[:, 2], paired(apart, 2).min(axis=1))


def test_unseen_people_are_no_copies(people: tuple[Panel, Panel, Panel], tmp_path: Path) -> None:
    train, holdout, unseen = people
    context = example_context(tmp_path, train)
    data = cohorts(Reference(train, holdout), unseen, 10_000, context)
    copies = find_copies(data, np.random.default_rng(1))
    assert copies.p.shape == (train.n_samples, 5)
    assert (copies.p.min(axis=1) * 5 * train.n_samples > 0.05).all()
