"""Seeds of what protects nobody; the same derivation as `RunContext.seed_for`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from haplobench import RunContext


def derive(seed: int, *key: str | int) -> int:
    """A 63-bit seed of `seed` and `key`."""
    return RunContext(seed=seed, artifacts=Path(), scratch=Path()).seed_for(*key)


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed what libraries draw from without asking (random, numpy, torch), then put it back.

    Flower draws clients with `random`. Noise never comes from here: see
    `haplobench_federated.noise`.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
