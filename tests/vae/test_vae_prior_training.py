"""Training haplotypes that recombine anew while the prior is trained."""

from __future__ import annotations

import numpy as np
import pytest

from haplobench import RecombinationMap
from haplobench_vae.prior_training import Mosaics


def test_mosaics_switch_at_the_maps_rate_within_the_group() -> None:
    n, n_sites = 60, 50
    group = np.arange(n) // 20 % 2
    # Every haplotype of group g is g at even sites; odd sites tell haplotypes of a group apart.
    haplotypes = np.zeros((n, n_sites), np.int8)
    haplotypes[:, ::2] = group[:, None]
    haplotypes[:, 1::2] = (np.arange(n) % 2)[:, None]
    positions = np.arange(1, n_sites + 1) * 1000
    centimorgans = np.linspace(0, 0.05, 2)
    the_map = RecombinationMap(positions[[0, -1]], centimorgans)
    mosaics = Mosaics.of(haplotypes, group, positions, the_map, ne=1000)
    rows = np.tile(np.arange(n), 200)
    drawn = mosaics.draw(rows, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn[:, ::2], np.repeat(group[rows][:, None], 25, axis=1))
    np.testing.assert_array_equal(drawn[:, 0], haplotypes[rows, 0])
    # Half of all switches are to the other kind of odd sites; two steps between those.
    changes = (np.diff(drawn[:, 1::2], axis=1) != 0).mean(axis=0)
    sizes = np.bincount(group)[group[rows]]
    step = 0.05 / 100 / 49
    expected = np.mean((1 - np.exp(-4 * 1000 * 2 * step / sizes)) / 2)
    assert changes.mean() == pytest.approx(expected, rel=0.1)
    unchanged = mosaics.draw(rows, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(unchanged, haplotypes[rows])
