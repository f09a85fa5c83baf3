"""Sampling from a window prior: one window after another, with a preallocated cache."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from haplobench_vae.prior import WindowPrior


class BlockSampler:
    """Draws haplotypes of a fixed number at a time.

    The number is fixed because a matrix product of another shape may round otherwise: then a
    haplotype would depend on how many are asked for. Keys and values are kept for the latest
    windows only, in buffers made once: memory doesn't grow with the number of windows.

    Parameters
    ----------
    model : WindowPrior
    size : int
        Haplotypes of a block.
    temperature : float
        Divides the logits of alleles.
    """

    def __init__(self, model: WindowPrior, size: int, temperature: float) -> None:
        self._model = model
        self._size = size
        self._inverse = 1.0 / temperature
        shape = model.shape
        self._length = min(shape.n_windows, 4 * shape.reach)
        # Haplotypes last: attention of one query each is then a sum of long rows, three times
        # as fast as a batch of tiny matrix products.
        cache = self._length, shape.heads, shape.dimension // shape.heads, size
        device = model.logits.device
        self._keys = [torch.empty(cache, device=device) for _ in range(shape.layers)]
        self._values = [torch.empty(cache, device=device) for _ in range(shape.layers)]
        # Nearest last, as the cache is laid out.
        self._biases = [
            block.distance_bias.detach().t().flip(0)[:, :, None] for block in model.layers()
        ]
        self._difference_base = torch.sigmoid(model.logits)

    @torch.no_grad()
    def draw(
        self,
        population: NDArray[np.int64],
        code_levels: NDArray[np.float32],
        allele_levels: NDArray[np.float32],
        *,
        codes: NDArray[np.int64] | None = None,
        probabilities: NDArray[np.float32] | None = None,
    ) -> NDArray[np.int8]:
        """One block of haplotypes (n_windows, size, sites) int8.

        Every draw inverts a distribution at a uniform level given: `code_levels`
        (n_windows, size) and `allele_levels` (n_windows, size, sites), both float32. Given
        `codes` (n_windows, size) are taken instead of drawn. The alternate allele's
        probabilities are written into `probabilities`, of the shape of `allele_levels`.
        """
        model, shape = self._model, self._model.shape
        device = model.logits.device
        condition = model.condition(torch.from_numpy(population).to(device))
        alleles = np.empty((shape.n_windows, self._size, shape.sites), np.int8)
        token = torch.zeros_like(condition)
        filled = 0
        for window in range(shape.n_windows):
            filled = self._make_room(filled)
            hidden = token + model.window_embedding[window] + condition
            state = self._advance(hidden, filled)
            filled += 1
            if codes is None:
                scores = torch.addmm(model.head_bias[window], state, model.head[window])
                code = inverse_cdf(scores, torch.from_numpy(code_levels[window]).to(device))
            else:
                code = torch.from_numpy(codes[window]).to(device)
            rows = code + window * shape.codes
            inner = functional.relu(
                model.residual_state(state) + model.residual_code.index_select(0, rows)
            )
            logits = torch.addmm(
                model.logits[window].index_select(0, code), inner, model.residual_out[window]
            )
            level = torch.from_numpy(allele_levels[window]).to(device)
            # Strictly below: probability 0 never gives the allele.
            found = torch.sigmoid(logits * self._inverse)
            drawn = level < found
            if probabilities is not None:
                probabilities[window] = found.cpu().numpy()
            alleles[window] = drawn.cpu().numpy()
            if window + 1 < shape.n_windows:
                base = self._difference_base[window].index_select(0, code)
                token = torch.addmm(
                    model.code_embedding.index_select(0, rows),
                    drawn.float() - base,
                    model.allele_embedding[window],
                )
        return alleles

    def _make_room(self, filled: int) -> int:
        """Positions filled, after moving the latest to the front where the cache is full."""
        if filled < self._length:
            return filled
        kept = self._model.shape.reach - 1
        for buffer in (*self._keys, *self._values):
            buffer[:kept] = buffer[filled - kept : filled].clone()
        return kept

    def _advance(self, hidden: Tensor, filled: int) -> Tensor:
        """State (size, dimension) of the position after `filled` cached ones."""
        model = self._model
        reach = model.shape.reach
        first = max(0, filled + 1 - reach)
        seen = slice(first, filled + 1)
        for block, keys, values, bias in zip(
            model.layers(), self._keys, self._values, self._biases, strict=True
        ):
            qkv = block.qkv(block.attention_norm(hidden)).t().contiguous()
            q, keys[filled], values[filled] = qkv.view(3, *keys.shape[1:])
            q = q / math.sqrt(q.shape[1])
            scores = (keys[seen] * q).sum(dim=2) + bias[-(filled + 1 - first) :]
            attended = (values[seen] * scores.softmax(dim=0)[:, :, None]).sum(dim=0)
            hidden = block.finish(hidden, attended.flatten(0, 1).t())
        state: Tensor = model.norm(hidden)
        return state


def inverse_cdf(scores: Tensor, level: Tensor) -> Tensor:
    """Indices (n,) drawn ∝ exp(scores) (n, codes) at uniform `level` (n,) float32."""
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    cumulative = _cumulative(weights)
    drawn = torch.searchsorted(cumulative, level[:, None] * cumulative[:, -1:], right=True)
    return drawn[:, 0].clamp_max(scores.shape[1] - 1)


def _cumulative(weights: Tensor) -> Tensor:
    """Sums along the last axis (n, codes)."""
    if weights.device.type == "cpu":
        return weights.cumsum(dim=-1)
    # CUDA's own cumulative sum isn't deterministic.
    codes = weights.shape[-1]
    return weights @ torch.ones(codes, codes, device=weights.device).triu()
