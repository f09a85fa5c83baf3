"""Both GANs: what they learn in a moment, labels, layers, and fits that go on."""

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


def test_wgan_learns_frequencies_and_which_sites_go_together(tmp_path):
    alleles, _ = clusters(2 * PEOPLE, 24)
    ctx = context(tmp_path)
    drawn = sampled(fitted("wgan", panel(alleles), ctx, **LEARNT), ctx, 2000)
    assert np.abs(drawn.mean(axis=0) - alleles.mean(axis=0)).max() < 0.15
    real, made = (np.cov(rows.T)[np.triu_indices(24, 1)] for rows in (alleles, drawn))
    assert np.corrcoef(real, made)[0, 1] > 0.9


def test_gan_makes_haplotypes_that_resemble_real_ones(tmp_path):
    """How often it makes each of the four kinds isn't asked: GANs leave some out."""
    alleles, _ = clusters(2 * PEOPLE, 24)
    rates = {"learning_rate": 0.001, "critic_learning_rate": 0.002, "averaging": 0.95}
    ctx = context(tmp_path)
    model = fitted("gan", panel(alleles), ctx, **rates, updates=1000, batch_size=64, latents=16)
    drawn = sampled(model, ctx, 500)
    apart = np.random.default_rng(1).random((500, 24)) < alleles.mean(axis=0)
    near, by_chance = (
        (rows[:, None] != alleles[None]).sum(axis=2).min(axis=1).mean() for rows in (drawn, apart)
    )
    assert near < by_chance / 2
    assert len(np.unique(drawn, axis=0)) > 20


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


def test_layers_of_the_published_gan_follow_the_number_of_sites(tmp_path):
    """Widths of Yelmen et al. (2021) for 805 SNPs, 600 latents: 670, 731; 402, 268."""
    alleles = np.random.default_rng(1).integers(0, 2, (40, 805))
    kept = tmp_path / "kept"
    kept.mkdir()
    ctx = context(tmp_path, checkpoint=kept)
    published = {"updates": 50, "batch_size": 1, "latents": 600, "maker": None, "critic": None}
    model = fitted("gan", panel(alleles), ctx, **published)
    widths = [model.weights[f"layer-{at}"].shape[0] for at in (0, 2, 4)]
    assert widths == [670, 731, 805]
    assert model.weights["layer-0"].shape[1] == 600 + 1  # one label, of everybody
    with np.load(kept / "networks.npz") as state:
        assert [state[f"critic-{at}"].shape[0] for at in (0, 2, 4)] == [402, 268, 1]


@pytest.mark.parametrize("name", ["wgan", "gan"])
def test_a_killed_fit_goes_on(name, tmp_path):
    train = panel(clusters(60, 12)[0])
    params = {"updates": 60, "batch_size": 8, "maker": (8,), "critic": (8,)}
    whole = fitted(name, train, context(tmp_path), **params)
    kept = tmp_path / "kept"
    kept.mkdir()

    def killer(share: float, words: str) -> None:
        if share == 1:
            raise InterruptedError

    ctx = context(tmp_path, checkpoint=kept)
    with pytest.raises(InterruptedError):
        fitted(name, train, replace(ctx, progress=killer), **params)
    seen: list[float] = []
    again = replace(ctx, progress=lambda share, words: seen.append(share))
    resumed = fitted(name, train, again, **params)
    assert seen == [update / 60 for update in range(51, 61)]
    for name, weights in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], weights)
