"""What ranks do of windows: windows share no parameters, so each rank has its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from haplobench.distributed import ProcessGroup


def all_windows(own: Tensor, windows: slice, n_windows: int, group: ProcessGroup) -> Tensor:
    """Every rank's windows together, on every rank and on the CPU: (n_windows, …).

    `own` are those of this rank, `windows` of all `n_windows`; ranks have disjoint ones.
    """
    if group.size == 1:
        return own.cpu()
    # Nothing but zeros is added to a window: the sum is exact.
    whole = np.zeros((n_windows, *own.shape[1:]), own.cpu().numpy().dtype)
    whole[windows] = own.cpu().numpy()
    return torch.from_numpy(group.all_reduce(whole))
