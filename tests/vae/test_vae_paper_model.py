"""The batched network against PyTorch's own layers and distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional

from haplobench_vae.paper import PaperShape, WindowVAEs, convolve, transposed_convolve

WINDOWS, N, LENGTH = 3, 5, 16


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(latent: int = 4, sites: int = 32) -> WindowVAEs:
    frequencies = torch.rand(WINDOWS, sites, generator=generator(1)) * 0.8 + 0.1
    return WindowVAEs(PaperShape(WINDOWS, sites, latent, (6, 8)), frequencies, generator(2))


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
    vae = model()
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
    vae = model()
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
    vae = model()
    alleles = torch.randint(0, 2, (WINDOWS, N, 32), generator=generator(3)).float()
    reconstruction, kl = vae.negative_elbo_terms(alleles, torch.zeros(WINDOWS, N, 4))
    (reconstruction + kl)[1].sum().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad[1].abs().sum() > 0, name
        assert not parameter.grad[[0, 2]].any(), name


def test_training_starts_near_the_frequencies() -> None:
    vae = model()
    probabilities = torch.sigmoid(vae.decode(torch.randn(WINDOWS, 500, 4, generator=generator())))
    torch.testing.assert_close(
        probabilities.mean(1), vae.mean[:, 0], rtol=0, atol=0.1, check_stride=False
    )
