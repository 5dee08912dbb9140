"""TLS without a socket: ciphertext in, plaintext out, and back; the reactor owns the descriptor, `handshake` the beginning.

Theory of operation. `ssl.SSLObject` works between two memory buffers. Ciphertext that arrived goes in with `feed`, plaintext
comes out with `read_into`, which decrypts as many records as the buffer holds in one call. Plaintext to send goes in with
`write`, and all records made since the last time leave together with `pending_output`: one system call for many records is
what makes a tunnel cheap.

OpenSSL reads exactly one record at a time, so an empty input buffer after a read means that no whole record is left; asking
again would only raise `SSLWantReadError`, which costs half of what a small record costs (1.1 us).

OpenSSL's memory buffers never shrink. So both are given slices: what is fed beyond one waits in `_backlog`, what is written
beyond one is taken out at once (`_spilled`). A tunnel that has moved bulk data then keeps 100 KiB and not megabytes. It
costs 4 % of the bulk figure below, or 1 % when the caller itself feeds slices and reads in between.

Measured, both ends in one process, OpenSSL 3.0.19, AES-256-GCM, CPU: 1 GB takes 0.57-0.62 s with buffers of 64 KiB to
1 MiB (256 KiB is best by a little; 0.73 s with 16 KiB), of which encryption 0.28 s; a message of 300 bytes takes 2.3 us, or
0.18 us where a hundred share a write; a full mutual handshake takes 1.2 ms, our own verification 0.05 ms of it. An idle
session holds 28 KiB.

Ends. `peer_finished` turns True at the peer's close_notify. A socket that ends before it was cut, by the network or by
somebody in it: `end_of_input` then raises. After any fault the engine only repeats that fault.

Rules for editors: `read_into` returns what was authentic before a fault, and raises at the next call; nothing is written
after a fault except the alert that OpenSSL left in the output; whoever finds OpenSSL's input empty looks at the backlog.

Source: SSL_read(3), SSL_shutdown(3), BIO_s_mem(3); RFC 8446 §5.5 (records per key), §6.1 (closure).
"""

import ssl
from collections.abc import Callable
from typing import Final, cast

from weft_agent.tls.contexts import TUNNEL_ALPN, TlsContext
from weft_agent.tls.faults import handshake_fault, record_fault
from weft_contract.limits import KIB
from weft_core.errors import HandshakeError, LocalProtocolError, RemoteProtocolError, WeftError
from weft_core.identity import PeerChain

Buffer = bytes | bytearray | memoryview

RECORD_BYTES: Final = 16 * KIB
"""Plaintext of a full record."""
SLICE_BYTES: Final = 64 * KIB
"""What OpenSSL's buffers are given at a time; see the theory."""
MAX_RECORDS: Final = 1 << 24
"""Records under one key before a connection should be replaced: 16 million, below the 24 million that RFC 8446 §5.5
allows AES-GCM. Python cannot ask OpenSSL for a key update. 256 GiB of full records."""

_INNER_OBJECT: Final = "_sslobj"
_DER: Final = 2  # _ssl.ENCODING_DER


class TlsEngine:
    """One TLS session.

    Args:
        context: from `TlsContexts`; says who we are and in which role.
    """

    __slots__ = (
        "_backlog", "_fault", "_incoming", "_object", "_outgoing", "_read", "_ready", "_spilled", "_write", "context",
        "peer_finished", "records_read", "records_written",
    )  # fmt: skip

    def __init__(self, context: TlsContext) -> None:
        self.context = context
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.ssl_context.wrap_bio(
            self._incoming, self._outgoing, server_side=context.role == "server"
        )
        inner = getattr(
            self._object, _INNER_OBJECT
        )  # what SSLObject's own methods call, without their share of a message
        self._read = cast("Callable[[int, memoryview], int]", inner.read)
        self._write = cast("Callable[[Buffer], int]", inner.write)
        self._backlog: list[memoryview] = []  # an empty deque would be 600 bytes of every session
        self._spilled: list[bytes] = []
        self._ready = False
        self._fault: WeftError | None = None
        self.peer_finished = False
        """True once the peer said that it sends no more."""
        self.records_read = 0
        self.records_written = 0

    # -- handshake --------------------------------------------------------------------------------------------------

    def handshake_step(self) -> bool:
        """Go on with the handshake as far as the input allows; heavy: call it in a thread.

        Output may be waiting afterwards, also after an error (an alert).

        Returns:
            True when it is complete; False when more input is needed.

        Raises:
            UntrustedPeerError: the peer's chain does not end in one of our roots, or it showed none.
            PeerRefusedError: the peer does not accept our certificate.
            HandshakeError: anything else that ends a handshake.
        """
        if self._fault is not None:
            raise self._fault
        try:
            while not self._handshake_is_done():
                if not self._backlog:
                    return False
                self._refill()
        except ssl.SSLError as exc:
            self._fault = handshake_fault(exc)
            raise self._fault from exc
        self._check_session()
        self._ready = True
        return True

    def _handshake_is_done(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _check_session(self) -> None:
        """Demand what the context should have guaranteed; OpenSSL goes on without ALPN when nothing matches."""
        session = self._object
        if session.selected_alpn_protocol() != TUNNEL_ALPN:
            self._refuse(f"peer does not speak {TUNNEL_ALPN} (ALPN: {session.selected_alpn_protocol()})")
        if session.version() != "TLSv1.3" or session.session_reused:
            self._refuse(f"session is {session.version()}, resumed: {session.session_reused}; neither is allowed")

    def _refuse(self, message: str) -> None:
        self._fault = HandshakeError(message)
        raise self._fault

    @property
    def alpn(self) -> str | None:
        """The application protocol that was agreed on."""
        return self._object.selected_alpn_protocol()

    def peer_certificate_der(self) -> bytes:
        """Return the peer's leaf.

        Raises:
            LocalProtocolError: it has shown none yet.
        """
        try:
            leaf = self._object.getpeercert(binary_form=True)
        except ValueError as exc:
            raise LocalProtocolError("the handshake is not complete") from exc
        if leaf is None:
            raise LocalProtocolError("the peer has shown no certificate")
        return leaf

    def peer_chain(self) -> PeerChain:
        """Return the certificates the peer sent and the chain that OpenSSL verified."""
        return PeerChain(_chain(self._object, "get_unverified_chain"), _chain(self._object, "get_verified_chain"))

    # -- data -------------------------------------------------------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        """Take ciphertext that arrived; it is copied."""
        size = len(data)
        if not self._backlog and size <= SLICE_BYTES:
            self._incoming.write(data)
            return
        self._backlog.append(memoryview(bytes(data)))
        if not self._incoming.pending:
            self._refill()

    def _refill(self) -> None:
        """Move the next slice of the backlog, of which there is one, to where OpenSSL reads."""
        head = self._backlog[0]
        self._incoming.write(head[:SLICE_BYTES])
        if len(head) > SLICE_BYTES:
            self._backlog[0] = head[SLICE_BYTES:]
        else:
            del self._backlog[0]

    def read_into(self, buffer: memoryview) -> int:
        """Decrypt into `buffer` as much as it holds; less than its size means that nothing more has arrived.

        Returns:
            Bytes of plaintext, 0 also after the peer's end (`peer_finished`).

        Raises:
            RemoteProtocolError: a record was forged, cut or malformed.
            PeerRefusedError: the peer does not accept our certificate (a client learns it here).
        """
        if self._fault is not None:
            raise self._fault
        incoming, read, size, filled = self._incoming, self._read, len(buffer), 0
        if not incoming.pending and not self._object.pending():
            if not self._backlog:
                return 0
            self._refill()
        try:
            while filled < size:
                try:
                    count = read(size - filled, buffer[filled:])
                except ssl.SSLWantReadError:
                    if not self._backlog:
                        break
                    self._refill()
                    continue
                if not count:
                    self.peer_finished = True
                    break
                filled += count
                self.records_read += 1
                if not incoming.pending:
                    if self._backlog:
                        self._refill()
                    elif filled < size:
                        break
        except ssl.SSLZeroReturnError:
            self.peer_finished = True
        except ssl.SSLError as exc:
            self._fault = record_fault(exc)
            self._fault.__cause__ = exc
            if not filled:
                raise self._fault from exc
        return filled

    def write(self, data: Buffer) -> None:
        """Encrypt all of `data`; the records wait in `pending_output`.

        Raises:
            LocalProtocolError: the handshake is not complete, or the session has ended.
        """
        if not self._ready or self._fault is not None:
            raise LocalProtocolError("nothing can be written on a TLS session that is not open")
        size = len(data)
        self.records_written += -(-size // RECORD_BYTES)
        if size <= SLICE_BYTES:
            if size:
                self._write(data)  # takes all: Python leaves SSL_MODE_ENABLE_PARTIAL_WRITE off, memory is never full
        else:
            view = memoryview(data)
            for start in range(0, size, SLICE_BYTES):
                self._write(view[start : start + SLICE_BYTES])
                self._spilled.append(self._outgoing.read())
        if self._outgoing.pending > SLICE_BYTES:
            self._spilled.append(self._outgoing.read())

    def pending_output(self) -> bytes:
        """Return all ciphertext that waits to be sent, and forget it."""
        if not self._spilled:
            return self._outgoing.read()
        self._spilled.append(self._outgoing.read())
        data = b"".join(self._spilled)
        self._spilled.clear()
        return data

    def pending_pieces(self) -> list[bytes]:
        """Return all ciphertext that waits to be sent in pieces of a slice or so, and forget it; nothing is joined."""
        pieces = self._spilled
        if self._outgoing.pending:
            pieces.append(self._outgoing.read())
        self._spilled = []
        return pieces

    @property
    def worn_out(self) -> bool:
        """True when a connection of this age should be replaced; see `MAX_RECORDS`."""
        return self.records_read > MAX_RECORDS or self.records_written > MAX_RECORDS

    # -- ends -------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Say close_notify: we send no more. Reading goes on. Without effect before the handshake and after a fault."""
        if not self._ready or self._fault is not None:
            return
        self._ready = False
        try:
            self._object.unwrap()
        except (
            ssl.SSLError
        ):  # it also looks for the peer's close_notify, which need not be there; ours is in the output
            pass

    def end_of_input(self) -> None:
        """Note that the socket delivers no more; call it after everything was read.

        Raises:
            RemoteProtocolError: the peer had not said close_notify, so something may be missing.
        """
        if self._fault is not None:
            raise self._fault
        if not self.peer_finished:
            self._fault = RemoteProtocolError("TLS session was cut: no close_notify before the end", detail="tls_cut")
            raise self._fault


def _chain(session: ssl.SSLObject, name: str) -> tuple[bytes, ...]:
    """Call one of the chain getters; Python has public names for them from 3.13 on, and before that one level deeper."""
    public = getattr(session, name, None)
    if public is not None:
        return tuple(public() or ())
    inner = getattr(session, _INNER_OBJECT)
    return tuple(certificate.public_bytes(_DER) for certificate in getattr(inner, name)() or ())
