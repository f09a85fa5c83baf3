"""Distances looked up for draws of panels are those between the haplotypes drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from haplobench import Panel, memory
from haplobench.data import distances
from haplobench.data.bits import Bits
from haplobench.data.distances import distance_blocks, distance_matrix, distances_kept
from haplobench.runner.floor import dealt_cohort, subsample
from haplobench.testing import example_panel


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(distances, "_BLOCK_PAIRS", 300)
    memory.forget()
    yield
    memory.forget()


def brute(a: Panel, b: Panel) -> np.ndarray:
    return (a.haplotypes[:, None] != b.haplotypes[None]).sum(axis=2)


def looked_up(a: Panel, b: Panel, *rows: np.ndarray) -> np.ndarray:
    blocks = list(distance_blocks(a, b, *rows))
    assert [low for low, _ in blocks] == np.cumsum([0, *(len(x) for _, x in blocks)])[:-1].tolist()
    return np.concatenate([block for _, block in blocks])


@pytest.mark.parametrize(
    ("n", "m", "sites"), [(1, 1, 1), (7, 3, 64), (66, 130, 70), (129, 64, 700)]
)
def test_a_matrix_of_distances_is_counted_right(n: int, m: int, sites: int) -> None:
    rng = np.random.default_rng(n)
    a, b = (rng.integers(0, 2, (rows, sites)).astype(np.int8) for rows in (n, m))
    expected = (a[:, None] != b[None]).sum(axis=2)
    np.testing.assert_array_equal(distance_matrix(Bits.of(a).words, Bits.of(b).words), expected)
    within = (a[:, None] != a[None]).sum(axis=2)
    np.testing.assert_array_equal(distance_matrix(Bits.of(a).words), within)


@pytest.mark.parametrize("packed", [False, True])
def test_draws_of_one_panel_or_of_two_are_looked_up(packed: bool) -> None:
    train, real = example_panel(40, n_sites=90), example_panel(30, n_sites=90, seed=1)
    real = train.with_haplotypes(real.haplotypes)
    if packed:
        train, real = (
            replace(panel, haplotypes=Bits.of(panel.haplotypes))  # type: ignore[arg-type]
            for panel in (train, real)
        )
    for pool in (train, None):
        for draw in range(2):
            reference, cohort = dealt_cohort(pool, real, 12, draw, 1)
            sides = (reference.holdout, cohort, subsample(cohort, 7, draw, 1))
            for a in sides:
                for b in sides:
                    np.testing.assert_array_equal(looked_up(a, b), brute(a, b))
    rows, others = np.array([3, 0, 17]), np.array([5, 4])
    expected = brute(real, cohort)[np.ix_(rows, others)]
    np.testing.assert_array_equal(looked_up(real, cohort, rows, others), expected)


def test_little_of_a_large_panel_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = example_panel(40, n_sites=20)
    few = panel.select_samples([1, 2, 3])
    assert distances_kept(panel, panel)
    assert not distances_kept(few, few)
    monkeypatch.setattr(distances, "_MOST_PAIRS", 100)
    assert not distances_kept(panel, panel)


def test_a_panel_at_other_sites_is_drawn_of_nothing() -> None:
    drawn = example_panel(40, n_sites=20).select_samples(np.arange(5))
    assert drawn.origin[0][0].n_samples == 40
    cut = drawn.select_sites(np.arange(3, 9))
    assert cut.origin[0][0] is cut
