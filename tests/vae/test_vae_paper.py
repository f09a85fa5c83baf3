"""`vae-paper`: what it learns and what its design loses; its network and its training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional

from haplobench import BenchError, Panel, SampleRequest
from haplobench.registry import load_registry
from haplobench.testing import check_generator, example_context, example_panel
from haplobench_vae import PaperVAEParams
from haplobench_vae.paper import (
    BestByWindow,
    FittedPaperVAE,
    PaperShape,
    PaperVAE,
    WindowVAEs,
    convolve,
    train_windows,
    transposed_convolve,
)
from haplobench_vae.vae import cpu_generator, reproducible, validation_haplotypes

QUICK = {"epochs": 6, "window": 64, "windows_per_group": 3, "warm_up": 2, "latent": 4}
WIDTH = 40
WINDOWS, N, LENGTH = 3, 5, 16


def fit(
    folder: Path, panel: Panel, seed: int = 0, device: str = "cpu", **params: Any
) -> FittedPaperVAE:
    ctx = example_context(folder, panel, seed, device=device)
    return PaperVAE().fit(panel, PaperVAEParams.model_validate(QUICK | params), ctx)


def draw(
    fitted: FittedPaperVAE, folder: Path, panel: Panel, n: int, **changes: Any
) -> NDArray[np.int8]:
    ctx = example_context(folder, panel, **changes)
    return np.concatenate(list(fitted.sample(SampleRequest(n), ctx)))


def ld_agreement(real: NDArray[np.int8], synthetic: NDArray[np.int8], *, crossing: bool) -> float:
    """Correlation over pairs of the two signed r, inside windows or across one border."""
    common = np.abs(real.mean(axis=0) - 0.5) < 0.4
    common &= (synthetic.min(axis=0) < 1) & (synthetic.max(axis=0) > 0)
    sites = np.flatnonzero(common)
    a, b = (np.corrcoef(x[:, sites].T) for x in (real, synthetic))
    i, j = np.triu_indices(sites.size, 1)
    apart = np.abs(sites[i] - sites[j])
    window = sites // WIDTH
    chosen = (apart < 20) & ((window[i] != window[j]) if crossing else (window[i] == window[j]))
    return float(np.corrcoef(a[i, j][chosen], b[i, j][chosen])[0, 1])


def test_conformance() -> None:
    passed = check_generator("vae-paper", params=QUICK, registry=load_registry(["haplobench_vae"]))
    assert {"determinism", "start", "batch size", "load", "light import"} <= set(passed)


@pytest.fixture(scope="module")
def large() -> Panel:
    return example_panel(n_samples=400, n_sites=200, seed=3)


@pytest.fixture(scope="module")
def trained(large: Panel, tmp_path_factory: pytest.TempPathFactory) -> FittedPaperVAE:
    return fit(tmp_path_factory.mktemp("fit"), large, window=WIDTH, epochs=25, latent=8)


def test_ld_is_learnt_inside_windows_and_ends_at_their_borders(
    trained: FittedPaperVAE, large: Panel, tmp_path: Path
) -> None:
    synthetic = draw(trained, tmp_path, large, 2000)
    frequencies = np.corrcoef(large.frequencies, synthetic.mean(axis=0))[0, 1]
    assert frequencies > 0.97
    assert ld_agreement(large.haplotypes, synthetic, crossing=False) > 0.65
    assert abs(ld_agreement(large.haplotypes, synthetic, crossing=True)) < 0.3


def test_thresholded_alleles_are_the_likelier_ones(
    trained: FittedPaperVAE, large: Panel, tmp_path: Path
) -> None:
    drawn = draw(trained, tmp_path, large, 2000)
    params = trained.params.model_copy(update={"output": "threshold"})
    likelier = draw(replace(trained, params=params), tmp_path, large, 2000)
    assert set(np.unique(likelier)) == {0, 1}
    # Drawing adds variance within a latent: thresholded alleles are fewer where rare.
    rare = large.frequencies < 0.1
    assert likelier[:, rare].mean() < drawn[:, rare].mean()


def test_progress_and_history_cover_every_window_and_epoch(tmp_path: Path) -> None:
    panel = example_panel()
    told: list[tuple[float, str]] = []
    ctx = example_context(
        tmp_path, panel, progress=lambda fraction, message: told.append((fraction, message))
    )
    PaperVAE().fit(panel, PaperVAEParams.model_validate(QUICK), ctx)
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert len(told) == 12
    assert fractions[-1] == pytest.approx(1.0)
    assert "windows 4-4 of 4, epoch 6 of 6" in told[-1][1]
    history = json.loads((tmp_path / "artifacts" / "training.json").read_text())
    assert len(history["best_epoch"]) == len(history["validation_loss_nats"]) == 4
    assert all(1 <= epoch < 6 for epoch in history["best_epoch"])


def test_validation_people_train_nothing(tmp_path: Path) -> None:
    panel = example_panel()
    held = _held(tmp_path, panel)
    changed = panel.haplotypes.copy()
    changed[held] = 1 - changed[held]
    # One epoch: nothing is chosen on validation, so those people can't leave a trace.
    params = {"epochs": 1, "warm_up": 0}
    one = fit(tmp_path, panel, **params).models[0].state_dict()
    other = fit(tmp_path, replace(panel, haplotypes=changed), **params).models[0].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def _held(folder: Path, panel: Panel) -> NDArray[np.bool_]:

    ctx = example_context(folder, panel)
    return validation_haplotypes(panel, 0.1, ctx.rng("vae", "validation"))


def test_a_panel_narrower_than_a_window_and_with_missing_alleles(tmp_path: Path) -> None:
    panel = example_panel(n_sites=5)
    haplotypes = panel.haplotypes.copy()
    haplotypes[::7, 1] = -1
    haplotypes[:, 3] = -1
    panel = replace(panel, haplotypes=haplotypes)
    synthetic = draw(fit(tmp_path, panel), tmp_path, panel, 300)
    assert synthetic.shape == (300, 5)
    assert set(np.unique(synthetic)) <= {0, 1}


def test_params_are_checked() -> None:
    for wrong in ({"window": 4}, {"channels": (16, 0)}, {"output": "argmax"}, {"windows": 1}):
        with pytest.raises(ValidationError):
            PaperVAEParams.model_validate(wrong)


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    ctx = example_context(tmp_path, example_panel())
    with pytest.raises(BenchError, match="not a saved vae-paper model"):
        PaperVAE().load(tmp_path, ctx)
    (tmp_path / "model.json").write_text('{"format": 99}')
    with pytest.raises(BenchError, match="format 99, expected 2"):
        PaperVAE().load(tmp_path, ctx)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_cuda_is_deterministic_and_close_to_the_cpu(tmp_path: Path) -> None:
    panel = example_panel()
    once, again = (fit(tmp_path, panel, device="cuda:0") for _ in range(2))
    cpu = fit(tmp_path, panel)
    for a, b, c in zip(once.models, again.models, cpu.models, strict=True):
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name])
            torch.testing.assert_close(value.cpu(), c.state_dict()[name], rtol=0.05, atol=0.05)
    first, second = (draw(f, tmp_path, panel, 300, device="cuda:0") for f in (once, again))
    np.testing.assert_array_equal(first, second)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("stride", [2, 4])
def test_convolve_is_conv1d_of_each_window(stride: int) -> None:
    channels, out = 3, 7
    hidden = torch.randn(WINDOWS, N, LENGTH, channels, generator=generator())
    weight = torch.randn(WINDOWS, 2 * stride * channels, out, generator=generator(1))
    bias = torch.randn(WINDOWS, 1, out, generator=generator(2))
    found = convolve(hidden, weight, bias)
    for w in range(WINDOWS):
        kernel = weight[w].view(2 * stride, channels, out).permute(2, 1, 0)
        padded = functional.pad(hidden[w].transpose(1, 2), (0, stride))
        expected = functional.conv1d(padded, kernel, bias[w, 0], stride=stride)
        torch.testing.assert_close(found[w], expected.transpose(1, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [2, 4])
def test_transposed_convolve_is_conv_transpose1d_of_each_window(stride: int) -> None:
    channels, out = 5, 3
    hidden = torch.randn(WINDOWS, N, LENGTH, channels, generator=generator())
    weight = torch.randn(WINDOWS, 2 * channels, stride * out, generator=generator(1))
    bias = torch.zeros(WINDOWS, 1, stride * out)
    found = transposed_convolve(hidden, weight, bias, stride)
    for w in range(WINDOWS):
        # Rows: (before, here) × channel; columns: (offset, channel out). Kernel position
        # k < stride belongs to the position here, k >= stride to the one before.
        before, here = weight[w].view(2, channels, stride, out)
        kernel = torch.cat((here, before), dim=1).transpose(1, 2)
        expected = functional.conv_transpose1d(hidden[w].transpose(1, 2), kernel, stride=stride)
        torch.testing.assert_close(
            found[w], expected[..., : LENGTH * stride].transpose(1, 2), rtol=1e-4, atol=1e-4
        )


def test_the_elbo_terms_are_those_of_torch_distributions() -> None:
    vae = network()
    alleles = torch.randint(0, 2, (WINDOWS, N, 32), generator=generator(3)).float()
    noise = torch.randn(WINDOWS, N, 4, generator=generator(4))
    reconstruction, kl = vae.negative_elbo_terms(alleles, noise)
    mu, log_variance = vae.encode(alleles)
    deviation = (log_variance / 2).exp()
    prior = Normal(torch.zeros_like(mu), 1.0)
    torch.testing.assert_close(kl, kl_divergence(Normal(mu, deviation), prior).sum(-1))
    logits = vae.decode(mu + deviation * noise)
    torch.testing.assert_close(reconstruction, -Bernoulli(logits=logits).log_prob(alleles).sum(-1))


def test_missing_alleles_cost_nothing_and_are_taken_as_average() -> None:
    vae = network()
    alleles = torch.randint(0, 2, (WINDOWS, N, 32), generator=generator(3)).float()
    missing = alleles.clone()
    missing[..., 20:] = -1
    average = missing.clone()
    average[..., 20:] = vae.mean.expand(WINDOWS, N, 32)[..., 20:]
    torch.testing.assert_close(vae.encode(missing), vae.encode(average))
    noise = torch.zeros(WINDOWS, N, 4)
    reconstruction, _ = vae.negative_elbo_terms(missing, noise)
    logits = vae.decode(vae.encode(missing)[0])
    called = -Bernoulli(logits=logits).log_prob(alleles)[..., :20].sum(-1)
    torch.testing.assert_close(reconstruction, called)


def test_windows_share_no_parameters() -> None:
    vae = network()
    alleles = torch.randint(0, 2, (WINDOWS, N, 32), generator=generator(3)).float()
    reconstruction, kl = vae.negative_elbo_terms(alleles, torch.zeros(WINDOWS, N, 4))
    (reconstruction + kl)[1].sum().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad[1].abs().sum() > 0, name
        assert not parameter.grad[[0, 2]].any(), name


def test_training_starts_near_the_frequencies() -> None:
    vae = network()
    probabilities = torch.sigmoid(vae.decode(torch.randn(WINDOWS, 500, 4, generator=generator())))
    torch.testing.assert_close(
        probabilities.mean(1), vae.mean[:, 0], rtol=0, atol=0.1, check_stride=False
    )


def network(latent: int = 4, sites: int = 32) -> WindowVAEs:
    frequencies = torch.rand(WINDOWS, sites, generator=generator(1)) * 0.8 + 0.1
    return WindowVAEs(PaperShape(WINDOWS, sites, latent, (6, 8)), frequencies, generator(2))


def test_each_window_keeps_its_own_best_epoch() -> None:
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.zeros(3, 2))
    best = BestByWindow(model, 3)
    losses = [[3.0, 1.0, 5.0], [2.0, 4.0, 5.0], [2.5, 9.0, 4.0]]
    for epoch, loss in enumerate(losses):
        with torch.no_grad():
            model.weight.fill_(epoch)
        best.update(epoch, torch.tensor(loss), model)
    best.restore(model)
    assert model.weight[:, 0].tolist() == [1.0, 0.0, 2.0]
    assert best.loss.tolist() == [2.0, 1.0, 4.0]
    assert best.epoch.tolist() == [1, 0, 2]


def _trained(n_windows: int, seed: int, **changes: float) -> tuple[WindowVAEs, list[float], int]:
    """Windows whose haplotypes are one of two founders, and the losses reported."""
    rng = np.random.default_rng(0)
    founders = rng.integers(0, 2, (n_windows, 2, 16))
    which = rng.integers(0, 2, (n_windows, 80))
    alleles = torch.tensor(np.take_along_axis(founders, which[..., None], axis=1), dtype=torch.int8)
    frequencies = alleles.float().mean(1)
    generator = cpu_generator(seed)
    model = WindowVAEs(PaperShape(n_windows, 16, 2, (4, 4)), frequencies, generator)
    losses: list[float] = []
    held = np.arange(80) < 20
    params = PaperVAEParams.model_validate({"epochs": 40, "batch_size": 16} | changes)
    history = train_windows(
        model, alleles, held, params, generator, lambda epoch, loss: losses.append(loss)
    )
    assert history.epochs == len(losses)
    assert history.best_epoch.shape == history.validation_loss.shape == (n_windows,)
    return model, losses, history.epochs


def test_training_approaches_the_entropy_of_the_data() -> None:
    with reproducible(1):
        _, losses, _ = _trained(3, seed=0, learning_rate=0.02)
    # Two equally likely founders: no model can be below ln 2 nats.
    assert losses[0] > 4
    assert np.log(2) - 0.05 < min(losses) < 2


def test_patience_ends_training_early_but_never_during_the_warm_up() -> None:
    with reproducible(1):
        *_, epochs = _trained(2, seed=0, learning_rate=1e-9, patience=2, warm_up=7)
        *_, bounded = _trained(2, seed=0, epochs=3)
    assert 7 <= epochs < 20
    assert bounded == 3


def test_the_same_seed_gives_the_same_parameters() -> None:
    def state(seed: int) -> list[torch.Tensor]:
        with reproducible(1):
            return list(_trained(2, seed, epochs=3)[0].state_dict().values())

    once, again, other = state(5), state(5), state(6)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(once, other, strict=True))
