"""The prior: causality, locality, the cache against the whole sequence, mosaics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from haplobench import RecombinationMap
from haplobench_vae.codebooks import Codebooks
from haplobench_vae.mosaics import Mosaics
from haplobench_vae.prior import PriorShape, WindowPrior
from haplobench_vae.sampling import BlockSampler, inverse_cdf
from haplobench_vae.training import reproducible

SITES, CODES, N = 6, 5, 7


def prior(n_windows: int = 40, reach: int = 4, layers: int = 2) -> WindowPrior:
    """A prior with random weights everywhere, where training starts at zero, too."""
    generator = torch.Generator().manual_seed(0)
    shape = PriorShape(n_windows, SITES, CODES, 3, (0, 0, 1), 8, layers, 2, 2, reach, 4)
    books = Codebooks(
        torch.randn(n_windows, CODES, SITES, generator=generator),
        torch.randn(n_windows, CODES, generator=generator).log_softmax(-1),
    )
    model = WindowPrior(shape, books, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def example(n_windows: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(CODES, (n_windows, N), generator=generator)
    alleles = torch.randint(0, 2, (n_windows, N, SITES), generator=generator).to(torch.int8)
    return codes, alleles, torch.arange(N) % 3


@pytest.mark.parametrize("length", [3, 4, 5, 12, 13])
def test_chunked_attention_is_dense_attention_with_a_band(length: int) -> None:
    block = prior(reach=4).blocks[0]
    hidden = torch.randn(2, length, 8, generator=torch.Generator().manual_seed(2))
    q, k, v = block.split(hidden)
    distance = torch.arange(length)[:, None] - torch.arange(length)[None]
    bias = block.distance_bias[:, distance.clamp(0, 3)]
    bias = bias.masked_fill((distance < 0) | (distance >= 4), -torch.inf)
    scores = q @ k.transpose(-1, -2) / 2.0 + bias
    expected = block.finish(hidden, (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(block(hidden), expected)


def test_no_window_sees_itself_or_those_after_it() -> None:
    model = prior()
    codes, alleles, population = example()
    before = model.scores(codes, alleles, population)[0]
    changed = codes.clone()
    changed[20] = (changed[20] + 1) % CODES
    after = model.scores(changed, alleles, population)[0]
    torch.testing.assert_close(after[:21], before[:21])
    assert (after[21] - before[21]).abs().max() > 1e-3
    # Two layers of reach 4: seven windows on at the most.
    torch.testing.assert_close(after[28:], before[28:])


@pytest.mark.parametrize(("n_windows", "reach"), [(5, 8), (20, 4)])
def test_sampling_with_the_cache_gives_what_the_whole_sequence_gives(
    n_windows: int, reach: int
) -> None:
    model = prior(n_windows, reach)
    rng = np.random.default_rng(0)
    population = np.arange(N) % 3
    code_levels = rng.random((n_windows, N), np.float32)
    allele_levels = rng.random((n_windows, N, SITES), np.float32)
    sampler = BlockSampler(model, N, temperature=0.7)
    with reproducible(1):
        drawn = sampler.draw(population, code_levels, allele_levels)
    # The codes drawn are found again from the same levels, window by window.
    alleles = torch.from_numpy(drawn)
    codes = torch.zeros(n_windows, N, dtype=torch.int64)
    with torch.no_grad(), reproducible(1):
        for window in range(n_windows):
            scores, _ = model.scores(codes, alleles, torch.from_numpy(population))
            codes[window] = inverse_cdf(scores[window], torch.from_numpy(code_levels[window]))
        _, logits = model.scores(codes, alleles, torch.from_numpy(population))
    expected = torch.from_numpy(allele_levels) < torch.sigmoid(logits / 0.7)
    np.testing.assert_array_equal(drawn, expected.numpy())
    again = sampler.draw(population, code_levels, allele_levels)
    np.testing.assert_array_equal(drawn, again)


def test_the_loss_is_that_of_codes_and_alleles() -> None:
    model = prior()
    codes, alleles, population = example()
    loss = model(codes, alleles, population)
    scores, logits = model.scores(codes, alleles, population)
    code = -scores.log_softmax(-1).gather(-1, codes[..., None])[..., 0].sum(0)
    allele = -torch.distributions.Bernoulli(logits=logits).log_prob(alleles.float()).sum((0, 2))
    torch.testing.assert_close(loss, torch.stack([code, allele], dim=1))
    missing = alleles.clone()
    missing[-1] = -1
    less = -torch.distributions.Bernoulli(logits=logits[:-1]).log_prob(alleles[:-1].float())
    torch.testing.assert_close(model(codes, missing, population)[:, 1], less.sum((0, 2)))


def test_inverse_cdf_draws_by_softmax() -> None:
    scores = torch.tensor([0.0, 2.0, -1.0, 1.0]).expand(200_000, 4)
    level = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    shares = functional.one_hot(inverse_cdf(scores, level), 4).double().mean(0)
    torch.testing.assert_close(shares, scores[0].softmax(-1).double(), atol=4e-3, rtol=0)


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
