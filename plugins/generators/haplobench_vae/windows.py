"""Windows of adjacent sites: how a panel is cut into them and put together again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haplobench.data.panel import MISSING
from haplobench.distributed import ProcessGroup

_Scalar = TypeVar("_Scalar", np.int8, np.float32)


@dataclass(frozen=True)
class WindowTiling:
    """Non-overlapping windows from site 0 on; the last may be shorter.

    `width`: sites per window, at most `n_sites`.
    `multiple`: windows are padded at their right end to a multiple of so many sites, as strided
    convolutions ask for.
    """

    n_sites: int
    width: int
    multiple: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.width <= self.n_sites:
            raise ValueError(f"width {self.width}: expected 1 to n_sites = {self.n_sites}")

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return -(-self.n_sites // self.width)

    @property
    def padded(self) -> int:
        """Sites per window after padding."""
        return -(-self.width // self.multiple) * self.multiple

    def groups(self, size: int) -> Iterator[range]:
        """Yield the windows in runs of at most `size`."""
        for first in range(0, self.n_windows, size):
            yield range(first, min(first + size, self.n_windows))

    def sites(self, windows: range) -> slice:
        """The sites of a run of windows."""
        return slice(windows.start * self.width, min(windows.stop * self.width, self.n_sites))

    def cut(self, haplotypes: NDArray[np.int8], windows: range) -> NDArray[np.int8]:
        """Cut (n_haplotypes, n_sites) into a run of windows.

        Returns (len(windows), n_haplotypes, padded) int8; -1 (missing) where padded.
        """
        block = haplotypes[:, self.sites(windows)]
        n = block.shape[0]
        whole = np.full((n, len(windows) * self.width), MISSING, np.int8)
        whole[:, : block.shape[1]] = block
        cut = np.full((len(windows), n, self.padded), MISSING, np.int8)
        cut[:, :, : self.width] = whole.reshape(n, len(windows), self.width).transpose(1, 0, 2)
        return cut

    def join(self, cut: NDArray[_Scalar], windows: range) -> NDArray[_Scalar]:
        """Undo `cut`: (len(windows), n, padded) becomes (n, sites of these windows)."""
        joined = cut[:, :, : self.width].transpose(1, 0, 2).reshape(cut.shape[1], -1)
        sites = self.sites(windows)
        return joined[:, : sites.stop - sites.start]


def all_windows(values: Tensor, windows: slice, n_windows: int, group: ProcessGroup) -> Tensor:
    """Every rank's windows together, on every rank and on the CPU: (n_windows, …).

    `values` are those of this rank's `windows`, of all `n_windows`; ranks have disjoint ones.
    """
    if group.size == 1:
        return values.cpu()
    # Nothing but zeros is added to a window: the sum is exact.
    whole = np.zeros((n_windows, *values.shape[1:]), values.cpu().numpy().dtype)
    whole[windows] = values.cpu().numpy()
    return torch.from_numpy(group.all_reduce(whole))
