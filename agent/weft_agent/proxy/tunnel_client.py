"""Tunnels that leave: one pool per worker, keyed by source pod, expected identity and destination; streams share them.

Theory: a tunnel belongs to one source pod because its certificate speaks for that pod, and to one destination address and
port because that is where its connection goes. A flow that has moved much data keeps its tunnel to itself: new streams open
another, so that nothing small waits behind it. The peer must be the identity that the endpoint is configured with: a reused
pod IP fails the handshake (retryable: another endpoint may do). A tunnel without a stream closes after a while.

A tunnel lives with the certificates of its handshake. Once the pod's own was renewed, new streams get another tunnel and this
one ends with its last stream; the other side does the same for its own. So whatever is young finds no certificate about to
expire, and no root about to leave. What is still there when a root was withdrawn is cut: its peer may not speak on.
"""

import socket
from collections.abc import Callable, Sequence

import trio

from weft_agent.proxy.backports import Peer
from weft_agent.proxy.context import Context
from weft_agent.proxy.dialing import Dial, dial_network
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.transport import Transport
from weft_agent.proxy.wire import SocketWire
from weft_agent.reactor import OUTSIDE, TcpEnd
from weft_agent.tls import TlsContext, TlsEngine, handshake
from weft_contract.identity import IdentityGrammarError, SpiffeId, parse_spiffe_id
from weft_core.errors import (
    IdentityMismatchError,
    RootWithdrawnError,
    TunnelDrainedError,
    TunnelLostError,
    WeftError,
)
from weft_core.facts import Header
from weft_core.identity import PeerCertificate
from weft_core.tunnel import HeadReceiver, TunnelConnection, TunnelStream

Key = tuple[str, str, str, int]
"""Source pod's uid, expected identity, destination address, port."""
Opened = Callable[[TunnelStream], None]
Failed = Callable[[WeftError], None]


class Wanted:
    """A stream that somebody waits for; `cancel()` forgets it."""

    __slots__ = ("failed", "head", "opened", "receiver")

    def __init__(self, head: Sequence[Header], receiver: HeadReceiver, opened: Opened, failed: Failed) -> None:
        self.head = head
        self.receiver = receiver
        self.opened: Opened | None = opened
        self.failed = failed

    def cancel(self) -> None:
        """Forget it; no callback follows."""
        self.opened = None


class ClientTunnel:
    """One tunnel to one destination; handler of its connection and a flow of the data plane."""

    __slots__ = (
        "_context", "_dial", "_idle_since", "_key", "_peer", "_pod", "_pool", "_streams_counted", "_tls", "_waiting",
        "connection", "deadline", "transport", "wheel_at",
    )  # fmt: skip

    def __init__(self, context: Context, pool: "TunnelPool", pod: Pod, key: Key) -> None:
        self._context = context
        self._pool = pool
        self._pod = pod
        self._key = key
        self._waiting: list[Wanted] = []
        self._peer: PeerCertificate | None = None
        self._tls: TlsContext | None = None
        self._idle_since = 0.0
        self._streams_counted = 0
        self.connection = TunnelConnection(client=True, limits=context.limits, handler=self)
        self.transport: Transport | None = None
        self.deadline = 0.0
        self.wheel_at = OUTSIDE
        self._dial: Dial | None = None
        context.flows.add(self)

    def dial(self) -> None:
        """Begin to connect; may fail or succeed before it returns."""
        context, key = self._context, self._key
        self._dial = dial_network(
            context.reactor, context.limits, self._pod, (key[2], key[3]), self._connected, self._failed
        )
        self._dial.begin()

    @property
    def takes_streams(self) -> bool:
        """True while new streams may be put here."""
        if self.transport is None:
            return len(self._waiting) < self._context.limits.tunnel_streams
        return not self.transport.closed and not self.connection.full and not self.connection.bulk_streams

    def want(self, wanted: Wanted) -> None:
        """Open a stream now or when the tunnel stands."""
        if self.transport is None:
            self._waiting.append(wanted)
        else:
            self._open(wanted)

    def _open(self, wanted: Wanted) -> None:
        opened = wanted.opened
        if opened is not None:
            self.deadline = 0.0
            opened(self.connection.open(wanted.head, wanted.receiver))

    # -- setting up ---------------------------------------------------------------------------------------------------

    def _connected(self, end: TcpEnd, peer: Peer | None) -> None:
        self._dial = None
        sock, _ = end.detach()
        self._context.spawn(lambda: self._shake_hands(sock))

    async def _shake_hands(self, sock: socket.socket) -> None:
        context, began = self._context, trio.current_time()
        try:
            expected = _identity(self._key[1])
            engine = context.tls_engine("client", self._pod.identity, expected.trust_domain)
            peer = await handshake(engine, SocketWire(sock), context.gate, source=self._pod.uid, expected=expected)
            if not context.contexts.still_trusts(peer):
                raise TunnelDrainedError(f"the root that vouched for {peer.identity} was withdrawn meanwhile")
        except WeftError as exc:
            sock.close()
            context.handshake_failed("client", exc, self._pod)
            context.reactor.refresh()
            self._failed(exc)
            context.reactor.settle()
            return
        except BaseException:
            sock.close()
            raise
        context.handshake_done("client", trio.current_time() - began)
        context.reactor.refresh()
        self._start(sock, engine, peer)
        context.reactor.settle()

    def _start(self, sock: socket.socket, engine: TlsEngine, peer: PeerCertificate) -> None:
        context = self._context
        self._peer, self._tls = peer, engine.context
        self.transport = Transport(context.reactor, sock, engine, self.connection, context.plain, self)
        self.transport.expires = context.when(peer.not_after_unix_s + context.limits.clock_skew_s)
        context.add("weft_tunnels_opened_total", {"role": "client"})
        context.add("weft_tunnels_active", {"role": "client"})
        self.transport.start()
        waiting, self._waiting = self._waiting, []
        for wanted in waiting:
            if self.takes_streams:
                self._open(wanted)
            else:
                self._pool.again(self._pod, self._key, wanted)
        self.recheck()

    def _failed(self, error: WeftError) -> None:
        self._dial = None
        self._pool.forget(self._key, self)
        self._context.flows.discard(self)
        waiting, self._waiting = self._waiting, []
        for wanted in waiting:
            if wanted.opened is not None:
                wanted.failed(error)

    # -- handler of the tunnel engine ---------------------------------------------------------------------------------

    def opened(self, stream: TunnelStream, headers: list[Header], end_stream: bool) -> None:
        """Refuse: a server opens no streams."""
        stream.abort()

    def wants_flush(self) -> None:
        """Flush at the end of the turn."""
        if self.transport is not None:
            self.transport.mark()

    def broken(self, error: WeftError) -> None:
        """Close the socket behind a broken connection, after its last words."""
        if self.transport is not None:
            self.transport.close()

    def goaway(self) -> None:
        """Open no more streams here, and let go of those that only rest between requests."""
        self._pool.forget(self._key, self)
        self._pod.drop_parked(self._key[2:])
        self.stream_over()

    def transport_over(self, transport: Transport) -> None:
        """Forget the tunnel."""
        self.deadline = 0.0
        self._pool.forget(self._key, self)
        self._context.flows.discard(self)
        self._context.add("weft_tunnels_active", {"role": "client"}, -1)
        self._count_streams(0)

    def stream_over(self) -> None:
        """Start the idle time when the last stream has ended; a draining tunnel closes at once."""
        if self.connection.idle and self.transport is not None:
            if self.connection.draining:
                self.transport.close()
                return
            self.deadline = self._context.reactor.now + self._context.limits.tunnel_idle_timeout_s
            self._context.reactor.watch(self)

    def expire(self) -> None:
        """Close after the idle time."""
        if self.connection.idle and self.transport is not None:
            self.transport.close()

    # -- flow ---------------------------------------------------------------------------------------------------------

    def account(self) -> None:
        """Streams count their own bytes; an idle tunnel starts its time here if its last stream ended unnoticed."""
        self._count_streams(self.connection.streams_open)
        if not self.deadline:
            self.stream_over()

    def _count_streams(self, now: int) -> None:
        self._context.add("weft_tunnel_streams_active", {"role": "client"}, now - self._streams_counted)
        self._streams_counted = now

    def recheck(self) -> None:
        """End the tunnel if its peer's root is no longer trusted; let another take its place if the pod's certificate did."""
        peer, tls, contexts = self._peer, self._tls, self._context.contexts
        if peer is None or tls is None:
            return
        if not contexts.still_trusts(peer):
            self.cut(RootWithdrawnError(f"the root that vouched for {peer.identity} was withdrawn"))
        elif not self.connection.draining and contexts.superseded(tls, self._pod.identity):
            self.connection.drain()
            self.goaway()

    def drain(self) -> None:
        """The tunnel ends with its last stream."""
        self.connection.drain()
        self._pool.forget(self._key, self)
        self.stream_over()

    def leave(self, pod: Pod) -> None:
        """Drain if the pod is leaving."""
        if self._pod is pod:
            self.drain()

    def cut(self, error: WeftError) -> None:
        """End now; whoever loses a stream by it finds neither this tunnel nor a resting stream of it when looking for another."""
        if self.transport is not None:
            self._pool.forget(self._key, self)
            self._pod.drop_parked(self._key[2:])
            self.transport.close(error)
        elif self._dial is not None:
            self._dial.cancel()
            self._failed(error)


class TunnelPool:
    """All tunnels that leave this worker."""

    __slots__ = ("_context", "_tunnels")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tunnels: dict[Key, list[ClientTunnel]] = {}

    def stream(self, pod: Pod, identity: str, address: tuple[str, int], wanted: Wanted) -> None:
        """Open a stream from `pod` to `address`, where `identity` must be; on a tunnel that stands, or on a new one."""
        self.again(pod, (pod.uid, identity, address[0], address[1]), wanted)

    def again(self, pod: Pod, key: Key, wanted: Wanted) -> None:
        """Find or make a tunnel for a stream."""
        tunnels = self._tunnels.setdefault(key, [])
        for tunnel in tunnels:
            if tunnel.takes_streams:
                tunnel.want(wanted)
                return
        if pod.gone:
            wanted.failed(TunnelLostError(f"pod {pod.key} is leaving"))
            return
        tunnel = ClientTunnel(self._context, self, pod, key)
        tunnels.append(tunnel)
        tunnel.want(wanted)
        tunnel.dial()

    def forget(self, key: Key, tunnel: ClientTunnel) -> None:
        """Put no more streams on a tunnel."""
        tunnels = self._tunnels.get(key)
        if tunnels is not None and tunnel in tunnels:
            tunnels.remove(tunnel)
            if not tunnels:
                del self._tunnels[key]


def _identity(text: str) -> SpiffeId:
    try:
        return parse_spiffe_id(text)
    except IdentityGrammarError as exc:
        raise IdentityMismatchError(f"the endpoint is configured with no valid identity: {exc}") from exc
