"""What training of both generators rests on: reproducible arithmetic, people to validate on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils import deterministic

from haplobench import BenchError, Panel
from haplobench.data.split import take_families

# Its one setting is set by the module's own __class__: type checkers can't see it.
_DETERMINISTIC: Any = deterministic


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Fix what floating-point results depend on, and put it back afterwards.

    `threads` PyTorch threads, deterministic algorithms only (on CUDA too).
    """
    before = (
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        _DETERMINISTIC.fill_uninitialized_memory,
    )
    # cuBLAS reads it when its handle is made; without it PyTorch refuses matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(max(1, threads))
    # The same switch as use_deterministic_algorithms, which would import the compiler (1 s).
    torch.set_deterministic_debug_mode("error")
    # Nothing here reads uninitialised memory; filling it costs a twentieth of the time.
    _DETERMINISTIC.fill_uninitialized_memory = False
    try:
        yield
    finally:
        _DETERMINISTIC.fill_uninitialized_memory = before[2]
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])


def cpu_generator(seed: int) -> torch.Generator:
    """A torch generator on the CPU: all noise is drawn there, so that devices agree on it."""
    return torch.Generator().manual_seed(seed)


def validation_haplotypes(
    train: Panel, share: float, rng: np.random.Generator, given: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Choose people for validation: (n_haplotypes,) bool, all haplotypes of a person alike.

    `given` are people that the suite set apart, by index; where it set none apart, `share` of
    all are drawn, families whole.

    Raises BenchError if the panel has no sites or fewer than two people.
    """
    if not train.n_sites:
        raise BenchError("training panel: found 0 sites, expected at least 1")
    if train.n_samples < 2:
        raise BenchError(
            f"training panel: found {train.n_samples} people, expected at least 2 "
            "(one to train on, one to validate on)",
            hint="use a larger dataset",
        )
    chosen = np.zeros(train.n_samples, np.bool_)
    if given is not None and given.size:
        chosen[given] = True
    else:
        n = min(max(1, round(share * train.n_samples)), train.n_samples - 1)
        order = rng.permutation(train.n_samples)
        whole = take_families(train, order, n)
        # Where no family is so small, some of one is better than nobody.
        chosen[whole if whole.size else order[:n]] = True
    return np.repeat(chosen, train.ploidy)
