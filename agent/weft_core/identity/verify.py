"""Who is the peer? The rules of SPIFFE certificates, applied by us on every connection, whatever TLS has checked before.

Theory of operation. OpenSSL proves that the peer holds the leaf's key and that every signature up to a trusted root is
right. It knows nothing of SPIFFE: as clients it takes two URIs, an authority as leaf, NUL in a name. The rest is here:

1. The leaf *claims* a trust domain (its one URI). The claim chooses the bundle; no other bundle counts for it. A chain is
   accepted only if the root it ends in is in the bundle of the claimed domain, so a root of domain A can never vouch for a
   name in domain B, even where one TLS context holds the roots of both.
2. The leaf must be fit to be a workload's: version 3, exactly one URI of our grammar, no authority, key usage critical
   with digitalSignature and without keyCertSign or cRLSign, the extended key usage of its role, a bounded key, no critical
   extension that nobody reads.
3. Every authority above it must say that it is one, may sign certificates, and has a bounded key.
4. Everything must be valid now, give or take the tolerated difference of clocks. TLS contexts leave time to us
   (`weft_agent.tls.contexts`), since OpenSSL has no tolerance.

Rules for editors: a rule may only ever refuse; every refusal says what was wrong with whom, and is a test.

Source: SPIFFE X509-SVID §2-5, SPIFFE-ID §2; RFC 5280 §4.2, §6; reliability findings 1 and 5.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from weft_contract.identity import IdentityGrammarError, SpiffeId, parse_spiffe_id
from weft_contract.limits import DEFAULT_LIMITS, Limits
from weft_core.errors import CertificateExpiredError, IdentityMismatchError, UntrustedPeerError
from weft_core.identity.certificate import Certificate, read_certificate
from weft_core.identity.der import DerError
from weft_core.identity.extensions import CLIENT_AUTH, CRL_SIGN, DIGITAL_SIGNATURE, KEY_CERT_SIGN, SERVER_AUTH

Role = Literal["client", "server"]
"""The role a certificate's holder plays in the handshake."""

BOTH_ROLES: Final[tuple[Role, ...]] = ("client", "server")
"""What our own certificates must be fit for: an agent dials and is dialled with the same one."""

_PURPOSE: Final[dict[Role, bytes]] = {"client": CLIENT_AUTH, "server": SERVER_AUTH}


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A peer that was verified."""

    identity: SpiffeId
    not_after_unix_s: int
    """Last second of validity of the leaf or of an authority above it, whichever ends first; the connection must not
    outlive it by more than the tolerated difference of clocks."""
    serial: int
    root_sha256: bytes = b""
    """Which root vouched for it, so that a root's removal can end the connection; empty: the chain was not looked at."""


@dataclass(frozen=True, slots=True)
class PeerChain:
    """The certificates of one handshake, as DER.

    Args:
        sent: what the peer sent, leaf first.
        verified: the chain that OpenSSL verified, leaf first, trusted root last.
    """

    sent: tuple[bytes, ...]
    verified: tuple[bytes, ...]


def verify_chain(
    chain: PeerChain,
    now_unix_s: float,
    bundles: Mapping[str, Collection[bytes]],
    limits: Limits = DEFAULT_LIMITS,
    *,
    role: Role,
    expected: SpiffeId | None = None,
) -> PeerCertificate:
    """Decide who the peer of a completed handshake is.

    Args:
        chain: its certificates; the signatures have been verified.
        now_unix_s: wall clock, seconds.
        bundles: the roots (DER) of every trust domain that may be talked to.
        limits: `chain_length` and `clock_skew_s`.
        role: what the peer was in the handshake.
        expected: the one identity that is acceptable; None: any of the trust domains.

    Raises:
        UntrustedPeerError: a rule is broken, or the root is not one of the claimed domain.
        CertificateExpiredError: a certificate of the chain is not valid now.
        IdentityMismatchError: a proper peer, but not the expected one.
    """
    for what, certificates in (("sent", chain.sent), ("verified", chain.verified)):
        if not 1 <= len(certificates) <= limits.chain_length:
            raise UntrustedPeerError(
                f"peer {what} {len(certificates)} certificates, 1 to {limits.chain_length} are allowed"
            )
    if chain.sent[0] != chain.verified[0]:
        raise UntrustedPeerError("the leaf that was verified is not the one the peer sent")
    peer = verify_peer(chain.verified[0], now_unix_s, bundles, limits, role=role, expected=expected)
    if chain.verified[-1] not in bundles[peer.identity.trust_domain]:
        raise UntrustedPeerError(
            f"{peer.identity} is vouched for by a root that is not one of trust domain {peer.identity.trust_domain}"
        )
    not_after = [check_authority(der, now_unix_s, limits).not_after_unix_s for der in chain.verified[1:]]
    root_sha256 = hashlib.sha256(chain.verified[-1]).digest()
    return PeerCertificate(peer.identity, min([peer.not_after_unix_s, *not_after]), peer.serial, root_sha256)


def verify_peer(
    leaf_der: bytes,
    now_unix_s: float,
    trust_domains: Collection[str],
    limits: Limits = DEFAULT_LIMITS,
    *,
    role: Role,
    expected: SpiffeId | None = None,
) -> PeerCertificate:
    """Decide who a leaf certificate speaks for; its chain is `verify_chain`'s affair.

    Args:
        leaf_der: the certificate.
        now_unix_s: wall clock, seconds.
        trust_domains: domains that may be talked to.
        limits: `clock_skew_s`.
        role: what its holder was in the handshake; its extended key usage must allow it.
        expected: the one identity that is acceptable; None: any of the trust domains.

    Raises:
        UntrustedPeerError: malformed, or a rule of SPIFFE is broken.
        CertificateExpiredError: not valid now.
        IdentityMismatchError: a proper certificate, but not the expected one's.
    """
    peer = _verify_leaf(leaf_der, now_unix_s, limits, (role,))
    if peer.identity.trust_domain not in trust_domains:
        raise UntrustedPeerError(f"no roots are known for the trust domain of {peer.identity}")
    if expected is not None and peer.identity != expected:
        raise IdentityMismatchError(f"peer is {peer.identity}, expected was {expected} (has the address a new owner?)")
    return peer


def verify_own(chain: Sequence[bytes], now_unix_s: float, limits: Limits = DEFAULT_LIMITS) -> PeerCertificate:
    """Apply to a chain of our own what peers will apply to it, before they do.

    Args:
        chain: leaf first, intermediates after it, as DER; at least the leaf.
        now_unix_s: wall clock, seconds.
        limits: `chain_length` and `clock_skew_s`.

    Returns:
        Whose certificate it is, and how long it lasts.

    Raises:
        UntrustedPeerError: peers would refuse it; it must be fit for both roles.
        CertificateExpiredError: a certificate of the chain is not valid now.
    """
    if len(chain) > limits.chain_length:
        raise UntrustedPeerError(f"chain of {len(chain)} certificates, {limits.chain_length} are allowed")
    own = _verify_leaf(chain[0], now_unix_s, limits, BOTH_ROLES)
    not_after = [check_authority(der, now_unix_s, limits).not_after_unix_s for der in chain[1:]]
    return PeerCertificate(own.identity, min([own.not_after_unix_s, *not_after]), own.serial)


def check_authority(der: bytes, now_unix_s: float | None = None, limits: Limits = DEFAULT_LIMITS) -> Certificate:
    """Return the facts of a certificate if it is fit to sign others.

    Args:
        der: the certificate.
        now_unix_s: wall clock, seconds; None: validity is not looked at (a bundle may hold roots of tomorrow).
        limits: `clock_skew_s`.

    Raises:
        UntrustedPeerError: malformed, no authority, may not sign certificates, or an unusable key.
        CertificateExpiredError: not valid now.
    """
    certificate = _read(der)
    if not certificate.constraints.is_authority:
        raise UntrustedPeerError("a certificate in the chain is not an authority")
    if certificate.usage is None or KEY_CERT_SIGN not in certificate.usage:
        raise UntrustedPeerError("an authority in the chain has no key usage keyCertSign")
    if objection := certificate.key.objection:
        raise UntrustedPeerError(f"an authority in the chain cannot be used: {objection}")
    if now_unix_s is not None:
        _check_time(certificate, "an authority in the chain", now_unix_s, limits)
    return certificate


def check_root(der: bytes) -> Certificate:
    """Return the facts of a certificate if it can be a root of trust.

    Raises:
        UntrustedPeerError: it is no authority, not its own issuer, or lacks the key identifier that finds it.
    """
    certificate = check_authority(der)
    if certificate.issuer != certificate.subject:
        raise UntrustedPeerError("a root must be its own issuer; this is an intermediate")
    if not certificate.subject_key_id:
        raise UntrustedPeerError("a root needs a subject key identifier")
    return certificate


def _read(der: bytes) -> Certificate:
    try:
        return read_certificate(der)
    except DerError as exc:
        raise UntrustedPeerError(f"malformed certificate: {exc}") from exc


def _verify_leaf(der: bytes, now_unix_s: float, limits: Limits, roles: Sequence[Role]) -> PeerCertificate:
    certificate = _read(der)
    identity = _read_identity(certificate)
    if objection := _leaf_objection(certificate, roles):
        raise UntrustedPeerError(f"certificate of {identity}: {objection}")
    _check_time(certificate, str(identity), now_unix_s, limits)
    return PeerCertificate(identity, certificate.not_after_unix_s, certificate.serial)


def _read_identity(certificate: Certificate) -> SpiffeId:
    if len(certificate.uris) != 1:
        raise UntrustedPeerError(f"certificate has {len(certificate.uris)} URI names, exactly one is allowed")
    try:
        return parse_spiffe_id(certificate.uris[0])
    except IdentityGrammarError as exc:
        raise UntrustedPeerError(f"certificate names no identity of ours: {exc}") from exc


def _leaf_objection(certificate: Certificate, roles: Sequence[Role]) -> str:
    """Return why this cannot be a workload's certificate; empty: it can."""
    usage = certificate.usage
    if certificate.constraints.is_authority:
        return "it is an authority, not a workload"
    if usage is None or not certificate.usage_critical:
        return "key usage is missing or not critical"
    if DIGITAL_SIGNATURE not in usage:
        return "key usage lacks digitalSignature"
    if KEY_CERT_SIGN in usage or CRL_SIGN in usage:
        return "key usage allows to sign certificates or revocation lists"
    for role in roles:
        if _PURPOSE[role] not in (certificate.purposes or ()):
            return f"extended key usage does not allow it to be a {role}"
    if certificate.unknown_critical:
        return "it has a critical extension that is not understood"
    return certificate.key.objection


def _check_time(certificate: Certificate, whose: str, now_unix_s: float, limits: Limits) -> None:
    early_s = certificate.not_before_unix_s - now_unix_s
    late_s = now_unix_s - certificate.not_after_unix_s
    if early_s > limits.clock_skew_s:
        raise CertificateExpiredError(
            f"certificate of {whose} becomes valid in {early_s:.0f} s (are the clocks right?)"
        )
    if late_s > limits.clock_skew_s:
        raise CertificateExpiredError(f"certificate of {whose} expired {late_s:.0f} s ago (is it still being renewed?)")
