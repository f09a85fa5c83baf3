"""Sampling from a window prior: one window after another, in blocks of fixed size."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
        self._host = np.random.Generator(np.random.SFC64(seed))
        self._device = torch.Generator(device).manual_seed(seed)

    def fill(self, code: Tensor, allele: Tensor) -> None:
        """Fill both; see `Levels`."""
        for levels in (code, allele):
            if levels.device.type == "cpu":
                # A third of the time that PyTorch's takes.
                self._host.random(dtype=np.float32, out=levels.numpy())
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


class BlockSampler(Protocol):
    """Draws haplotypes of a fixed number at a time.

    The number is fixed because a matrix product of another shape may round otherwise: then a
    haplotype would depend on how many are asked for. Keys and values are kept for the latest
    windows only, in buffers made once: memory doesn't grow with the number of windows.
    """

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


def block_sampler(model: WindowPrior, size: int, temperature: float) -> BlockSampler:
    """The sampler of blocks of `size` for the model's device; alleles' logits / `temperature`."""
    if model.logits.device.type == "cpu":
        from haplobench_vae.sampling_compiled import CompiledSampler

        return CompiledSampler(model, size, temperature)
    from haplobench_vae.sampling_device import DeviceSampler

    return DeviceSampler(model, size, temperature)
