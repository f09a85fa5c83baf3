"""Sampling haplotypes from a window-code model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench_federated.model import WindowCodes


@torch.no_grad()
def sample(
    model: WindowCodes,
    population: NDArray[np.int64],
    rng: np.random.Generator,
    temperature: float = 0.7,
) -> NDArray[np.int8]:
    """Draw one haplotype for each entry of `population`: (n, n_sites) int8.

    Parameters
    ----------
    population : (n,) int64
    rng : numpy.random.Generator
        Gives the same numbers whatever the model, `n * n_windows * (width + 2)` of them.
    temperature : float
        Divides the decoder's logits. Noise on a logit that should be far below 0 makes its
        allele too frequent; below 1 undoes that.
    """
    shape = model.shape
    n = population.size
    device = model.decoder.logits.device
    groups, of = np.unique(population, return_inverse=True)
    of_group = torch.from_numpy(of).to(device)
    weights = model.weights(torch.from_numpy(groups).to(device))
    cumulative = weights.softmax(dim=2).cumsum(dim=2)
    recombination = model.recombination.logits.sigmoid()
    probability = torch.sigmoid(model.decoder.logits / temperature).transpose(1, 2).contiguous()
    alleles = np.empty((n, shape.n_windows, shape.window), np.int8)
    code = torch.zeros(n, dtype=torch.int64, device=device)
    for window in range(shape.n_windows):
        level = _uniform(rng, device, n, shape.window + 2)
        drawn = _inverse_cdf(cumulative[:, window][of_group], level[:, 0])
        jumps = level[:, 1] < recombination[window]
        code = drawn if window == 0 else torch.where(jumps, drawn, code)
        alternate = level[:, 2:] < probability[window].index_select(0, code)
        alleles[:, window] = alternate.cpu().numpy()
    return np.ascontiguousarray(alleles.reshape(n, -1)[:, : shape.n_sites])


def _uniform(rng: np.random.Generator, device: torch.device, n: int, columns: int) -> Tensor:
    return torch.from_numpy(rng.random((n, columns), np.float32)).to(device)


def _inverse_cdf(cumulative: Tensor, level: Tensor) -> Tensor:
    """Indices (n,) drawn by cumulative probabilities (n, codes) at uniform `level` (n,)."""
    scaled = level[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative.contiguous(), scaled, right=True)[:, 0]
    return index.clamp_max(cumulative.shape[1] - 1)
