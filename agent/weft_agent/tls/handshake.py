"""The beginning of a TLS session: steps in threads, bytes over whatever the caller has, and our own verdict at the end.

Theory of operation. A handshake costs 0.7 ms of CPU per side, so its steps run in worker threads (OpenSSL drops the GIL),
few at once. What one source can make us do is bounded three ways, since it has shown no certificate yet: unfinished
handshakes (`handshakes_per_source`), one thread at a time however many it has begun, and bytes (`handshake_bytes`). All of
it, waiting for a thread included, happens within `handshake_timeout_s`, so a peer that sends a byte a second is gone in time.

A side is done when the peer is *verified*, not when OpenSSL is: the client judges the server before it shows its own
certificate. In TLS 1.3 a client is done before the server has seen that certificate; a refusal arrives with the first read
(`PeerRefusedError` from `TlsEngine.read_into`, or a plain end). Until the first bytes from a server, a dialled session is
therefore a hope.

What arrived behind the handshake stays in the engine: call `read_into` before waiting for the socket.

Source: RFC 8446 §2, §4.4.2.4; reliability §2.5 RUSTSEC-2023-0052.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

import trio

from weft_agent.tls.engine import TlsEngine
from weft_contract.identity import SpiffeId
from weft_contract.limits import DEFAULT_LIMITS, KIB, Limits
from weft_core.errors import ConnectionLimitError, HandshakeError, HandshakeTimeoutError, WeftError
from weft_core.identity import PeerCertificate, verify_chain

_READ_BYTES: Final = 16 * KIB
_ALERT_TIMEOUT_S: Final = 0.5


class Wire(Protocol):
    """What carries the bytes: a `trio.SocketStream`, or two methods on top of the reactor."""

    async def send_all(self, data: bytes) -> None:
        """Send everything.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        """Return what has arrived, at least one byte; empty: the peer sends no more.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """


class HandshakeGate:
    """Bounds on what unfinished handshakes may cost; one per process.

    Args:
        limits: `handshake_threads`, `handshakes_per_source`, `handshake_bytes`, `handshake_timeout_s`.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._threads = trio.CapacityLimiter(limits.handshake_threads)
        self._sources: dict[str, _Source] = {}

    @property
    def unfinished(self) -> int:
        """Handshakes under way."""
        return sum(source.unfinished for source in self._sources.values())

    @contextmanager
    def admit(self, source: str) -> Iterator["_Source"]:
        """Count a handshake of `source` for as long as the block lasts.

        Raises:
            ConnectionLimitError: it has too many under way.
        """
        entry = self._sources.get(source)
        if entry is None:
            entry = self._sources[source] = _Source(self._threads)
        if entry.unfinished >= self.limits.handshakes_per_source:
            raise ConnectionLimitError(f"{source} has {entry.unfinished} unfinished TLS handshakes")
        entry.unfinished += 1
        try:
            yield entry
        finally:
            entry.unfinished -= 1
            if not entry.unfinished:
                del self._sources[source]


class _Source:
    """One address: how many handshakes it has begun, and its turn at the threads."""

    __slots__ = ("_threads", "_turn", "unfinished")

    def __init__(self, threads: trio.CapacityLimiter) -> None:
        self._threads = threads
        self._turn = trio.Lock()
        self.unfinished = 0

    async def compute(self, step: Callable[[], bool]) -> bool:
        async with self._turn:
            return await trio.to_thread.run_sync(step, limiter=self._threads)


async def handshake(
    engine: TlsEngine,
    wire: Wire,
    gate: HandshakeGate,
    *,
    source: str,
    expected: SpiffeId | None = None,
    clock: Callable[[], float] = time.time,
) -> PeerCertificate:
    """Complete the handshake of `engine` over `wire` and verify the peer.

    The wire is left open, also on failure: closing it is the owner's affair. An alert that OpenSSL made is sent.

    Args:
        engine: fresh, client or server.
        wire: carries the bytes; used by nobody else meanwhile.
        gate: the process's bounds.
        source: whom the cost counts against: the peer's address for a server, the own pod for a client.
        expected: the identity that is dialled; None: anybody of a known trust domain.
        clock: wall clock, seconds since 1970.

    Returns:
        Who the peer is.

    Raises:
        UntrustedPeerError: the peer cannot be trusted.
        CertificateExpiredError: a certificate of its chain is not valid now.
        IdentityMismatchError: it is somebody else than expected.
        PeerRefusedError: it does not trust us.
        HandshakeTimeoutError: it took too long.
        HandshakeError: anything else that ends a handshake.
        ConnectionLimitError: the source has too many handshakes under way.
    """
    timeout_s = gate.limits.handshake_timeout_s
    with gate.admit(source) as turn:
        try:
            with trio.fail_after(timeout_s):
                return await _complete(engine, wire, turn, gate.limits, expected, clock)
        except trio.TooSlowError as exc:
            raise HandshakeTimeoutError(f"TLS handshake with {source} was not complete after {timeout_s:g} s") from exc
        except trio.BrokenResourceError as exc:
            raise HandshakeError(f"{source} broke the connection during the TLS handshake") from exc


async def _complete(
    engine: TlsEngine,
    wire: Wire,
    turn: _Source,
    limits: Limits,
    expected: SpiffeId | None,
    clock: Callable[[], float],
) -> PeerCertificate:
    await _exchange(engine, wire, turn, limits)
    context = engine.context
    peer = verify_chain(
        engine.peer_chain(), clock(), context.bundles, limits, role=context.peer_role, expected=expected
    )
    await _flush(engine, wire)  # a client's certificate leaves only now
    return peer


async def _exchange(engine: TlsEngine, wire: Wire, turn: _Source, limits: Limits) -> None:
    fed_bytes = 0
    # A ClientHello costs 0.1 ms and waits for no thread: by it a listener tells us from a plaintext caller.
    at_once = engine.context.role == "client"
    while not (engine.handshake_step() if at_once else await _step(engine, wire, turn)):
        at_once = False
        await _flush(engine, wire)
        if fed_bytes > limits.handshake_bytes:
            raise HandshakeError(f"peer sent {fed_bytes} bytes and the TLS handshake is not complete")
        data = await wire.receive_some(_READ_BYTES)
        if not data:
            raise HandshakeError(f"peer closed the connection during the TLS handshake, after {fed_bytes} bytes")
        fed_bytes += len(data)
        engine.feed(data)


async def _step(engine: TlsEngine, wire: Wire, turn: _Source) -> bool:
    try:
        return await turn.compute(engine.handshake_step)
    except WeftError:
        with trio.move_on_after(_ALERT_TIMEOUT_S):  # what OpenSSL left in the output says why; the fault matters more
            with suppress(trio.BrokenResourceError):
                await _flush(engine, wire)
        raise


async def _flush(engine: TlsEngine, wire: Wire) -> None:
    data = engine.pending_output()
    if data:
        await wire.send_all(data)
