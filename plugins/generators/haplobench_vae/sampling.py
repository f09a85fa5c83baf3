"""Sampling from a window prior: one window after another, in blocks of fixed size."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from haplobench_vae.prior import WindowPrior

_BLOCK = 256
_DEVICE_BLOCK, _DEVICE_ALLELES = 32_768, 1 << 28
_HALF = 0.5
PartMarker = Callable[[str], AbstractContextManager[object]]


def block_size(device: torch.device, n_sites: int) -> int:
    """Haplotypes that are sampled at a time, whole: randomness is keyed by block.

    A power of two. On a CPU as many as keep to its cache; on a GPU as many as keep it busy, at
    most 32,768 and 256 MiB of alleles, but never fewer than 256.
    """
    size = _BLOCK
    if device.type == "cpu":
        return size
    while 2 * size <= min(_DEVICE_BLOCK, _DEVICE_ALLELES // n_sites):
        size *= 2
    return size


class Levels(Protocol):
    """Uniform levels in [0, 1), at which distributions are inverted, window by window."""

    def fill(self, code: Tensor, allele: Tensor) -> None:
        """Fill `code` (n,) and `allele` (n, sites) float32 of the next window."""


class SeededLevels:
    """Levels that depend on `seed` and the kind of device alone, drawn on that device."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._state = np.random.SFC64(seed).state["state"]["state"].copy()
        self._device = torch.Generator(device).manual_seed(seed)

    def fill(self, code: Tensor, allele: Tensor) -> None:
        """Fill both; see `Levels`."""
        for levels in (code, allele):
            if levels.device.type == "cpu":
                from haplobench_vae.sampling_kernels import fill_levels

                fill_levels(self._state, levels.numpy().reshape(-1))
            else:
                levels.uniform_(generator=self._device)


class ArgmaxLevels:
    """Levels at which the likelier allele is drawn."""

    def fill(self, code: Tensor, allele: Tensor) -> None:
        """Fill both with one half."""
        code.fill_(_HALF)
        allele.fill_(_HALF)


@dataclass(frozen=True)
class Drawn:
    """One block.

    `alleles` (size, n_sites) int8.
    `probabilities` (size, n_sites) float32: of the alternate allele, as it was drawn; no rows where
    they weren't asked for.
    `wait`: returns when both are there: call it before reading them.
    """

    alleles: NDArray[np.int8]
    probabilities: NDArray[np.float32]
    wait: Callable[[], None] = lambda: None


def part_marker() -> PartMarker:
    """What a sampler marks its model's parts with: for a profiler, nothing where none runs.

    Samplers call the modules' products one by one, so a profiler can't tell by the modules.
    """
    if not torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
        nothing = nullcontext()
        return lambda name: nothing
    return lambda name: torch.profiler.record_function(f"part:{name}")


class BlockSampler:
    """Draws haplotypes `size` at a time; `temperature` divides the logits of alleles.

    The number is fixed because a matrix product of another shape may round otherwise: then a
    haplotype would depend on how many are asked for. Keys and values are kept for the latest
    windows only, in buffers made once: memory doesn't grow with the number of windows. In the
    transformer's, haplotypes are last: attention of one query each is then a sum of long rows.
    """

    def __init__(self, model: WindowPrior, size: int, temperature: float) -> None:
        self._model = model
        self._size = size
        self._inverse = 1.0 / temperature
        self._ring = min(model.shape.reach, model.shape.n_windows)

    def draw(
        self,
        population: NDArray[np.int64],
        levels: Levels,
        n_sites: int,
        *,
        codes: NDArray[np.int64] | None = None,
        probabilities: bool = False,
    ) -> Drawn:
        """One block, of people of `population` (size,) int64, at `levels`.

        It may still be on its way: see `Drawn.wait`.
        The last window's sites from `n_sites` on are left out. Given `codes` (n_windows, size)
        are taken instead of drawn.
        """
        raise NotImplementedError


class DeviceSampler(BlockSampler):
    """A sampler on a GPU (or wherever PyTorch runs): nothing waits in between.

    Levels are drawn on the device and alleles stay there until the block is done: windows are
    queued one behind the other, and the host waits for none. `cached`: of keys and values, whose
    reading takes most of the time.
    """

    def __init__(
        self, model: WindowPrior, size: int, temperature: float, cached: torch.dtype = torch.float16
    ) -> None:
        super().__init__(model, size, temperature)
        shape = model.shape
        cache = self._ring, shape.heads, shape.dimension // shape.heads, size
        device = model.logits.device
        self._keys, self._values = (
            [torch.empty(cache, dtype=cached, device=device) for _ in range(shape.layers)]
            for _ in range(2)
        )
        # Any run of `ring` are the biases of the ring's positions, see `_advance`.
        self._biases = [
            block.distance_bias.detach()[:, : self._ring].t().flip(0).repeat(2, 1)[:, :, None]
            for block in model.layers()
        ]
        self._difference_base = torch.sigmoid(model.logits)
        # CUDA's own cumulative sum isn't deterministic: a product is.
        codes = shape.codes
        self._upper = (
            None if device.type == "cpu" else torch.ones(codes, codes, device=device).triu()
        )

    @torch.inference_mode()
    def draw(
        self,
        population: NDArray[np.int64],
        levels: Levels,
        n_sites: int,
        *,
        codes: NDArray[np.int64] | None = None,
        probabilities: bool = False,
    ) -> Drawn:
        """One block of haplotypes: see `BlockSampler`."""
        model, shape, part = self._model, self._model.shape, part_marker()
        device = model.logits.device
        condition = model.condition(torch.from_numpy(population).to(device))
        given = None if codes is None else torch.from_numpy(codes).to(device)
        alleles = torch.empty(self._size, n_sites, dtype=torch.int8, device=device)
        drawn_probability = torch.empty(self._size if probabilities else 0, n_sites, device=device)
        code_level = torch.empty(self._size, device=device)
        allele_level = torch.empty(self._size, shape.sites, device=device)
        token = torch.zeros_like(condition)
        for window in range(shape.n_windows):
            hidden = token + model.window_embedding[window] + condition
            state = self._advance(hidden, window, part)
            with part("levels"):
                levels.fill(code_level, allele_level)
            with part("codes"):
                if given is None:
                    scores = torch.addmm(model.head_bias[window], state, model.head[window])
                    code = inverse_cdf(scores, code_level, self._upper)
                else:
                    code = given[window]
            rows = code + window * shape.codes
            with part("alleles"):
                inner = functional.relu(
                    model.residual_state(state) + model.residual_code.index_select(0, rows)
                )
                logits = torch.addmm(
                    model.logits[window].index_select(0, code), inner, model.residual_out[window]
                )
                probability = torch.sigmoid(logits * self._inverse)
                # Strictly below: probability 0 never gives the allele.
                drawn = allele_level < probability
                sites = slice(window * shape.sites, min((window + 1) * shape.sites, n_sites))
                alleles[:, sites] = drawn[:, : sites.stop - sites.start]
                if probabilities:
                    drawn_probability[:, sites] = probability[:, : sites.stop - sites.start]
            with part("tokens"):
                base = self._difference_base[window].index_select(0, code)
                token = torch.addmm(
                    model.code_embedding.index_select(0, rows),
                    drawn.float() - base,
                    model.allele_embedding[window],
                )
        return _on_host(alleles, drawn_probability)

    def _advance(self, hidden: Tensor, window: int, part: PartMarker) -> Tensor:
        """State (size, dimension) of a window, whose keys and values go into the rings."""
        model, latest = self._model, window % self._ring
        count = min(window + 1, self._ring)
        # Position i of the ring is (latest - i) % ring windows back.
        far = slice(self._ring - 1 - latest, self._ring - 1 - latest + count)
        layers = zip(model.layers(), self._keys, self._values, self._biases, strict=True)
        for i, (block, keys, values, bias) in enumerate(layers):
            with part(f"blocks.{i}"):
                qkv = block.qkv(block.attention_norm(hidden)).t()
                q, keys[latest], values[latest] = qkv.reshape(3, *keys.shape[1:])
                q = (q / math.sqrt(q.shape[1])).to(keys.dtype)
                scores = (keys[:count] * q).sum(dim=2, dtype=bias.dtype) + bias[far]
                weights = scores.softmax(dim=0).to(keys.dtype)[:, :, None]
                attended = (values[:count] * weights).sum(dim=0, dtype=bias.dtype)
                hidden = block.finish(hidden, attended.flatten(0, 1).t())
        state: Tensor = model.norm(hidden)
        return state


def _on_host(alleles: Tensor, probabilities: Tensor) -> Drawn:
    """Both in memory of the host, once the device has got so far."""
    if alleles.device.type != "cuda":
        return Drawn(alleles.cpu().numpy(), probabilities.cpu().numpy())
    # To pinned memory, beside the kernels of the block after this one.
    copies = [
        torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(
            values, non_blocking=True
        )
        for values in (alleles, probabilities)
    ]
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()
    return Drawn(copies[0].numpy(), copies[1].numpy(), copied.synchronize)


def inverse_cdf(scores: Tensor, level: Tensor, upper: Tensor | None = None) -> Tensor:
    """Indices (n,) drawn ∝ exp(scores) (n, codes) at uniform `level` (n,) float32.

    With `upper`, ones on and above the diagonal (codes, codes), sums are taken as a product.
    """
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    cumulative = weights.cumsum(dim=-1) if upper is None else weights @ upper
    drawn = torch.searchsorted(cumulative, level[:, None] * cumulative[:, -1:], right=True)
    return drawn[:, 0].clamp_max(scores.shape[1] - 1)
