"""A certificate authority for tests that issues right certificates by default, and on request what no authority should.

Every field of a certificate is a field of `Wish`; its defaults are what `weft_core.identity` must accept. Certificates are
assembled byte by byte (`weft_testing.asn1`), since libraries refuse to write most of what has to be refused.
"""

import base64
import hashlib
import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from weft_testing import asn1

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

TRUST_DOMAIN: Final = "cluster.local"
ALICE: Final = f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/alice"
BOB: Final = f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/bob"

SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
DIGITAL_SIGNATURE: Final = 0
KEY_CERT_SIGN: Final = 5
CRL_SIGN: Final = 6

DAY_S: Final = 86400.0
_ECDSA: Final = {"sha256": "1.2.840.10045.4.3.2", "sha1": "1.2.840.10045.4.1"}
_RSA: Final = {"sha256": "1.2.840.113549.1.1.11", "sha1": "1.2.840.113549.1.1.5"}
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {"sha256": hashes.SHA256(), "sha1": hashes.SHA1()}
_counter = itertools.count(1)


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def p384() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


@lru_cache(maxsize=8)
def rsa_key(bits: int, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """An RSA key, the same one for the whole run: they take long to make."""
    return rsa.generate_private_key(exponent, bits)


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_info(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(key: PrivateKey) -> bytes:
    return hashlib.sha256(public_info(key)).digest()[:20]


def pem(*certificates: bytes) -> bytes:
    """PEM of certificates, in order."""
    return b"".join(
        b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
        for der in certificates
    )


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a certificate shall say; the defaults are a workload's."""

    key: PrivateKey = field(default_factory=p256)
    subject: str = ""
    uris: tuple[str | bytes, ...] = (ALICE,)
    other_names: tuple[bytes, ...] = ()
    """Further GeneralNames, as DER."""
    names_critical: bool = True
    authority: bool = False
    path_length: int | None = None
    usage: tuple[int, ...] | None = (DIGITAL_SIGNATURE,)
    usage_critical: bool = True
    purposes: tuple[str, ...] | None = (CLIENT_AUTH, SERVER_AUTH)
    version: int = 2
    serial: int = field(default_factory=lambda: secrets.randbits(127) + 1)
    starts_in_s: float = -60.0
    ends_in_s: float = DAY_S
    digest: str = "sha256"
    extensions: tuple[bytes, ...] = ()
    """Further Extension sequences, as DER."""
    subject_key_id: bytes | None = None
    """None: made from the key."""
    has_key_id: bool = True
    authority_key_id: bool = True
    now_unix_s: float = field(default_factory=time.time)


AUTHORITY: Final = Wish(
    uris=(), authority=True, usage=(KEY_CERT_SIGN, CRL_SIGN), purposes=None, starts_in_s=-DAY_S, ends_in_s=3650 * DAY_S
)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and the intermediates above it."""

    der: bytes
    key: PrivateKey
    above: tuple[bytes, ...] = ()

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Leaf first, intermediates after it."""
        return (self.der, *self.above)

    @property
    def chain_pem(self) -> bytes:
        return pem(*self.chain)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    @property
    def pem_text(self) -> str:
        return pem(self.der).decode()


@dataclass(frozen=True)
class Authority:
    """Something that signs."""

    issued: Issued
    subject: str
    key_id: bytes
    is_root: bool = True

    @property
    def der(self) -> bytes:
        return self.issued.der

    @property
    def pem_text(self) -> str:
        return self.issued.pem_text

    def issue(self, wish: Wish | None = None, /, **changes: object) -> Issued:
        """Issue whatever is wished; keyword arguments change single fields of the wish."""
        full = replace(wish if wish is not None else Wish(), **changes)  # type: ignore[arg-type]  # names checked by replace
        return Issued(
            sign(full, self.subject, self.key_id, self.issued.key),
            full.key,
            () if self.is_root else self.issued.chain,
        )

    def intermediate(self, wish: Wish | None = None, /, **changes: object) -> "Authority":
        """Issue a certificate for an authority below this one."""
        base = wish if wish is not None else replace(AUTHORITY, key=p256(), subject=f"intermediate {next(_counter)}")
        issued = self.issue(base, **changes)
        subject = str(changes.get("subject", base.subject))
        return Authority(issued, subject, key_id(issued.key), is_root=False)


def root(subject: str = "", /, **changes: object) -> Authority:
    """Make a root of trust."""
    subject = subject or f"root {next(_counter)}"
    full = replace(AUTHORITY, **{"key": p256(), "subject": subject, **changes})  # type: ignore[arg-type]  # as above
    identifier = full.subject_key_id if full.subject_key_id is not None else key_id(full.key)
    der = sign(full, subject, identifier, full.key)
    return Authority(Issued(der, full.key), subject, identifier)


def sign(wish: Wish, issuer: str, issuer_key_id: bytes, issuer_key: PrivateKey) -> bytes:
    """Assemble and sign a certificate."""
    algorithm = _algorithm(issuer_key, wish.digest)
    now = wish.now_unix_s
    body = asn1.sequence(
        asn1.explicit(0, asn1.integer(wish.version)) if wish.version else b"",
        asn1.integer(wish.serial),
        algorithm,
        asn1.name(issuer),
        asn1.sequence(asn1.time(now + wish.starts_in_s), asn1.time(now + wish.ends_in_s)),
        asn1.name(wish.subject),
        public_info(wish.key),
        asn1.explicit(3, asn1.sequence(*_extensions(wish, issuer_key_id))) if wish.version == 2 else b"",
    )
    return asn1.sequence(body, algorithm, asn1.bits(_signature(issuer_key, body, wish.digest)))


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """One Extension; `value` is the DER that goes into the OCTET STRING."""
    return asn1.sequence(asn1.oid(dotted), asn1.true() if critical else b"", asn1.octets(value))


def _extensions(wish: Wish, issuer_key_id: bytes) -> list[bytes]:
    found = [extension("2.5.29.19", _basic_constraints(wish), critical=True)]
    if wish.usage is not None:
        found.append(extension("2.5.29.15", asn1.named_bits(wish.usage), critical=wish.usage_critical))
    if wish.purposes is not None:
        found.append(extension("2.5.29.37", asn1.sequence(*map(asn1.oid, wish.purposes))))
    names = [asn1.implicit(6, uri if isinstance(uri, bytes) else uri.encode()) for uri in wish.uris]
    if names or wish.other_names:
        value = asn1.sequence(*names, *wish.other_names)
        found.append(extension("2.5.29.17", value, critical=wish.names_critical))
    if wish.authority and wish.has_key_id:
        identifier = wish.subject_key_id if wish.subject_key_id is not None else key_id(wish.key)
        found.append(extension("2.5.29.14", asn1.octets(identifier)))
    if wish.authority_key_id:
        found.append(extension("2.5.29.35", asn1.sequence(asn1.implicit(0, issuer_key_id))))
    return [*found, *wish.extensions]


def _basic_constraints(wish: Wish) -> bytes:
    if not wish.authority:
        return asn1.sequence()
    return asn1.sequence(asn1.true(), b"" if wish.path_length is None else asn1.integer(wish.path_length))


def _algorithm(key: PrivateKey, digest: str) -> bytes:
    match key:
        case ec.EllipticCurvePrivateKey():
            return asn1.sequence(asn1.oid(_ECDSA[digest]))
        case rsa.RSAPrivateKey():
            return asn1.sequence(asn1.oid(_RSA[digest]), asn1.element(0x05, b""))
        case _:
            return asn1.sequence(asn1.oid("1.3.101.112"))


def _signature(key: PrivateKey, body: bytes, digest: str) -> bytes:
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(body, ec.ECDSA(_HASHES[digest]))
        case rsa.RSAPrivateKey():
            return key.sign(body, padding.PKCS1v15(), _HASHES[digest])
        case _:
            return key.sign(body)
