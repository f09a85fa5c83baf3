"""Sizes of CKKS ciphertexts (Cheon, Kim, Kim & Song 2017, ePrint 2016/421), and their exactness.

A ciphertext of 4,096 values has 128 kB, 32 bytes a value. The ring has dimension 8,192 and a
modulus of 120 bits, below the 218 bits that the HomomorphicEncryption.org standard (2018) allows
at 128 bits of security.
"""

from __future__ import annotations

import math

RING = 8192
SLOTS = RING // 2
SCALE = 2.0**40
MODULI = [60, 60]
_DEVIATION = 3.2  # of the noise of a fresh ciphertext: SEAL's


def error_bound(clients: int, people: int) -> float:
    """Greatest error of a value of the average by people, but for a negligible probability.

    That of a fresh encryption is at most (8 √2 σ N + 6 σ √N + 16 σ √(h N)) / scale (Cheon et al.
    2017, lemma 1), h = 2 N / 3 values of the key not being 0; encoding rounds by half a unit in
    each of N coefficients. Sums add up, and the average divides by people.
    """
    n, h = RING, 2 * RING / 3
    fresh = _DEVIATION * (8 * math.sqrt(2) * n + 6 * math.sqrt(n) + 16 * math.sqrt(h * n))
    return clients * (fresh + n / 2) / SCALE / people
