"""What secure sums are computed with: keys, masks and sealed shares, integers, ciphertexts' sizes.

Shamir's scheme is Flower's. Its masks are not used: they come from a Mersenne Twister of a 32-bit
seed, which anybody who knows one value of an update could try through. Masks here are AES-256 in
counter mode; keys are agreed by X25519 and derived by HKDF-SHA256; shares are sealed by
ChaCha20-Poly1305, so that a share changed on its way is noticed.

*Updates as integers.* A value x, clipped to ± R, becomes round(n x / step) for a client's n people,
step = 2 R / (2^bits - 1), modulo 2^32 or 2^64, so that a negative value is a great one; the sum
over clients, divided by all people, is the average. Rounding is to the nearest and comes after the
weight: n times a rounded value would show it modulo what the others' numbers of people have in
common. Each value times its weight is wrong by at most step / 2; the average by no more than that
over a client's mean number of people. Noise that is whole steps already
(`haplobench_federated.shared_noise`) isn't rounded.

*CKKS* (Cheon, Kim, Kim & Song 2017, ePrint 2016/421). A ciphertext of 4,096 values has 128 kB, 32
bytes a value. The ring has dimension 8,192 and a modulus of 120 bits, below the 218 bits that the
HomomorphicEncryption.org standard (2018) allows at 128 bits of security.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Quantisation:
    """How an update is written as integers.

    Attributes
    ----------
    clipping_range : float
        R: values beyond are clipped, which the error bound doesn't cover.
    people : int
        Of all clients of a round at most; gives the modulus.

    Raises ValueError if a sum could exceed 2^64.
    """

    bits: int
    clipping_range: float
    people: int

    def __post_init__(self) -> None:
        if self.people * self.levels >= 2**64:
            raise ValueError(f"{self.people} people of {self.bits} bits exceed 64 bits")

    @property
    def levels(self) -> int:
        """Greatest quantised value."""
        return int(2**self.bits - 1)

    @property
    def step(self) -> float:
        """Between neighbouring values."""
        return 2 * self.clipping_range / self.levels

    @property
    def error_bound(self) -> float:
        """Greatest error of a value of the average, of updates within the clipping range."""
        return self.step / 2

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of masked vectors: the modulus is that of its overflow."""
        return np.dtype(np.uint32 if self.people * self.levels < 2**32 else np.uint64)

    def quantise(self, vector: NDArray[np.float64], people: int) -> NDArray[np.unsignedinteger]:
        """`people` times the values, quantised (n_parameters,), uint32 or uint64.

        Raises ValueError for values that aren't finite or more people than announced.
        """
        if not np.isfinite(vector).all():
            raise ValueError("update: found values that aren't finite")
        if not 0 < people <= self.people:
            raise ValueError(f"people: found {people}, expected 1 to {self.people}")
        bound = self.clipping_range
        weighted = np.clip(vector, -bound, bound).astype(np.longdouble) * people
        index = np.rint(weighted / self.step).astype(np.int64)
        return np.asarray(index.astype(self.dtype))

    def average(self, total: NDArray[np.unsignedinteger], people: int) -> NDArray[np.float64]:
        """Average by people of the updates whose sum `total` is, (n_parameters,) float64."""
        signed = total.view(np.int32 if total.dtype == np.uint32 else np.int64)
        # Longer than float64's 53 bits at 64: long double holds the sums exactly on x86.
        return np.asarray(signed.astype(np.longdouble) / people * self.step, np.float64)


KEY_BYTES = 32
_NONCE_BYTES = 12


class CorruptedError(Exception):
    """A share, seed or key that isn't what was committed to."""


def new_key() -> bytes:
    """A private key, of the operating system's entropy."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key(private: bytes) -> bytes:
    """The public key of a private one. Raises CorruptedError if it isn't a key."""
    try:
        return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    except ValueError as error:
        raise CorruptedError(f"private key: {error}") from None


def agreed_key(private: bytes, public: bytes, purpose: str, round_number: int) -> bytes:
    """The key that two parties share for a purpose in a round; the same from both sides.

    Raises CorruptedError for a public key that is no point to agree on.
    """
    try:
        secret = X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError as error:
        raise CorruptedError(f"public key: {error}") from None
    info = f"haplobench {purpose} {round_number}".encode()
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(secret)


def mask(seed: bytes, n: int, dtype: np.dtype[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Pseudorandom integers (n,), uniform over all of `dtype`; a function of a 32-byte seed."""
    # A seed masks one vector of one round, so that the counter may begin at 0.
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(stream.update(bytes(n * dtype.itemsize)), dtype)


def seal(key: bytes, plain: bytes, about: bytes) -> bytes:
    """Encrypt and authenticate, together with `about`, which is not sent."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, plain, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """Undo `seal`. Raises CorruptedError if anything was changed."""
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        raise CorruptedError("sealed share: changed, or sealed by another") from None


def split_secret(secret: bytes, threshold: int, shares: int) -> list[bytes]:
    """Shamir shares of a secret, `threshold` of which give it back and fewer tell nothing."""
    made: list[bytes] = create_shares(secret, threshold, shares)
    return made


def join_shares(shares: Sequence[bytes]) -> bytes:
    """Undo `split_secret`. Raises CorruptedError where the shares don't belong together."""
    try:
        secret: bytes = combine_shares(list(shares))
    except ValueError as error:
        raise CorruptedError(f"shares: {error}") from None
    return secret


def about(round_number: int, owner: int, holder: int, kind: str) -> bytes:
    """What a share belongs to: bound into its seal and its commitment."""
    return f"{round_number} {owner} {holder} {kind}".encode()


def commitment(content: bytes, belongs: bytes) -> bytes:
    """SHA-256 of what somebody will show later. Hides what is random in 128 bits or more."""
    return hashlib.sha256(belongs + b"\0" + content).digest()
