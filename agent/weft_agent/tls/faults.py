"""OpenSSL's errors in our words: who is to blame, and what a human at 3 a.m. should look at."""

import ssl
from typing import Final

from weft_core.errors import HandshakeError, PeerRefusedError, RemoteProtocolError, UntrustedPeerError, WeftError

_CERTIFICATE_ALERTS: Final = (
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "ACCESS_DENIED",
)
"""Alerts by which a peer says that it is our certificate it does not like (RFC 8446 §6.2)."""


def handshake_fault(exc: ssl.SSLError) -> WeftError:
    """Translate what ended a handshake."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return UntrustedPeerError(f"peer's certificate chain was refused: {exc.verify_message}")
    reason = exc.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return UntrustedPeerError("peer showed no certificate")
    return _alert_fault(reason) or HandshakeError(f"TLS handshake failed: {_words(reason) or exc}")


def record_fault(exc: ssl.SSLError) -> WeftError:
    """Translate what broke an established session."""
    reason = exc.reason or ""
    message = f"TLS session broken: {_words(reason) or exc}"
    return _alert_fault(reason) or RemoteProtocolError(message, detail="tls_record")


def _alert_fault(reason: str) -> WeftError | None:
    """A client learns in its first read that the server refused its certificate: TLS 1.3 has no other place for it."""
    if any(reason.endswith(f"ALERT_{name}") for name in _CERTIFICATE_ALERTS):
        return PeerRefusedError(f"peer refused our certificate: {_words(reason)} (its log says why)")
    return None


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
