"""A hook for attested execution: what a verifier of a quote is asked, and one that checks quotes.

A trusted execution environment (Intel SGX, AMD SEV-SNP) measures what it runs and signs the
measurement, with data of the program's choice, by a key whose certificate leads to its maker. A
federation that wants it asks each client, or the server, for a quote over a fresh nonce and the
public key that the party will use, and goes on only with those whose quote holds.

`SignedQuoteVerifier` checks quotes of this package's own form: ECDSA P-384 over measurement, nonce
and public key, and a certificate chain to a pinned root. It doesn't parse SGX' or SEV-SNP's report
structures, knows nothing of their security versions or makers' revocation services, and has never
seen a quote of real hardware; a verifier that does implements `AttestationVerifier`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384

_DOMAIN = b"haplobench quote 1"
_NONCE_BYTES = 32


class AttestationError(Exception):
    """A quote that doesn't hold, and why."""


@dataclass(frozen=True)
class Quote:
    """What an environment says of itself.

    Attributes
    ----------
    platform : str
        `sgx`, `sev-snp` or another name.
    measurement : bytes
        SHA-384 of the program and its first state (48 bytes).
    nonce : bytes
        The challenge that it answers.
    public_key : bytes
        That the program will use; a channel to it is a channel to the measured program.
    signature : bytes
        DER, ECDSA P-384 with SHA-384 over `signed_content`.
    certificates : tuple of bytes
        DER, the signer's first, each signed by the next; without the root.
    """

    platform: str
    measurement: bytes
    nonce: bytes
    public_key: bytes
    signature: bytes = b""
    certificates: tuple[bytes, ...] = ()

    def signed_content(self) -> bytes:
        """What the signature is over; lengths are part of it, so that no two quotes share it."""
        parts = (self.platform.encode(), self.measurement, self.nonce, self.public_key)
        return _DOMAIN + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class AttestationVerifier(Protocol):
    """Decides whether a party may be trusted with what the federation protects."""

    def challenge(self) -> bytes:
        """A new nonce for a party to answer."""

    def verify(self, quote: Quote) -> bytes:
        """The public key to talk to. Raises AttestationError for a quote that doesn't hold."""


@dataclass
class SignedQuoteVerifier:
    """Verifies quotes of this package's form.

    Parameters
    ----------
    root : x509.Certificate
        Pinned; self-signed.
    measurements : collection of bytes
        Of the programs that are trusted.
    platforms : collection of str
    patience : timedelta
        A challenge is good for this long, and once.
    revoked : collection of int
        Serial numbers of certificates that are no longer trusted.
    """

    root: x509.Certificate
    measurements: Collection[bytes]
    platforms: Collection[str] = ("sgx", "sev-snp")
    patience: timedelta = timedelta(minutes=5)
    revoked: Collection[int] = ()
    _open: dict[bytes, datetime] = field(default_factory=dict, init=False, repr=False)

    def challenge(self) -> bytes:
        """See `AttestationVerifier`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        self._open[nonce] = self.now()
        return nonce

    def verify(self, quote: Quote) -> bytes:
        """See `AttestationVerifier`."""
        asked = self._open.pop(quote.nonce, None)
        if asked is None:
            raise AttestationError("nonce: never asked for, or answered before")
        now = self.now()
        if now - asked > self.patience:
            raise AttestationError(f"nonce: asked {now - asked} ago; expected {self.patience}")
        if quote.platform not in self.platforms:
            raise AttestationError(f"platform: {quote.platform}, expected one of {self.platforms}")
        if quote.measurement not in self.measurements:
            raise AttestationError(
                f"measurement: {quote.measurement.hex()[:16]}… is none of the trusted programs'"
            )
        signer = self._signer(quote.certificates, now)
        try:
            signer.verify(quote.signature, quote.signed_content(), ec.ECDSA(SHA384()))
        except InvalidSignature:
            raise AttestationError("signature: not the signer's, or of another quote") from None
        return quote.public_key

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    def _signer(self, certificates: Sequence[bytes], now: datetime) -> ec.EllipticCurvePublicKey:
        """The key of the first certificate, once the chain to the root holds."""
        try:
            chain = [x509.load_der_x509_certificate(one) for one in certificates]
        except ValueError as error:
            raise AttestationError(f"certificates: {error}") from None
        if not chain:
            raise AttestationError("certificates: found none")
        for depth, (one, issuer) in enumerate(
            zip([*chain, self.root], [*chain[1:], self.root, self.root], strict=True)
        ):
            name = one.subject.rfc4514_string()
            if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
                raise AttestationError(f"certificate {name}: expired, or not valid yet")
            if one.serial_number in self.revoked:
                raise AttestationError(f"certificate {name}: revoked")
            try:
                one.verify_directly_issued_by(issuer)
            except (InvalidSignature, ValueError, TypeError):
                raise AttestationError(
                    f"certificate {name}: not issued by {issuer.subject.rfc4514_string()}"
                ) from None
            if depth:
                _check_authority(one, name, depth - 1)
        key = chain[0].public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
            key.curve, ec.SECP384R1
        ):
            raise AttestationError("signer's key: expected ECDSA P-384")
        return key


def measurement_of(*content: bytes) -> bytes:
    """SHA-384 of a program's parts, lengths included."""
    digest = hashlib.sha384()
    for part in content:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _check_authority(certificate: x509.Certificate, name: str, below: int) -> None:
    """Whether a certificate may issue others, with `below` authorities between."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        found = None
    if found is None or not found.ca:
        raise AttestationError(f"certificate {name}: may not issue certificates")
    if found.path_length is not None and below > found.path_length:
        raise AttestationError(f"certificate {name}: the chain below it is too long")
