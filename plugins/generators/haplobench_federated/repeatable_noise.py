"""Noise that a seed gives again: for tests, and for nobody's protection.

What draws it is told by `repeatable_noise` of the parameters, which says what that costs.
"""

from __future__ import annotations

import hashlib
import json

from haplobench_federated.noise import NoiseSource, keystream


class RepeatableNoise(NoiseSource):
    """The same draws for the same seed and key.

    Parameters
    ----------
    seed : int
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
