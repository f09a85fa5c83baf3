"""Wasserstein GAN: what it learns in a moment, labels, and fits that go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from peer_cases import clusters, context, fitted, panel, sampled

PEOPLE = 300
LEARNT = {
    "updates": 80,
    "critic_updates": 2,
    "batch_size": 64,
    "learning_rate": 0.01,
    "averaging": 0.9,
    "latents": 16,
    "maker": (64,),
    "critic": (64,),
}


def test_it_learns_frequencies_and_which_sites_go_together(tmp_path):
    alleles, _ = clusters(2 * PEOPLE, 24)
    ctx = context(tmp_path)
    drawn = sampled(fitted("wgan", panel(alleles), ctx, **LEARNT), ctx, 2000)
    assert np.abs(drawn.mean(axis=0) - alleles.mean(axis=0)).max() < 0.15
    real, made = (np.cov(rows.T)[np.triu_indices(24, 1)] for rows in (alleles, drawn))
    assert np.corrcoef(real, made)[0, 1] > 0.9


def test_the_label_asked_for_is_what_is_drawn(tmp_path):
    """Two superpopulations that differ at every other site."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(PEOPLE) % 2, 2)
    odds = np.where(np.arange(16) % 2, 0.9, 0.1)
    alleles = rng.random((2 * PEOPLE, 16)) < np.where(group[:, None] == 1, odds, 1 - odds)
    names = np.where(group[::2] == 1, "AFR", "EUR")
    train = panel(alleles, population=names, superpopulation=names)
    ctx = context(tmp_path)
    model = fitted("wgan", train, ctx, **LEARNT)
    for name, chances in (("AFR", odds), ("EUR", 1 - odds)):
        drawn = sampled(model, ctx, 600, np.full(600, name))
        assert np.abs(drawn.mean(axis=0) - chances).max() < 0.2


def test_a_killed_fit_goes_on(tmp_path):
    train = panel(clusters(60, 12)[0])
    params = {"updates": 60, "batch_size": 8, "maker": (8,), "critic": (8,)}
    whole = fitted("wgan", train, context(tmp_path), **params)
    kept = tmp_path / "kept"
    kept.mkdir()

    def killer(share: float, words: str) -> None:
        if share == 1:
            raise InterruptedError

    ctx = context(tmp_path, checkpoint=kept)
    with pytest.raises(InterruptedError):
        fitted("wgan", train, replace(ctx, progress=killer), **params)
    seen: list[float] = []
    again = replace(ctx, progress=lambda share, words: seen.append(share))
    resumed = fitted("wgan", train, again, **params)
    assert seen == [update / 60 for update in range(51, 61)]
    for name, weights in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], weights)
