"""Public keys: the four kinds, their sizes, and what is refused about them."""

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from weft_core.identity.der import SEQUENCE, DerError, Reader
from weft_core.identity.keys import PublicKey, read_public_key
from weft_testing import asn1, pki


def read(der: bytes) -> PublicKey:
    return read_public_key(Reader(der).open(SEQUENCE))


@pytest.mark.parametrize(
    ("key", "kind", "bits"),
    [
        (pki.p256(), "p256", 256),
        (pki.p384(), "p384", 384),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519", 256),
        (pki.rsa_key(2048), "rsa", 2048),
    ],
)
def test_reads_the_kinds_that_are_allowed(key: pki.PrivateKey, kind: str, bits: int) -> None:
    found = read(pki.public_info(key))
    assert (found.kind, found.bits, found.objection) == (kind, bits, "")


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP521R1()), ed448.Ed448PrivateKey.generate(), dsa.generate_private_key(1024)]
)
def test_names_other_kinds_as_such(key: ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey | dsa.DSAPrivateKey) -> None:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert read(der).kind == "other"
    assert "neither" in read(der).objection


def rsa_info(modulus: int, exponent: int) -> bytes:
    numbers = asn1.sequence(asn1.integer(modulus), asn1.integer(exponent))
    algorithm = asn1.sequence(asn1.oid("1.2.840.113549.1.1.1"), asn1.element(0x05, b""))
    return asn1.sequence(algorithm, asn1.bits(numbers))


@pytest.mark.parametrize(
    ("bits", "exponent", "word"),
    [
        (2048, 65537, ""),
        (4096, 65537, ""),
        (2047, 65537, "2047 bits"),
        (1024, 65537, "1024 bits"),
        (4097, 65537, "4097 bits"),
        (16384, 65537, "16384 bits"),
        (2048, 3, "exponent"),
        (2048, 65538, "exponent"),
        (2048, 1 << 33 | 1, "exponent"),
    ],
)
def test_bounds_of_rsa(bits: int, exponent: int, word: str) -> None:
    objection = read(rsa_info(1 << (bits - 1) | 1, exponent)).objection
    assert (word in objection) if word else not objection


def ec_info(point: bytes, curve: bytes | None = None) -> bytes:
    parameters = asn1.oid("1.2.840.10045.3.1.7") if curve is None else curve
    return asn1.sequence(asn1.sequence(asn1.oid("1.2.840.10045.2.1"), parameters), asn1.bits(point))


def test_explicit_curve_parameters_are_another_kind() -> None:
    """CVE-2020-0601: a curve that the certificate itself defines."""
    assert read(ec_info(b"\x04" + bytes(64), asn1.sequence(asn1.integer(1)))).kind == "other"


@pytest.mark.parametrize(
    "der",
    [
        ec_info(b"\x02" + bytes(32)),
        ec_info(b"\x04" + bytes(63)),
        ec_info(b"\x05" + bytes(64)),
        ec_info(b""),
        rsa_info(-5, 65537),
        rsa_info(1 << 2047, -3),
        asn1.sequence(asn1.sequence(asn1.oid("1.3.101.112")), asn1.bits(bytes(31))),
        asn1.sequence(asn1.sequence(asn1.oid("1.3.101.112"), asn1.element(0x05, b"")), asn1.bits(bytes(32))),
        asn1.sequence(asn1.sequence(asn1.oid("1.2.840.113549.1.1.1")), asn1.bits(bytes(32))),
        asn1.sequence(asn1.sequence(asn1.oid("1.3.101.112")), asn1.bits(bytes(32)), asn1.integer(1)),
        asn1.sequence(asn1.sequence(asn1.oid("1.3.101.112")), asn1.bits(bytes(32), unused=1)),
    ],
)
def test_refuses_malformed_keys(der: bytes) -> None:
    with pytest.raises(DerError):
        read(der)


def test_an_rsa_null_must_be_empty() -> None:
    algorithm = asn1.sequence(asn1.oid("1.2.840.113549.1.1.1"), asn1.element(0x05, b"x"))
    with pytest.raises(DerError):
        read(asn1.sequence(algorithm, asn1.bits(asn1.sequence(asn1.integer(5), asn1.integer(3)))))
