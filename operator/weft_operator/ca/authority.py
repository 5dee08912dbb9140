"""Issuing certificates: roots, intermediates, and leaves that say exactly what a workload's certificate must say.

Theory: whoever asks for a certificate supplies a public key and nothing else; name, purposes and validity are written here,
from what the caller has established about the asker. So a request cannot smuggle in a second name, an authority bit or a
longer life. Three tiers: a root (ten years, kept away), an intermediate (one year, signs; may only name workloads of its
trust domain, by name constraint), leaves (a day).

Every certificate begins one clock difference before now, so that a peer whose clock is behind accepts it, and a leaf never
outlives the intermediate that signed it. Time and randomness are arguments.

Source: RFC 5280 §4.2; SPIFFE X509-SVID §2-4; `weft_core.identity.verify` (the same rules from the other side).
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft_contract.identity import SpiffeId, check_trust_domain
from weft_contract.limits import DEFAULT_LIMITS, HOURS

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
AuthorityKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""What signs; ours are P-256, those of other issuers may be RSA."""
Randomness: TypeAlias = Callable[[int], bytes]
"""So many random bytes."""

DAYS: Final = 24 * HOURS
ROOT_TTL_S: Final = 3650.0 * DAYS
"""Ten years, as Istio and Linkerd; replaced with overlap long before."""
INTERMEDIATE_TTL_S: Final = 365.0 * DAYS
MIN_LEAF_TTL_S: Final = 300.0
"""Below five minutes a certificate is renewed more often than it is used; an intermediate that has less left signs no more."""
SERIAL_BYTES: Final = 16
"""128 random bits (CA/Browser Forum asks for 64)."""

_BEFORE_NOW_S: Final = DEFAULT_LIMITS.clock_skew_s
_RSA_BITS: Final = range(2048, 4097)


class CaError(Exception):
    """A certificate cannot be issued; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The certificate of an authority with its private key."""

    certificate: x509.Certificate
    key: AuthorityKey
    above: tuple[x509.Certificate, ...] = ()
    """Authorities between it and the root, the nearest first; an intermediate of ours has none."""

    @property
    def not_after_unix_s(self) -> float:
        """Last second of validity."""
        return self.certificate.not_valid_after_utc.timestamp()

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """The certificate, and those above it: what goes behind each leaf."""
        above = (certificate.public_bytes(serialization.Encoding.PEM) for certificate in self.above)
        return self.certificate_pem + b"".join(above)

    @property
    def key_id(self) -> bytes:
        """The subject key identifier; names this authority."""
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A workload's new certificate."""

    identity: SpiffeId
    chain_pem: bytes
    """Leaf first, then the intermediate."""
    not_after_unix_s: float
    serial: int


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A control plane server's new certificate."""

    names: tuple[str, ...]
    chain_pem: bytes
    """Leaf first, then the intermediate."""
    not_after_unix_s: float


class Authority:
    """Issues certificates of one trust domain.

    Args:
        intermediate: signs them.
        trust_domain: of every identity it issues.
        randomness: for serial numbers.
    """

    def __init__(
        self, intermediate: SigningKey, trust_domain: str, *, randomness: Randomness = secrets.token_bytes
    ) -> None:
        self._intermediate = intermediate
        self._trust_domain = check_trust_domain(trust_domain)
        self._randomness = randomness

    @property
    def trust_domain(self) -> str:
        """Of every identity it issues."""
        return self._trust_domain

    def issue(
        self,
        public_key: PublicKey,
        identity: SpiffeId,
        *,
        now_unix_s: float,
        ttl_s: float = DEFAULT_LIMITS.certificate_ttl_s,
    ) -> IssuedCertificate:
        """Issue a workload's certificate.

        Args:
            public_key: the asker's; see `public_key_of_request`.
            identity: who the caller has found the asker to be.
            now_unix_s: wall clock, seconds.
            ttl_s: seconds from now; cut short where the intermediate ends first.

        Raises:
            CaError: another trust domain, a key that peers would refuse, no time left.
        """
        if identity.trust_domain != self._trust_domain:
            raise CaError(
                f"{identity} is not of trust domain {self._trust_domain}, which is all that this authority signs"
            )
        check_public_key(public_key)
        ends = min(now_unix_s + ttl_s, self._intermediate.not_after_unix_s)
        if ends - now_unix_s < MIN_LEAF_TTL_S:
            left_s = max(0.0, ends - now_unix_s)
            raise CaError(
                f"a certificate would last {left_s:.0f} s, at least {MIN_LEAF_TTL_S:.0f} s are needed: "
                "ask for longer, or renew the intermediate"
            )
        certificate = self._sign_leaf(public_key, identity, now_unix_s, ends)
        chain = certificate.public_bytes(serialization.Encoding.PEM) + self._intermediate.chain_pem
        not_after = certificate.not_valid_after_utc.timestamp()
        return IssuedCertificate(identity, chain, not_after, certificate.serial_number)

    def issue_server(
        self,
        public_key: PublicKey,
        names: Sequence[str],
        *,
        now_unix_s: float,
        ttl_s: float = DEFAULT_LIMITS.certificate_ttl_s,
    ) -> ServerCertificate:
        """Issue a certificate for a server of the control plane. It names no workload, so no peer takes it for one.

        Args:
            public_key: the server's.
            names: DNS names or addresses; at least one.
            now_unix_s: wall clock, seconds.
            ttl_s: seconds from now; cut short where the intermediate ends first.

        Raises:
            CaError: there is no time left.
        """
        ends = min(now_unix_s + ttl_s, self._intermediate.not_after_unix_s)
        if ends - now_unix_s < MIN_LEAF_TTL_S:
            raise CaError("the intermediate has ended, or is about to: renew it")
        begins = max(now_unix_s - _BEFORE_NOW_S, self._intermediate.certificate.not_valid_before_utc.timestamp())
        builder = _begin(x509.Name([]), begins, ends, self._randomness).public_key(check_public_key(public_key))
        for value, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectAlternativeName([_server_name(name) for name in names]), True),
            (x509.AuthorityKeyIdentifier(self._intermediate.key_id, None, None), False),
        ):
            builder = builder.add_extension(value, critical=critical)
        certificate = _sign(builder, self._intermediate)
        chain = certificate.public_bytes(serialization.Encoding.PEM) + self._intermediate.chain_pem
        return ServerCertificate(tuple(names), chain, certificate.not_valid_after_utc.timestamp())

    def _sign_leaf(
        self, public_key: PublicKey, identity: SpiffeId, now_unix_s: float, ends_unix_s: float
    ) -> x509.Certificate:
        begins = max(now_unix_s - _BEFORE_NOW_S, self._intermediate.certificate.not_valid_before_utc.timestamp())
        builder = _begin(x509.Name([]), begins, ends_unix_s, self._randomness).public_key(public_key)
        for value, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), False),
            # critical, because the subject is empty (RFC 5280 §4.2.1.6)
            (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))]), True),
            (x509.AuthorityKeyIdentifier(self._intermediate.key_id, None, None), False),
        ):
            builder = builder.add_extension(value, critical=critical)
        return _sign(builder, self._intermediate)


def create_root(
    trust_domain: str,
    *,
    now_unix_s: float,
    ttl_s: float = ROOT_TTL_S,
    randomness: Randomness = secrets.token_bytes,
) -> SigningKey:
    """Make a root of trust: an own key (P-256), self-signed.

    Raises:
        IdentityGrammarError: `trust_domain` is none.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _authority_name("weft root", check_trust_domain(trust_domain), key_id)
    builder = _begin(name, now_unix_s - _BEFORE_NOW_S, now_unix_s + ttl_s, randomness).public_key(key.public_key())
    builder = builder.issuer_name(name)
    for value, critical in (
        (x509.BasicConstraints(ca=True, path_length=1), True),
        (_usage(key_cert_sign=True, crl_sign=True), True),
        (key_id, False),
        (x509.AuthorityKeyIdentifier(key_id.digest, None, None), False),
    ):
        builder = builder.add_extension(value, critical=critical)
    return SigningKey(builder.sign(key, hashes.SHA256()), key)


def create_intermediate(
    root: SigningKey,
    trust_domain: str,
    *,
    now_unix_s: float,
    ttl_s: float = INTERMEDIATE_TTL_S,
    randomness: Randomness = secrets.token_bytes,
) -> SigningKey:
    """Make an intermediate that may sign leaves of one trust domain, and no authorities.

    Raises:
        IdentityGrammarError: `trust_domain` is none.
        CaError: the domain cannot be expressed as a name constraint, or the root has ended.
    """
    if check_trust_domain(trust_domain).startswith("."):  # in a constraint this would mean: every domain below it
        raise CaError(f"trust domain {trust_domain!r} begins with a dot and cannot be constrained; choose another")
    if root.not_after_unix_s - now_unix_s < MIN_LEAF_TTL_S:
        raise CaError("the root has ended; make a new one and replace it everywhere")
    key = ec.generate_private_key(ec.SECP256R1())
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _authority_name("weft intermediate", trust_domain, key_id)
    begins = max(now_unix_s - _BEFORE_NOW_S, root.certificate.not_valid_before_utc.timestamp())
    ends = min(now_unix_s + ttl_s, root.not_after_unix_s)
    builder = _begin(name, begins, ends, randomness).public_key(key.public_key())
    constraint = x509.NameConstraints([x509.UniformResourceIdentifier(trust_domain)], None)
    for value, critical in (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(key_cert_sign=True, crl_sign=True), True),
        (constraint, True),
        (key_id, False),
        (x509.AuthorityKeyIdentifier(root.key_id, None, None), False),
    ):
        builder = builder.add_extension(value, critical=critical)
    return SigningKey(_sign(builder, root), key)


def public_key_of_request(request_pem: bytes) -> PublicKey:
    """Return the public key of a certificate signing request; everything else in it is ignored.

    Raises:
        CaError: it is no request, the asker does not hold the key, or peers would refuse the key.
    """
    try:
        request = x509.load_pem_x509_csr(request_pem)
        proven = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise CaError(f"not a certificate signing request: {exc}") from exc
    if not proven:
        raise CaError("the request is not signed with the key it asks a certificate for")
    return check_public_key(key)


def check_public_key(key: object) -> PublicKey:
    """Return `key` if peers accept certificates for it.

    Raises:
        CaError: its kind or size is not allowed.
    """
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS and key.public_numbers().e == 65537:
            return key
    raise CaError("public key is none of P-256, P-384, Ed25519, RSA 2048 to 4096: make a P-256 key")


def _server_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _authority_name(kind: str, trust_domain: str, key_id: x509.SubjectKeyIdentifier) -> x509.Name:
    """Two authorities never share a name: OpenSSL finds issuers by it. A common name holds 64 characters."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"weft {trust_domain}"[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{kind} {key_id.digest.hex()}"[:64]),
        ]
    )


def _begin(
    subject: x509.Name, begins_unix_s: float, ends_unix_s: float, randomness: Randomness
) -> x509.CertificateBuilder:
    # the first bit set and the sign bit clear: always positive, always the same length
    serial = int.from_bytes(randomness(SERIAL_BYTES), "big") | 1 << (SERIAL_BYTES * 8)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .serial_number(serial)
        .not_valid_before(datetime.fromtimestamp(int(begins_unix_s), UTC))
        .not_valid_after(datetime.fromtimestamp(int(ends_unix_s), UTC))
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, issuer: SigningKey) -> x509.Certificate:
    return builder.issuer_name(issuer.certificate.subject).sign(issuer.key, hashes.SHA256())
