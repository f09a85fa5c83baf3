"""A small prior with random weights, which several tests look at."""

from __future__ import annotations

from dataclasses import replace

import torch

from haplobench_vae.codebooks import Codebooks
from haplobench_vae.prior import PriorShape, WindowPrior

SITES, CODES, N = 6, 5, 7


def prior(n_windows: int = 40, reach: int = 4, layers: int = 2, **sizes: int) -> WindowPrior:
    """A prior with random weights everywhere, where training starts at zero, too."""
    generator = torch.Generator().manual_seed(0)
    shape = PriorShape(n_windows, SITES, CODES, 3, (0, 0, 1), 8, layers, 2, 2, reach, 4)
    shape = replace(shape, **sizes)
    codebooks = Codebooks(
        torch.randn(n_windows, CODES, shape.sites, generator=generator),
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
