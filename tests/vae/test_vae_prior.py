"""The prior: causality, locality, the cache against the whole sequence, mosaics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from haplobench import RecombinationMap
from haplobench_vae import sampling_compiled as kernels
from haplobench_vae.codebooks import Codebooks
from haplobench_vae.prior import PriorShape, WindowPrior
from haplobench_vae.prior_training import Mosaics
from haplobench_vae.sampling import ArgmaxLevels, BlockSampler, SeededLevels
from haplobench_vae.sampling_compiled import CompiledSampler
from haplobench_vae.sampling_device import DeviceSampler, inverse_cdf
from haplobench_vae.training import reproducible

SITES, CODES, N = 6, 5, 7


def prior(n_windows: int = 40, reach: int = 4, layers: int = 2) -> WindowPrior:
    """A prior with random weights everywhere, where training starts at zero, too."""
    generator = torch.Generator().manual_seed(0)
    shape = PriorShape(n_windows, SITES, CODES, 3, (0, 0, 1), 8, layers, 2, 2, reach, 4)
    codebooks = Codebooks(
        torch.randn(n_windows, CODES, SITES, generator=generator),
        torch.randn(n_windows, CODES, generator=generator).log_softmax(-1),
    )
    model = WindowPrior(shape, codebooks, generator)
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


class Given:
    """Levels chosen beforehand."""

    def __init__(self, code: NDArray[np.float32], allele: NDArray[np.float32]) -> None:
        self._windows = iter(zip(torch.from_numpy(code), torch.from_numpy(allele), strict=True))

    def fill(self, code: torch.Tensor, allele: torch.Tensor) -> None:
        levels = next(self._windows)
        code.copy_(levels[0])
        allele.copy_(levels[1])


def on_device(model: WindowPrior, size: int, temperature: float) -> BlockSampler:
    return DeviceSampler(model, size, temperature, cached=torch.float32)


@pytest.mark.parametrize("sampler_of", [CompiledSampler, on_device])
@pytest.mark.parametrize(("n_windows", "reach"), [(5, 8), (20, 4)])
def test_sampling_with_the_cache_gives_what_the_whole_sequence_gives(
    n_windows: int, reach: int, sampler_of: Callable[..., BlockSampler]
) -> None:
    model = prior(n_windows, reach)
    rng = np.random.default_rng(0)
    population = np.arange(N) % 3
    code_levels = rng.random((n_windows, N), np.float32)
    allele_levels = rng.random((n_windows, N, SITES), np.float32)
    # The last window's last two sites are padding.
    n_sites = n_windows * SITES - 2
    sampler = sampler_of(model, N, 0.7)
    with reproducible(1):
        drawn = sampler.draw(
            population, Given(code_levels, allele_levels), n_sites, probabilities=True
        )
    assert drawn.alleles.shape == drawn.probabilities.shape == (N, n_sites)
    # The codes drawn are found again from the same levels, window by window.
    padded = np.pad(drawn.alleles, ((0, 0), (0, 2))).reshape(N, n_windows, SITES)
    alleles = torch.from_numpy(padded.transpose(1, 0, 2).copy())
    codes = torch.zeros(n_windows, N, dtype=torch.int64)
    with torch.no_grad(), reproducible(1):
        for window in range(n_windows):
            scores, _ = model.scores(codes, alleles, torch.from_numpy(population))
            codes[window] = inverse_cdf(scores[window], torch.from_numpy(code_levels[window]))
        _, logits = model.scores(codes, alleles, torch.from_numpy(population))
    expected = torch.sigmoid(logits / 0.7).transpose(0, 1).flatten(1)[:, :n_sites].numpy()
    np.testing.assert_allclose(drawn.probabilities, expected, atol=2e-6)
    levels = allele_levels.transpose(1, 0, 2).reshape(N, -1)[:, :n_sites]
    np.testing.assert_array_equal(drawn.alleles, levels < expected)
    again = sampler.draw(population, Given(code_levels, allele_levels), n_sites)
    np.testing.assert_array_equal(drawn.alleles, again.alleles)
    assert again.probabilities.shape == (0, n_sites)
    given = sampler.draw(population, ArgmaxLevels(), n_sites, codes=codes.numpy())
    assert given.alleles.shape == (N, n_sites)


def test_keys_and_values_of_half_precision_are_precise_enough() -> None:
    model, size = prior(20, 4), 500
    population, n_sites = np.arange(size) % 3, 20 * SITES
    exact, half = (
        DeviceSampler(model, size, 0.7, cached=dtype)
        .draw(population, SeededLevels(3, torch.device("cpu")), n_sites)
        .alleles
        for dtype in (torch.float32, torch.float16)
    )
    assert (exact == half).mean() > 0.99


def test_compiled_draws_of_codes_are_those_of_searchsorted() -> None:
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=(CODES, 1000)).astype(np.float32)
    weights[2] = 0
    weights[-1, ::2] = 0
    level = rng.random(1000, np.float32)
    level[:4] = 0, 0, np.nextafter(np.float32(1), np.float32(0)), 1
    cumulative = np.cumsum(weights, axis=0)
    expected = [
        min(np.searchsorted(c, u * c[-1], side="right"), CODES - 1)
        for c, u in zip(cumulative.T, level, strict=True)
    ]
    code = np.empty(1000, np.int64)
    kernels.draw_codes(weights.copy(), level, code)
    np.testing.assert_array_equal(code, expected)


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
    product = inverse_cdf(scores[:1000], level[:1000], torch.ones(4, 4).triu())
    torch.testing.assert_close(product, inverse_cdf(scores[:1000], level[:1000]))


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
