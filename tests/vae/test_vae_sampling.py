"""Sampling as on a GPU: the same haplotypes as on a CPU, blocks queued ahead, any cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

from haplobench import Panel, SampleRequest
from haplobench.testing import example_context, example_panel
from haplobench_vae import vae as fitted_module
from haplobench_vae.sampling import SeededLevels, block_size
from haplobench_vae.sampling_compiled import CompiledSampler
from haplobench_vae.sampling_device import DeviceSampler
from haplobench_vae.specs import VAEParams
from haplobench_vae.vae import VAE, FittedVAE

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
    monkeypatch.setattr(fitted_module, "block_sampler", DeviceSampler)
    found = draw(fitted, tmp_path, panel, request)
    assert found.shape == expected.shape == (1300, 90)
    # Keys and values are of half precision there.
    assert (found == expected).all(axis=1).mean() > 0.9
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
