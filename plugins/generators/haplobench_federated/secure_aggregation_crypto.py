"""Keys, masks, sealed shares and commitments of secure aggregation.

Shamir's scheme is Flower's. Its masks are not used: they come from a Mersenne Twister of a 32-bit
seed, which anybody who knows one value of an update could try through. Masks here are AES-256 in
counter mode; keys are agreed by X25519 and derived by HKDF-SHA256; shares are sealed by
ChaCha20-Poly1305, so that a share changed on its way is noticed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from numpy.typing import NDArray

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
