"""Latent diffusion: components against scikit-learn's, the path of a Gaussian, labels, resuming."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from peer_cases import clusters, context, fitted, panel, sampled
from sklearn.decomposition import PCA

from haplobench_peers.common import Tiling
from haplobench_peers.diffusion import Latents

LEARNT = {
    "window": 16,
    "overlap": 16,
    "latents": 16,
    "hidden": 64,
    "updates": 200,
    "batch_size": 128,
    "averaging": 0.95,
    "steps": 12,
}


def test_latents_are_principal_components():
    alleles = clusters(300, 40)[0]
    tiling = Tiling.of(40, 20, 8)
    space = Latents.of(tiling.pad(alleles), tiling, 6)
    latents, given = space.encode(tiling.pad(alleles), tiling)
    for window in (0, 1):
        own = alleles[:, 20 * window : 20 * window + 20].astype(float)
        variances = PCA(6).fit(own).explained_variance_ * 299 / 300
        ours = (latents[window] * space.scale[window]).var(axis=0)
        assert np.allclose(ours, variances, rtol=1e-4)
    assert np.allclose((latents**2).mean(axis=(1, 2)), 1, rtol=1e-4)
    assert np.allclose(given[1] + space.given_mean[1], alleles[:, 12:20])


def test_all_components_give_the_alleles_back():
    alleles = clusters(50, 30)[0]
    tiling = Tiling.of(30, 16, 0)
    padded = tiling.pad(alleles)
    space = Latents.of(padded, tiling, 16)
    latents, _ = space.encode(padded, tiling)
    decoded = np.hstack([space.decode(latents[window], window) for window in (0, 1)])
    assert np.array_equal(decoded[:, :30], alleles)


def test_noise_becomes_a_gaussian_where_the_network_knows_it(tmp_path):
    """Of standard normal latents x / (1 + σ²) is the best estimate: a path goes as √(1 + σ²).

    From a noise of 40 to one of .15, of which the latent is then the estimate.
    """
    model = fitted("latent-diffusion", panel(clusters(50, 16)[0]), context(tmp_path), updates=1)
    network = {
        name: torch.zeros(values.shape) if "out" in name else torch.from_numpy(values)
        for name, values in model.network.items()
    }
    start = torch.linspace(-2, 2, 5).repeat(8, 1).T[None].contiguous()
    given = torch.zeros(1, 5, 1)
    for steps, error in ((40, 0.01), (400, 1e-3)):
        end = replace(model, frame=replace(model.frame, steps=steps))._path(network, start, given)
        expected = start * 40 / np.sqrt((1 + 40**2) * (1 + 0.15**2))
        assert np.allclose(end, expected, rtol=error)


def test_it_learns_frequencies_and_which_sites_go_together(tmp_path):
    alleles, _ = clusters(600, 32)
    ctx = context(tmp_path)
    drawn = sampled(fitted("latent-diffusion", panel(alleles), ctx, **LEARNT), ctx, 1500)
    assert np.abs(drawn.mean(axis=0) - alleles.mean(axis=0)).max() < 0.1
    real, made = (np.cov(rows.T)[np.triu_indices(32, 1)] for rows in (alleles, drawn))
    assert np.corrcoef(real, made)[0, 1] > 0.95


def test_the_label_asked_for_is_what_is_drawn(tmp_path):
    """Two superpopulations that differ at every other site."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(300) % 2, 2)
    odds = np.where(np.arange(16) % 2, 0.9, 0.1)
    alleles = rng.random((600, 16)) < np.where(group[:, None] == 1, odds, 1 - odds)
    names = np.where(group[::2] == 1, "AFR", "EUR")
    train = panel(alleles, population=names, superpopulation=names)
    ctx = context(tmp_path)
    model = fitted("latent-diffusion", train, ctx, **LEARNT)
    for name, chances in (("AFR", odds), ("EUR", 1 - odds)):
        drawn = sampled(model, ctx, 600, np.full(600, name))
        assert np.abs(drawn.mean(axis=0) - chances).max() < 0.15


def test_a_killed_fit_goes_on(tmp_path):
    train = panel(clusters(60, 12)[0])
    whole = fitted("latent-diffusion", train, context(tmp_path))
    kept = tmp_path / "kept"
    kept.mkdir()

    def killer(share: float, words: str) -> None:
        if share == 1:
            raise InterruptedError

    ctx = context(tmp_path, checkpoint=kept)
    with pytest.raises(InterruptedError):
        fitted("latent-diffusion", train, replace(ctx, progress=killer))
    seen: list[float] = []
    again = replace(ctx, progress=lambda share, words: seen.append(share))
    resumed = fitted("latent-diffusion", train, again)
    assert seen == [0.0, *(update / 60 for update in range(51, 61))]
    for name, weights in whole.network.items():
        np.testing.assert_array_equal(resumed.network[name], weights)
