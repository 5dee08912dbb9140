"""TLS contexts of an agent: who we are, whom we believe, and every switch of OpenSSL that a mesh must not leave alone.

Theory of operation. One `SSLContext` serves one (own identity, role, peer trust domain) as long as neither the key nor the
roots change; it is built when first asked for, and forgotten when either changes. Tunnels that live keep the context they
were made with, and are to be replaced in good time once `superseded` says so. The switches, and what goes wrong without them:

- TLS 1.3 only: no renegotiation, no weak suites, certificates travel encrypted.
- No session tickets, on either side (`num_tickets`, `OP_NO_TICKET`): a ticket got from one identity is resumed with another
  without a certificate check (CVE-2025-23419 class, shown in `tests/loopback/tls/test_ticket_bypass.py`).
- `CERT_REQUIRED` on both sides, no host names (we compare SPIFFE IDs), `VERIFY_X509_STRICT` (RFC 5280 without the leniency
  for authorities that do not say they are one).
- `NO_CHECK_TIME`: OpenSSL knows no tolerance for clocks. Every certificate of the chain is checked against the clock by
  `weft_core.identity.verify_chain`, with it. No connection is used without that check.
- `OP_IGNORE_UNEXPECTED_EOF` off (Python sets it): a cut connection is not a finished one.
- `SSLKEYLOGFILE` has no effect: only `ssl.create_default_context` reads it.

A dialling side knows whom it calls, so its context holds the roots of that domain alone. An accepting side holds those of
all domains; see `weft_agent.tls.anchors` for why that is enough.

Keys reach OpenSSL by the name of a sealed memfd, never by a file: `KeyPair.seal` (control) makes it, and
`TlsContexts.put_key_pair` (worker) keeps the descriptor for as long as contexts may have to be built from it.

Source: ssl(3) and SSL_CTX_set_options(3), X509_VERIFY_PARAM_set_flags(3); reliability §0.1, §0.5, §0.9.
"""

import hashlib
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from weft_agent.tls.anchors import Anchors, read_anchors
from weft_contract.identity import SpiffeId
from weft_contract.limits import DEFAULT_LIMITS, Limits
from weft_contract.problems import Problem
from weft_core.errors import IdentityError, IdentityMismatchError, NoIdentityError, UntrustedPeerError
from weft_core.identity import PeerCertificate, PemError, Role, read_certificates, verify_own

TUNNEL_ALPN: Final = "weft/1"
"""The only protocol spoken between agents; anything else in ALPN, or nothing, is refused."""

FD_DIRECTORY: Final = "/proc/self/fd"

_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME, which Python has no name for
_MIN_SECURITY_LEVEL: Final = 2
"""112 bits: RSA and DH below 2048 bits and SHA-1 signatures are refused. Debian's default, set because others have 1."""


@dataclass(frozen=True, slots=True)
class TlsContext:
    """What one handshake needs to know; made by `TlsContexts` only."""

    ssl_context: ssl.SSLContext
    role: Role
    """Ours."""
    identity: SpiffeId
    """Ours."""
    bundles: Mapping[str, frozenset[bytes]]
    """Roots that the peer's chain may end in, by the trust domain it claims."""
    limits: Limits
    chain_sha256: bytes
    """Which certificate we show."""

    @property
    def peer_role(self) -> Role:
        """The other role."""
        return "client" if self.role == "server" else "server"


@dataclass(slots=True)
class _Credential:
    """A key pair in force, with the contexts built from it since the roots last changed."""

    fd: int
    digest: bytes
    not_after_unix_s: float
    contexts: dict[tuple[Role, str], TlsContext] = field(default_factory=dict)


class TlsContexts:
    """Key pairs and roots of one process, and the contexts made from them. Not for use by several threads at once.

    Args:
        own_domain: the mesh's trust domain.
        fd_directory: where this process's descriptors have names; differs from the default in a pivoted root.
        limits: `chain_length` and `clock_skew_s`.
    """

    def __init__(self, own_domain: str, *, fd_directory: str = FD_DIRECTORY, limits: Limits = DEFAULT_LIMITS) -> None:
        self.own_domain = own_domain
        """May be assigned when the mesh's configuration arrives; holds from the next `put_bundles` on."""
        self.limits = limits
        """May be assigned before the first context is asked for."""
        self._fd_directory = fd_directory
        self._anchors = Anchors()
        self._credentials: dict[SpiffeId, _Credential] = {}

    # -- what is known --------------------------------------------------------------------------------------------

    def put_bundles(self, bundles: Mapping[str, Iterable[str]]) -> tuple[Problem, ...]:
        """Replace the roots of all trust domains.

        Args:
            bundles: PEM certificates by trust domain.

        Returns:
            What was left out and why; a domain with nothing usable keeps the roots it had.
        """
        anchors, problems = read_anchors(bundles, self.own_domain, self._anchors)
        if anchors.digest != self._anchors.digest:
            self._anchors = anchors
            for credential in self._credentials.values():
                credential.contexts.clear()
        return problems

    def put_key_pair(self, identity: SpiffeId, chain_pem: bytes, fd: int, now_unix_s: float) -> None:
        """Bring a key pair into force, in place of the one this identity had.

        Args:
            identity: whose it is.
            chain_pem: leaf first, intermediates after it.
            fd: sealed memfd from `KeyPair.seal`, with private key and chain; owned from now on, even on failure.
            now_unix_s: wall clock, seconds.

        Raises:
            IdentityError: it cannot be used (not this identity's, expired, key and certificate do not belong together);
                what was in force stays.
        """
        try:
            credential = self._check(identity, chain_pem, fd, now_unix_s)
            known = self._credentials.get(identity)
            changed = known is None or known.digest != credential.digest
            if changed:
                self._build("server", Anchors(), credential)  # proves that OpenSSL takes it, before the old one goes
        except BaseException:
            os.close(fd)
            raise
        if changed:
            self.drop_key_pair(identity)
            self._credentials[identity] = credential
        else:
            os.close(fd)

    def _check(self, identity: SpiffeId, chain_pem: bytes, fd: int, now_unix_s: float) -> _Credential:
        try:
            chain = read_certificates(chain_pem, at_most=self.limits.chain_length)
        except PemError as exc:
            raise IdentityError(f"certificate chain of {identity} cannot be read: {exc}") from exc
        own = verify_own(chain, now_unix_s, self.limits)
        if own.identity != identity:
            raise IdentityMismatchError(f"certificate is of {own.identity}, not of {identity}")
        return _Credential(fd, hashlib.sha256(b"".join(chain)).digest(), own.not_after_unix_s)

    def drop_key_pair(self, identity: SpiffeId) -> None:
        """Forget an identity; no effect on tunnels that live."""
        credential = self._credentials.pop(identity, None)
        if credential is not None:
            os.close(credential.fd)

    def close(self) -> None:
        """Forget everything and close the descriptors."""
        for identity in list(self._credentials):
            self.drop_key_pair(identity)

    @property
    def identities(self) -> Mapping[SpiffeId, float]:
        """Every identity that has a key pair, with the last second of its validity."""
        return {identity: credential.not_after_unix_s for identity, credential in self._credentials.items()}

    def still_trusts(self, peer: PeerCertificate) -> bool:
        """Tell whether the root that vouched for a live peer is still one of its trust domain's."""
        roots = self._anchors.by_domain.get(peer.identity.trust_domain, frozenset())
        return any(hashlib.sha256(root).digest() == peer.root_sha256 for root in roots)

    def superseded(self, context: TlsContext, identity: SpiffeId | None) -> bool:
        """Tell whether what was made with `context` should be made anew: `identity` has another certificate by now.

        Args:
            context: what a live tunnel was made with.
            identity: whose tunnel it is; None: not known at present, which supersedes nothing.
        """
        credential = self._credentials.get(identity) if identity is not None else None
        return credential is not None and credential.digest != context.chain_sha256

    # -- what is asked for ------------------------------------------------------------------------------------------

    def server(self, identity: SpiffeId, now_unix_s: float) -> TlsContext:
        """Return the context to accept as `identity`, from any known trust domain.

        Raises:
            NoIdentityError: there is no key pair, or it has expired.
            UntrustedPeerError: no roots are known at all.
        """
        return self._context("server", identity, "", now_unix_s)

    def client(self, identity: SpiffeId, peer_domain: str, now_unix_s: float) -> TlsContext:
        """Return the context to dial a peer of `peer_domain` as `identity`.

        Raises:
            NoIdentityError: there is no key pair, or it has expired.
            UntrustedPeerError: no roots of that domain are known.
        """
        return self._context("client", identity, peer_domain, now_unix_s)

    def _context(self, role: Role, identity: SpiffeId, peer_domain: str, now_unix_s: float) -> TlsContext:
        credential = self._credentials.get(identity)
        if credential is None:
            raise NoIdentityError(f"there is no certificate for {identity} (yet)")
        if now_unix_s > credential.not_after_unix_s + self.limits.clock_skew_s:
            raise NoIdentityError(f"the certificate of {identity} has expired and was not renewed")
        context = credential.contexts.get((role, peer_domain))
        if context is None:
            anchors = self._anchors.of(peer_domain) if role == "client" else self._anchors
            if not anchors.by_domain:
                raise UntrustedPeerError(f"no roots are known for trust domain {peer_domain or self.own_domain}")
            built = self._build(role, anchors, credential)
            context = TlsContext(built, role, identity, anchors.by_domain, self.limits, credential.digest)
            credential.contexts[role, peer_domain] = context
        return context

    def _build(self, role: Role, anchors: Anchors, credential: _Credential) -> ssl.SSLContext:
        context = hardened_context(role)
        roots = anchors.concatenated()
        if roots:
            context.load_verify_locations(cadata=roots)
        try:
            context.load_cert_chain(f"{self._fd_directory}/{credential.fd}", password=b"")
        except (ssl.SSLError, OSError) as exc:
            raise IdentityError(f"OpenSSL refuses a key pair (does the key belong to the certificate?): {exc}") from exc
        return context


def hardened_context(role: Literal["client", "server"]) -> ssl.SSLContext:
    """Return a context with every switch set and nothing loaded; see the module's theory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if role == "server" else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_TRUSTED_FIRST | _NO_CHECK_TIME
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if role == "server":
        context.num_tickets = 0
    context.set_alpn_protocols([TUNNEL_ALPN])
    if context.security_level < _MIN_SECURITY_LEVEL:
        context.set_ciphers(f"DEFAULT:@SECLEVEL={_MIN_SECURITY_LEVEL}")
    return context
