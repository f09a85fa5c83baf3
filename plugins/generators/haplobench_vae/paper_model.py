"""The published network, one per window, computed for many windows at once.

No window shares a parameter with another: every weight has a leading window axis, and every
layer is one batched matrix product over it. A convolution of stride s has kernel 2s, so that
its input patches are two neighbouring stretches of s sites and need no gathering.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (4, 2)
STRIDE = math.prod(STRIDES)
_FREQUENCY_FLOOR = 1e-3
_DEVIATION_FLOOR = 0.05
_LOG_VARIANCE = 8.0


@dataclass(frozen=True)
class Shape:
    """Shape of the network: windows, padded sites per window, latent dimensions, channels."""

    n_windows: int
    sites: int
    latent: int
    channels: tuple[int, ...]

    @property
    def length(self) -> int:
        """Positions left after the convolutions."""
        return self.sites // STRIDE

    def layers(self) -> Iterator[tuple[int, int, int]]:
        """Yield (channels in, channels out, stride) of the encoder's convolutions."""
        yield from zip((1, *self.channels), self.channels, STRIDES, strict=False)


class WindowVAEs(nn.Module):
    """A convolutional VAE per window (Kingma & Welling 2014), all evaluated together.

    Encoder: two strided 1-D convolutions, fully connected μ and log σ². Decoder: fully
    connected, two transposed convolutions, Bernoulli logits. Inputs are standardised by the
    training frequencies and the logits start from them, so that training begins at
    independent sites.

    Parameters
    ----------
    shape : Shape
    frequencies : (n_windows, sites) float32
        Alternate allele frequency of each site in the training people.
    generator : torch.Generator
        Of the initial weights (on the CPU, so that devices agree).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: Shape, frequencies: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        windows, flat = shape.n_windows, shape.length * shape.channels[-1]

        def weight(rows: int, columns: int, gain: float = 2.0) -> nn.Parameter:
            # He et al. 2015: keeps the variance through a ReLU.
            drawn = torch.randn(windows, rows, columns, generator=generator)
            return nn.Parameter(drawn * math.sqrt(gain / rows))

        def bias(columns: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(windows, 1, columns))

        layers = list(shape.layers())
        self.down = nn.ParameterList(weight(2 * s * i, o) for i, o, s in layers)
        self.down_bias = nn.ParameterList(bias(o) for _, o, _ in layers)
        self.posterior = weight(flat, 2 * shape.latent, gain=0.2)
        self.posterior_bias = bias(2 * shape.latent)
        self.expand = weight(shape.latent, flat)
        self.expand_bias = bias(flat)
        mirrored = layers[::-1]
        self.up = nn.ParameterList(
            # The last starts near 0: the logits are then those of the frequencies.
            weight(2 * o, s * i, gain=2.0 if i > 1 else 0.02)
            for i, o, s in mirrored
        )
        self.up_bias = nn.ParameterList(bias(s * i) for i, _, s in mirrored)
        self.site_bias = nn.Parameter(
            torch.logit(frequencies, eps=_FREQUENCY_FLOOR)[:, None, :].clone()
        )
        deviation = (frequencies * (1 - frequencies)).sqrt().clamp_min(_DEVIATION_FLOOR)
        self.register_buffer("mean", frequencies[:, None, :].clone())
        self.register_buffer("scale", 1 / deviation[:, None, :])

    def encode(self, alleles: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of the posterior, each (n_windows, n, latent).

        `alleles` is (n_windows, n, sites): 0, 1, or negative where missing (taken as average).
        """
        standard = torch.where(alleles >= 0, (alleles - self.mean) * self.scale, 0.0)
        hidden = standard[..., None]
        for weight, bias in zip(self.down, self.down_bias, strict=True):
            hidden = functional.relu(convolve(hidden, weight, bias))
        flat = hidden.flatten(start_dim=2)
        mu, log_variance = torch.baddbmm(self.posterior_bias, flat, self.posterior).chunk(2, -1)
        # Keeps exp() finite on the way; a trained posterior stays well inside.
        return mu, log_variance.clamp(-_LOG_VARIANCE, _LOG_VARIANCE)

    def decode(self, z: Tensor) -> Tensor:
        """Bernoulli logits (n_windows, n, sites) of latents (n_windows, n, latent)."""
        windows, n, _ = z.shape
        hidden = functional.relu(torch.baddbmm(self.expand_bias, z, self.expand))
        hidden = hidden.view(windows, n, self.shape.length, self.shape.channels[-1])
        *inner, last = zip(
            self.up, self.up_bias, [s for _, _, s in self.shape.layers()][::-1], strict=True
        )
        for weight, bias, stride in inner:
            hidden = functional.relu(transposed_convolve(hidden, weight, bias, stride))
        weight, bias, stride = last
        return transposed_convolve(hidden, weight, bias, stride)[..., 0] + self.site_bias

    def negative_elbo_terms(self, alleles: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction loss and KL to N(0, I), nats, each (n_windows, n).

        `noise` is standard normal (n_windows, n, latent): z = μ + σ · noise. Missing alleles
        cost nothing.
        """
        mu, log_variance = self.encode(alleles)
        logits = self.decode(mu + noise * (0.5 * log_variance).exp())
        reconstruction = functional.binary_cross_entropy_with_logits(
            logits, alleles.clamp_min(0), weight=(alleles >= 0).float(), reduction="none"
        ).sum(-1)
        kl = 0.5 * (mu.square() + log_variance.exp() - 1 - log_variance).sum(-1)
        return reconstruction, kl


def convolve(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A strided 1-D convolution per window, kernel twice the stride, padded at the right end.

    `hidden` (windows, n, length, channels); `weight` (windows, 2 · stride · channels, out),
    rows in the order (kernel position, channel); `bias` (windows, 1, out).
    Returns (windows, n, length / stride, out).
    """
    windows, n, length, channels = hidden.shape
    stride = weight.shape[1] // (2 * channels)
    patches = hidden.reshape(windows, n, length // stride, stride * channels)
    following = functional.pad(patches[:, :, 1:], (0, 0, 0, 1))
    rows = torch.cat((patches, following), -1).flatten(1, 2)
    return torch.baddbmm(bias, rows, weight).view(windows, n, length // stride, -1)


def transposed_convolve(hidden: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """The transposed convolution of kernel 2 · stride, cropped at the right end.

    `hidden` (windows, n, length, channels); `weight` (windows, 2 · channels, stride · out),
    the first rows for the position before; `bias` (windows, 1, stride · out).
    Returns (windows, n, length · stride, out).
    """
    windows, n, length, _ = hidden.shape
    before = functional.pad(hidden[:, :, :-1], (0, 0, 1, 0))
    rows = torch.cat((before, hidden), -1).flatten(1, 2)
    return torch.baddbmm(bias, rows, weight).view(windows, n, length * stride, -1)
