"""Sampling: what the whole sequence gives, the same on CPU and GPU, any cut, queued ahead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from prior_cases import CODES, SITES, N, prior
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from haplobench import Panel, SampleRequest
from haplobench.testing import example_context, example_panel
from haplobench_vae import VAEParams
from haplobench_vae import sampling_kernels as kernels
from haplobench_vae import vae as fitted_module
from haplobench_vae.prior import WindowPrior
from haplobench_vae.sampling import (
    ArgmaxLevels,
    BlockSampler,
    DeviceSampler,
    SeededLevels,
    block_size,
    inverse_cdf,
)
from haplobench_vae.sampling_compiled import CompiledSampler, as_lanes, as_rows, fixed
from haplobench_vae.vae import VAE, FittedVAE, reproducible

QUICK = {"window": 16, "codes": 12, "dimension": 16, "heads": 2, "reach": 3, "epochs": 2}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return example_panel(n_samples=100, n_sites=90, seed=2)


@pytest.fixture(scope="module")
def fitted(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> FittedVAE:
    ctx = example_context(tmp_path_factory.mktemp("fit"), panel)
    return VAE().fit(panel, VAEParams.model_validate(QUICK), ctx)


def draw(
    fitted: FittedVAE, folder: Path, panel: Panel, request: SampleRequest, device: str = "cpu"
) -> NDArray[np.int8]:
    ctx = example_context(folder, panel, device=device)
    return np.concatenate(list(fitted.sample(request, ctx)))


def test_blocks_of_the_devices_sampler_queued_ahead_are_those_of_the_cpus(
    fitted: FittedVAE, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SampleRequest(1300, 40, 300)
    expected = draw(fitted, tmp_path, panel, request)
    monkeypatch.setattr(FittedVAE, "_lead", 1)
    monkeypatch.setattr(fitted_module, "block_sampler", on_device)
    found = draw(fitted, tmp_path, panel, request)
    assert found.shape == expected.shape == (1300, 90)
    assert (found == expected).all(axis=1).mean() > 0.98
    part = draw(fitted, tmp_path, panel, SampleRequest(20, 600))
    np.testing.assert_array_equal(part, found[560:580])


@pytest.mark.parametrize("n_sites", [1, 744, 50_000, 3_000_000])
def test_blocks_on_a_device_are_powers_of_two_that_fit(n_sites: int) -> None:
    assert block_size(torch.device("cpu"), n_sites) == 256
    size = block_size(torch.device("cuda"), n_sites)
    assert size & (size - 1) == 0
    assert 256 <= size <= 32_768
    assert size == 256 or size * n_sites <= 1 << 28
    # And the greatest.
    assert size == 32_768 or 2 * size * n_sites > 1 << 28


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_cuda_samples_alike_every_time_and_any_cut(
    fitted: FittedVAE, panel: Panel, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    fitted.save(saved)
    there = VAE().load(saved, example_context(tmp_path, panel, device="cuda:0"))
    n = there.block + 600
    once, again = (
        draw(there, tmp_path, panel, SampleRequest(n, batch_size=5000), "cuda:0") for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)
    start = there.block - 100
    part = draw(there, tmp_path, panel, SampleRequest(200, start), "cuda:0")
    np.testing.assert_array_equal(part, once[start : start + 200])
    expected = draw(fitted, tmp_path, panel, SampleRequest(20_000)).mean(axis=0)
    np.testing.assert_allclose(once.mean(axis=0), expected, atol=0.03)


@pytest.mark.parametrize("sampler", [CompiledSampler, DeviceSampler])
def test_a_profiler_sees_samplings_model_parts(
    sampler: type[CompiledSampler | DeviceSampler], fitted: FittedVAE
) -> None:
    sampler_of_64 = sampler(fitted.model, 64, 1.0)
    people = np.zeros(64, np.int64)
    levels = SeededLevels(0, torch.device("cpu"))
    sampler_of_64.draw(people, levels, 90)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        sampler_of_64.draw(people, levels, 90)
    averages = profiler.key_averages()
    calls = {event.key.removeprefix("part:"): event.count for event in averages}
    layers = {name for name in calls if name.startswith("blocks.")}
    assert {name.split(".")[1] for name in layers} == {"0", "1"}
    for name in layers | {"tokens", "levels", "codes", "alleles"}:
        assert calls[name] == 6  # windows
    seconds = {event.key: event.cpu_time_total for event in averages}
    marked = sum(value for key, value in seconds.items() if key.startswith("part:"))
    assert 0 < marked <= sum(event.self_cpu_time_total for event in averages)


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


# Odd numbers of everything that is filled up to a whole number of pairs, rows or lanes.
ODD = {"sites": 7, "dimension": 9, "heads": 3, "feed_forward": 3, "residual": 35}


@pytest.mark.parametrize(("sampler_of", "near"), [(CompiledSampler, 6e-4), (on_device, 2e-6)])
@pytest.mark.parametrize(
    ("n_windows", "reach", "sizes"),
    [(5, 8, {}), (20, 4, {}), (20, 5, ODD), (9, 3, {"heads": 8, "sites": 40})],
)
def test_sampling_with_the_cache_gives_what_the_whole_sequence_gives(
    n_windows: int,
    reach: int,
    sizes: dict[str, int],
    sampler_of: Callable[..., BlockSampler],
    near: float,
) -> None:
    model = prior(n_windows, reach, **sizes)
    width = model.shape.sites
    rng = np.random.default_rng(0)
    population = np.arange(N) % 3
    code_levels = rng.random((n_windows, N), np.float32)
    allele_levels = rng.random((n_windows, N, width), np.float32)
    # The last window's last two sites are padding.
    n_sites = n_windows * width - 2
    sampler = sampler_of(model, N, 0.7)
    with reproducible(1):
        drawn = sampler.draw(
            population, Given(code_levels, allele_levels), n_sites, probabilities=True
        )
    assert drawn.alleles.shape == drawn.probabilities.shape == (N, n_sites)
    # The codes drawn are found again from the same levels, window by window.
    padded = np.pad(drawn.alleles, ((0, 0), (0, 2))).reshape(N, n_windows, width)
    alleles = torch.from_numpy(padded.transpose(1, 0, 2).copy())
    codes = torch.zeros(n_windows, N, dtype=torch.int64)
    with torch.no_grad(), reproducible(1):
        for window in range(n_windows):
            scores, _ = model.scores(codes, alleles, torch.from_numpy(population))
            codes[window] = inverse_cdf(scores[window], torch.from_numpy(code_levels[window]))
        _, logits = model.scores(codes, alleles, torch.from_numpy(population))
    expected = torch.sigmoid(logits / 0.7).transpose(0, 1).flatten(1)[:, :n_sites].numpy()
    np.testing.assert_allclose(drawn.probabilities, expected, atol=near)
    levels = allele_levels.transpose(1, 0, 2).reshape(N, -1)[:, :n_sites]
    np.testing.assert_array_equal(drawn.alleles, levels < drawn.probabilities)
    again = sampler.draw(population, Given(code_levels, allele_levels), n_sites)
    np.testing.assert_array_equal(drawn.alleles, again.alleles)
    assert again.probabilities.shape == (0, n_sites)
    given = sampler.draw(population, ArgmaxLevels(), n_sites, codes=codes.numpy())
    assert given.alleles.shape == (N, n_sites)


def test_no_sum_of_16_bit_products_overflows() -> None:
    rng = np.random.default_rng(0)
    # Heavy tails; a row of one weight, which all of a vector's norm may fall on; one of none.
    weights = rng.standard_t(2, (9, 33)).astype(np.float32)
    weights[3], weights[4] = np.eye(33, dtype=np.float32)[5], 0
    norm = 32_500 * 3.0
    integers, by = fixed(weights, norm)
    np.testing.assert_allclose(integers * by[:, None], weights, atol=np.abs(weights).max() / 9000)
    # The worst vectors of that norm: along each row, as far as 16 bits go.
    along = integers / np.maximum(np.linalg.norm(integers, axis=1, keepdims=True), 1)
    worst = np.clip(np.rint(along * norm), -32_767, 32_767).astype(np.int16)
    worst = np.concatenate([worst, -worst])
    rows, lanes = as_rows(integers), as_lanes(worst)
    out = np.zeros((kernels.ROWS, lanes.shape[1]), np.int32)
    exact = integers.astype(np.int64) @ worst.T.astype(np.int64)
    assert 2**29 < np.abs(exact).max() < 2**31
    for row in range(0, rows.shape[0], kernels.ROWS):
        kernels.multiply(rows, row, lanes, out)
        part = exact[row : row + kernels.ROWS]
        np.testing.assert_array_equal(out[: part.shape[0], : worst.shape[0]], part)


def test_the_compiled_powers_of_two_are_numpys() -> None:
    x = np.linspace(-126, 127, 100_001).astype(np.float32)
    found = np.array([kernels.exp2(value) for value in x])
    np.testing.assert_allclose(found, np.exp2(x.astype(np.float64)), rtol=3e-7)
    assert kernels.exp2(np.float32(-1000)) < 1e-37
    assert kernels.exp2(np.float32(1000)) == np.inf


@pytest.mark.parametrize("n", [2, 7, 1000])
def test_levels_are_those_of_numpys_generator(n: int) -> None:
    levels, expected = SeededLevels(3, torch.device("cpu")), np.random.SFC64(3)
    for _ in range(3):
        code, allele = torch.empty(n), torch.empty(n, 6)
        levels.fill(code, allele)
        for drawn in (code, allele):
            # A generator of each, as an odd number leaves half a word.
            state = expected.state
            floats = np.random.Generator(expected).random(drawn.numel(), dtype=np.float32)
            np.testing.assert_array_equal(drawn.numpy().reshape(-1), floats)
            expected.state = state
            expected.random_raw(-(-drawn.numel() // 2))


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


def test_inverse_cdf_draws_by_softmax() -> None:
    scores = torch.tensor([0.0, 2.0, -1.0, 1.0]).expand(200_000, 4)
    level = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    shares = functional.one_hot(inverse_cdf(scores, level), 4).double().mean(0)
    torch.testing.assert_close(shares, scores[0].softmax(-1).double(), atol=4e-3, rtol=0)
    product = inverse_cdf(scores[:1000], level[:1000], torch.ones(4, 4).triu())
    torch.testing.assert_close(product, inverse_cdf(scores[:1000], level[:1000]))
