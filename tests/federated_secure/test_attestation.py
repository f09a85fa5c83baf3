"""Quotes signed under a made-up root: one that holds, and each way in which one doesn't."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from haplobench_federated.attestation import (
    AttestationError,
    AttestationVerifier,
    Quote,
    SignedQuoteVerifier,
    measurement_of,
)
from haplobench_federated.secure_aggregation_crypto import new_key, public_key

NOW = datetime.now(UTC)
PROGRAM = measurement_of(b"the client", b"its configuration")
Key = ec.EllipticCurvePrivateKey


def certificate(
    name: str,
    key: Key,
    issuer: str,
    issuer_key: Key,
    *,
    authority: bool,
    days: tuple[int, int] = (-1, 30),
    path: int | None = None,
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path), critical=True)
        .sign(issuer_key, SHA384())
    )


class Maker:
    """A root, an intermediate authority and an environment's key."""

    def __init__(self, **leaf: Any) -> None:
        self.root_key, self.middle_key, self.key = (
            ec.generate_private_key(ec.SECP384R1()) for _ in range(3)
        )
        self.root = certificate("root", self.root_key, "root", self.root_key, authority=True)
        self.middle = certificate(
            "middle", self.middle_key, "root", self.root_key, authority=True, path=0
        )
        made = {"authority": False} | leaf
        self.leaf = certificate("chip", self.key, "middle", self.middle_key, **made)

    def verifier(self, **changes: Any) -> SignedQuoteVerifier:
        return SignedQuoteVerifier(**({"root": self.root, "measurements": [PROGRAM]} | changes))

    def quote(self, nonce: bytes, **changes: Any) -> Quote:
        chain = tuple(one.public_bytes(Encoding.DER) for one in (self.leaf, self.middle))
        quote = Quote("sev-snp", PROGRAM, nonce, public_key(new_key()), certificates=chain)
        return self.signed(replace(quote, **changes))

    def signed(self, quote: Quote) -> Quote:
        signature = self.key.sign(quote.signed_content(), ec.ECDSA(SHA384()))
        return replace(quote, signature=signature)


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


def test_a_quote_that_holds_gives_the_key_to_talk_to(maker: Maker) -> None:
    verifier: AttestationVerifier = maker.verifier()
    quote = maker.quote(verifier.challenge())
    assert verifier.verify(quote) == quote.public_key


def test_a_nonce_is_good_once_and_for_a_while(maker: Maker) -> None:
    verifier = maker.verifier()
    quote = maker.quote(verifier.challenge())
    verifier.verify(quote)
    with pytest.raises(AttestationError, match="answered before"):
        verifier.verify(quote)
    with pytest.raises(AttestationError, match="never asked"):
        verifier.verify(maker.quote(bytes(32)))
    slow = maker.verifier(patience=timedelta(seconds=-1))
    with pytest.raises(AttestationError, match="nonce: asked"):
        slow.verify(maker.quote(slow.challenge()))
    other = maker.verifier().challenge()
    with pytest.raises(AttestationError, match="never asked"):
        verifier.verify(maker.quote(other))


def test_an_untrusted_program_or_platform_is_refused(maker: Maker) -> None:
    verifier = maker.verifier()
    with pytest.raises(AttestationError, match="measurement"):
        verifier.verify(maker.quote(verifier.challenge(), measurement=measurement_of(b"another")))
    with pytest.raises(AttestationError, match="platform: toaster"):
        verifier.verify(maker.quote(verifier.challenge(), platform="toaster"))


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": bytes(32)},
        {"platform": "sgx"},
        {"signature": b"nonsense"},
        {"signature": b""},
    ],
)
def test_nothing_signed_can_be_changed(maker: Maker, change: dict[str, Any]) -> None:
    verifier = maker.verifier()
    quote = replace(maker.quote(verifier.challenge()), **change)
    with pytest.raises(AttestationError, match="signature"):
        verifier.verify(quote)


def test_fields_cannot_flow_into_one_another() -> None:
    a = Quote("x", b"ab", b"c", b"d")
    assert a.signed_content() != Quote("x", b"a", b"bc", b"d").signed_content()
    assert measurement_of(b"ab", b"c") != measurement_of(b"a", b"bc")


def expect(maker: Maker, said: str, quote_by: Callable[[bytes], Quote], **changes: Any) -> None:
    verifier = maker.verifier(**changes)
    with pytest.raises(AttestationError, match=said):
        verifier.verify(quote_by(verifier.challenge()))


def test_the_chain_must_lead_to_the_pinned_root(maker: Maker) -> None:
    other = Maker()  # the same names, other keys
    expect(maker, "not issued by", other.quote)
    expect(maker, "found none", lambda n: maker.quote(n, certificates=()))
    expect(maker, "certificates", lambda n: maker.quote(n, certificates=(b"junk",)))
    short = (maker.leaf.public_bytes(Encoding.DER),)
    expect(maker, "not issued by", lambda n: maker.quote(n, certificates=short))


def test_expired_early_and_revoked_certificates_are_refused(maker: Maker) -> None:
    for days in ((-10, -1), (1, 10)):
        other = Maker(days=days)
        expect(other, "chip: expired, or not valid yet", other.quote)
    for one, name in ((maker.leaf, "chip"), (maker.middle, "middle"), (maker.root, "root")):
        expect(maker, f"{name}: revoked", maker.quote, revoked=[one.serial_number])


def test_a_chip_may_not_issue_certificates(maker: Maker) -> None:
    """A leaf's key signs one for the attacker: the chain's signatures hold, its right doesn't."""
    key = ec.generate_private_key(ec.SECP384R1())
    forged = certificate("mine", key, "chip", maker.key, authority=False)
    chain = tuple(one.public_bytes(Encoding.DER) for one in (forged, maker.leaf, maker.middle))

    def quote(nonce: bytes) -> Quote:
        plain = Quote("sgx", PROGRAM, nonce, b"key", certificates=chain)
        return replace(plain, signature=key.sign(plain.signed_content(), ec.ECDSA(SHA384())))

    expect(maker, "chip: may not issue", quote)
    authority = Maker(authority=True)  # now it may, but the one above allows none below it
    chain = (
        certificate("mine", key, "chip", authority.key, authority=False),
        authority.leaf,
        authority.middle,
    )
    chain = tuple(one.public_bytes(Encoding.DER) for one in chain)
    expect(authority, "middle: the chain below it is too long", quote)


def test_a_key_of_another_curve_is_refused(maker: Maker) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = certificate("weak", key, "middle", maker.middle_key, authority=False)
    chain = tuple(one.public_bytes(Encoding.DER) for one in (leaf, maker.middle))

    def quote(nonce: bytes) -> Quote:
        plain = Quote("sgx", PROGRAM, nonce, b"key", certificates=chain)
        return replace(plain, signature=key.sign(plain.signed_content(), ec.ECDSA(SHA384())))

    expect(maker, "expected ECDSA P-384", quote)
