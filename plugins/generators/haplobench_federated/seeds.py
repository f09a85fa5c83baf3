"""What a seed gives again: draws that protect nobody, and for tests noise that then doesn't either.

Seeds are derived as by `RunContext.seed_for`. What draws repeatable noise is told by
`repeatable_noise` of the parameters, which says what that costs.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from haplobench import RunContext
from haplobench.noise import NoiseSource, keystream


class RepeatableNoise(NoiseSource):
    """The same draws for the same seed and key.

    Parameters
    ----------
    *key : str or int
        What is noised: client, round, step.
    """

    def __init__(self, seed: int, *key: str | int) -> None:
        self._name = json.dumps([seed, *key]).encode()
        self._draws = 0

    def random_bytes(self, n: int) -> bytes:
        """The next bytes, those of another draw each time."""
        self._draws += 1
        return keystream(hashlib.sha256(self._name + b"%d" % self._draws).digest(), n)


def noise_source(seed: int | None, *key: str | int) -> NoiseSource:
    """Noise of the operating system's entropy; of a seed only where one is given."""
    return NoiseSource() if seed is None else RepeatableNoise(seed, *key)


def derive(seed: int, *key: str | int) -> int:
    """A 63-bit seed of `seed` and `key`."""
    return RunContext(seed=seed, artifacts=Path(), scratch=Path()).seed_for(*key)


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed what libraries draw from without asking (random, numpy, torch), then put it back.

    Flower draws clients with `random`. Noise never comes from here: see
    `haplobench.noise`.
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
