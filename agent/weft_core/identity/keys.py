"""Public keys of certificates: which kind, how large. Whether a point is on its curve is the TLS library's affair.

Source: RFC 5280 §4.1.2.7, RFC 5480 §2 (EC, uncompressed points), RFC 8410 §3 (Ed25519), RFC 8017 A.1.1 (RSA).
"""

from dataclasses import dataclass
from typing import Final, Literal

from weft_core.identity.der import (
    BIT_STRING,
    INTEGER,
    NULL,
    OID,
    SEQUENCE,
    DerError,
    Reader,
    object_identifier,
    read_integer,
    read_octet_bits,
    read_oid,
)

KeyKind = Literal["p256", "p384", "ed25519", "rsa", "other"]

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 4096
"""RUSTSEC-2023-0052 and its relatives: a 16384-bit key costs the verifier, not the attacker."""
MIN_RSA_EXPONENT: Final = 65537
MAX_RSA_EXPONENT: Final = 1 << 32

_EC: Final = object_identifier("1.2.840.10045.2.1")
_RSA: Final = object_identifier("1.2.840.113549.1.1.1")
_ED25519: Final = object_identifier("1.3.101.112")
_CURVES: Final[dict[bytes, tuple[KeyKind, int]]] = {
    object_identifier("1.2.840.10045.3.1.7"): ("p256", 256),
    object_identifier("1.3.132.0.34"): ("p384", 384),
}
_UNCOMPRESSED: Final = 0x04


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What kind of key a certificate holds; `other`: one that is not supported, of unknown size."""

    kind: KeyKind
    bits: int
    exponent: int = 0
    """RSA only."""

    @property
    def objection(self) -> str:
        """Why this key may not be used; empty: it may."""
        if self.kind == "other":
            return "its key is neither P-256, P-384, Ed25519 nor RSA"
        if self.kind != "rsa":
            return ""
        if not MIN_RSA_BITS <= self.bits <= MAX_RSA_BITS:
            return f"its RSA key has {self.bits} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are allowed"
        if not (MIN_RSA_EXPONENT <= self.exponent < MAX_RSA_EXPONENT and self.exponent & 1):
            return "its RSA exponent is out of bounds"
        return ""


def read_public_key(info: Reader) -> PublicKey:
    """Read the content of a SubjectPublicKeyInfo.

    Raises:
        DerError: it is malformed, or its content has not the form its algorithm demands.
    """
    algorithm = info.open(SEQUENCE)
    name = read_oid(algorithm.value(OID))
    bits = read_octet_bits(info.value(BIT_STRING))
    info.close()
    if name == _EC:
        return _read_ec(algorithm, bits)
    if name == _RSA:
        return _read_rsa(algorithm, bits)
    if name == _ED25519:
        return _read_ed25519(algorithm, bits)
    return PublicKey("other", 0)


def _read_ec(algorithm: Reader, point: bytes) -> PublicKey:
    if algorithm.tag != OID:  # curves by explicit parameters: CVE-2020-0601
        return PublicKey("other", 0)
    curve = _CURVES.get(read_oid(algorithm.value(OID)))
    algorithm.close()
    if curve is None:
        return PublicKey("other", 0)
    kind, size = curve
    if len(point) != 1 + 2 * size // 8 or point[0] != _UNCOMPRESSED:
        raise DerError("EC point is not an uncompressed point of its curve")
    return PublicKey(kind, size)


def _read_ed25519(algorithm: Reader, key: bytes) -> PublicKey:
    algorithm.close()
    if len(key) != 32:
        raise DerError("Ed25519 key is not 32 bytes")
    return PublicKey("ed25519", 256)


def _read_rsa(algorithm: Reader, key: bytes) -> PublicKey:
    if algorithm.value(NULL):
        raise DerError("NULL has content")
    algorithm.close()
    outer = Reader(key)
    numbers = outer.open(SEQUENCE)
    outer.close()
    modulus = read_integer(numbers.value(INTEGER))
    exponent = read_integer(numbers.value(INTEGER))
    numbers.close()
    if modulus <= 0 or exponent <= 0:
        raise DerError("RSA numbers must be positive")
    return PublicKey("rsa", modulus.bit_length(), exponent)
