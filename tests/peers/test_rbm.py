"""Restricted Boltzmann machines: their chains against enumeration, and what they learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from peer_cases import clusters, context, fitted, panel, sampled
from scipy import special, stats

from haplobench.testing import example_panel
from haplobench_peers.common import Frame, Strata, Tiling
from haplobench_peers.rbm import FittedRBM, Machines, fire

TRAIN = example_panel(n_samples=40, n_sites=40, populations=("YRI", "CEU"))


def test_units_fire_with_their_probability():
    field = np.array([-30, -9, -4, -1, -0.1, 0, 0.5, 2, 6, 11, 30], np.float32)
    n = 200_000
    rng = np.random.default_rng(1)
    ones = fire(np.tile(field, (n, 1)), rng).sum(axis=0, dtype=np.int64)
    p = special.expit(field.astype(float))
    deviation = np.sqrt(n * p * (1 - p)) + n * 2**-16 + 1e-4 * n * p * (1 - p)
    assert (np.abs(ones - n * p) < 4 * deviation).all()
    assert ones[0] == 0
    assert ones[-1] == n


def test_long_chains_have_the_distribution_of_the_machine():
    """p(v) ∝ exp(a v) ∏ (1 + exp(b + v W)), enumerated over the 16 states of four sites."""
    rng = np.random.default_rng(5)
    n_sites, n_hidden = 4, 3
    weights = rng.normal(0, 1.2, (1, n_sites, n_hidden)).astype(np.float32)
    visible = rng.normal(0, 0.7, (1, 1, n_sites)).astype(np.float32)
    hidden = rng.normal(0, 0.7, (1, 1, n_hidden)).astype(np.float32)
    none = np.zeros((1, 1, n_sites), np.float32), np.zeros((1, 1, n_hidden), np.float32)
    train = example_panel(n_samples=4, n_sites=n_sites, populations=())
    machines = Machines(weights, visible, hidden, *none, start=np.zeros_like(visible))
    varying = np.full(n_sites, -1, np.int8)
    frame = Frame(Tiling(n_sites, n_sites, 0), Strata.of(train, "all"), 60, 2, varying)
    model = FittedRBM(machines, frame)
    drawn = model._draw(np.random.default_rng(2), np.zeros(40_000, np.int64)).astype(np.int8)
    states = (np.arange(16)[:, None] >> np.arange(n_sites)) & 1
    p = np.exp(states @ visible[0, 0]) * (1 + np.exp(hidden[0] + states @ weights[0])).prod(axis=1)
    counts = np.bincount(drawn @ (1 << np.arange(n_sites)), minlength=16)
    assert stats.chisquare(counts, p / p.sum() * counts.sum()).pvalue > 1e-4


@pytest.mark.parametrize("window", [10, None])
def test_it_learns_linkage_inside_and_across_windows(window, tmp_path):
    alleles, _ = clusters(400, 30)
    ctx = context(tmp_path)
    model = fitted("rbm", panel(alleles), ctx, window=window, overlap=10, updates=300, steps=8)
    assert model.frame.tiling.n_windows == (3 if window else 1)
    drawn = sampled(model, ctx, 2000)
    assert np.abs(drawn.mean(axis=0) - alleles.mean(axis=0)).max() < 0.08
    r_real, r = np.corrcoef(alleles.T), np.corrcoef(drawn.T)
    assert np.corrcoef(r_real[:10, :10].ravel(), r[:10, :10].ravel())[0, 1] > 0.95
    assert np.corrcoef(r_real[:10, 10:20].ravel(), r[:10, 10:20].ravel())[0, 1] > 0.9


def test_it_keeps_to_the_population_asked_for(tmp_path):
    alleles, which = clusters(400, 30)
    order = np.argsort(which % 2, kind="stable")
    labels = np.repeat(["A", "B"], 100)
    train = panel(alleles[order], population=labels)
    ctx = context(tmp_path)
    model = fitted("rbm", train, ctx, updates=200)
    for label in ("A", "B"):
        own = train.haplotypes[train.haplotype_populations == label].mean(axis=0)
        other = train.haplotypes[train.haplotype_populations != label].mean(axis=0)
        drawn = sampled(model, ctx, 1000, np.full(1000, label)).mean(axis=0)
        assert np.abs(drawn - own).mean() < 0.25 * np.abs(drawn - other).mean()


def test_a_fit_goes_on_where_it_stopped(tmp_path):
    """The checkpoint's machines are taken, unless they are of another fit."""
    train = panel(np.tile(TRAIN.haplotypes, (1, 8)))
    kept = tmp_path / "checkpoint"
    kept.mkdir()
    ctx = context(tmp_path, checkpoint=kept)
    first = fitted("rbm", train, ctx, updates=5)
    assert {path.name for path in kept.iterdir()} == {
        f"windows-{start}.npz" for start in (0, 8, 16)
    }
    (kept / "windows-8.npz").unlink()
    (kept / "windows-16.npz").write_bytes(b"torn")
    told: list[float] = []
    again = fitted("rbm", train, replace(ctx, progress=lambda f, _: told.append(f)), updates=5)
    assert len(told) == 10
    other = fitted("rbm", train, ctx, updates=6)
    for name, values in vars(first.machines).items():
        assert np.array_equal(values, getattr(again.machines, name))
    assert not np.array_equal(first.machines.weights, other.machines.weights)


def test_threads_change_nothing(tmp_path):
    train = panel(np.tile(TRAIN.haplotypes, (1, 8)))
    one, two = (fitted("rbm", train, context(tmp_path, threads=t), updates=4) for t in (1, 2))
    assert np.array_equal(one.machines.weights, two.machines.weights)
