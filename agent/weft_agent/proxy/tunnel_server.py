"""Tunnels that arrive: handshake beside the reactor, then one stream after another into the pod's entrance.

Theory: the peer's identity is the certificate's and holds for every stream; the destination is the connection's own original
destination, so a tunnel leads to one pod and port whatever its streams ask for. A refusal is an answer on the stream with
reason and detail; HTTP refusals are HTTP answers inside it. When the pod's certificate was renewed the peer is asked to open
another tunnel, and whatever arrives here until then is served; `tunnel_client` says why.
"""

import socket
from collections.abc import Callable
from typing import Final

import trio

from weft_agent.proxy.connect_head import ACCEPTED, Kind, authority, read_request, refusal_head
from weft_agent.proxy.context import Context
from weft_agent.proxy.inbound import Entrance
from weft_agent.proxy.meter import Party, party_named
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.transport import Transport
from weft_agent.proxy.wire import SocketWire
from weft_agent.tls import TlsContext, TlsEngine, handshake
from weft_contract.identity import SpiffeId
from weft_core.decision import Denied
from weft_core.errors import RootWithdrawnError, UntrustedPeerError, WeftError
from weft_core.facts import ConnectionFacts, Header
from weft_core.identity import PeerCertificate
from weft_core.tunnel import ErrorCode, TunnelConnection, TunnelStream

TOLD_MAX: Final = 4
"""Heads remembered per tunnel; it serves one workload, which tells of itself and of two protocols."""
TOLD_FIELDS: Final = 4
TOLD_BYTES: Final = 256
"""Of what is told of a workload, to be remembered: its names and version."""


class ServerTunnel:
    """One tunnel into one pod; handler of its connection and a flow of the data plane."""

    __slots__ = (
        "_authority", "_context", "_facts", "_over", "_peer", "_pod", "_streams_counted", "_tls", "_told",
        "connection", "transport",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        pod: Pod,
        peer: PeerCertificate,
        peer_address: str,
        address: tuple[str, int],
        over: Callable[[], None],
    ) -> None:
        self._context = context
        self._pod = pod
        self._peer = peer
        self._over = over
        self._authority = authority(*address)
        self._facts = ConnectionFacts(
            source=peer.identity, source_address=peer_address, destination_address=address[0],
            destination_port=address[1], encrypted=True,
        )  # fmt: skip
        self._streams_counted = 0
        self._tls: TlsContext | None = None
        self._told: dict[tuple[Header, ...], tuple[Kind, Party]] = {}
        self.connection = TunnelConnection(client=False, limits=context.limits, handler=self)
        self.transport: Transport | None = None

    def start(self, sock: socket.socket, engine: TlsEngine, expires: float) -> None:
        """Begin to serve streams."""
        context = self._context
        transport = Transport(context.reactor, sock, engine, self.connection, context.plain, self)
        transport.expires = expires
        self.transport = transport
        self._tls = engine.context
        context.flows.add(self)
        context.add("weft_tunnels_opened_total", {"role": "server"})
        context.add("weft_tunnels_active", {"role": "server"})
        transport.start()
        if context.draining:
            self.drain()
        self.recheck()

    # -- handler of the tunnel engine ---------------------------------------------------------------------------------

    def opened(self, stream: TunnelStream, headers: list[Header], end_stream: bool) -> None:
        """Take a stream into the pod."""
        told = self._read(tuple(headers))
        if isinstance(told, str):
            stream.send_headers(refusal_head(400, "bad_connect", told), end_stream=True)
            stream.close()
            return
        kind, caller = told
        context, pod, identity, facts = self._context, self._pod, self._peer.identity, self._facts
        pod.connections += 1
        entrance = Entrance(
            context=context, pod=pod, end=stream, facts=facts, caller=caller, noted=None,
            accepted=lambda: stream.send_headers(ACCEPTED), refused=lambda why: self._refuse(stream, why, identity),
        )  # fmt: skip
        table = pod.table
        policy = table.policy.admit(facts) if table is not None else Denied("not_captured_workload")
        if isinstance(policy, Denied):
            entrance.refuse(policy)
        elif kind == "http1":
            entrance.http(b"")
        else:
            entrance.opaque(policy, b"")
        if end_stream:
            stream.receiver.eof()

    def _read(self, headers: tuple[Header, ...]) -> tuple[Kind, Party] | str:
        """Read what the caller's agent tells of a stream; it tells the same of all connections of a workload."""
        found = self._told.get(headers)
        if found is None:
            head = read_request(headers, self._authority)
            if isinstance(head, str):
                return head
            found = head.kind, party_named(self._peer.identity, head.source)
            if len(headers) <= TOLD_FIELDS and len(head.source) <= TOLD_BYTES and len(self._told) < TOLD_MAX:
                self._told[headers] = found
        return found

    def wants_flush(self) -> None:
        """Flush at the end of the turn."""
        if self.transport is not None:
            self.transport.mark()

    def broken(self, error: WeftError) -> None:
        """Close the socket behind a broken connection, after its last words."""
        if self.transport is not None:
            self.transport.close()

    def goaway(self) -> None:
        """The peer opens no more streams here; those that live go on."""

    def transport_over(self, transport: Transport) -> None:
        """Forget the tunnel."""
        self._context.flows.discard(self)
        self._context.add("weft_tunnels_active", {"role": "server"}, -1)
        self._count_streams(0)
        self._over()

    # -- flow ---------------------------------------------------------------------------------------------------------

    def account(self) -> None:
        """Streams count their own bytes; a draining tunnel ends when its last stream has."""
        self._count_streams(self.connection.streams_open)
        if self.connection.draining and self.connection.idle and self.transport is not None:
            self.transport.close()

    def _count_streams(self, now: int) -> None:
        self._context.add("weft_tunnel_streams_active", {"role": "server"}, now - self._streams_counted)
        self._streams_counted = now

    def recheck(self) -> None:
        """End the tunnel if its peer's root is no longer trusted, have it replaced if the pod's certificate was renewed.

        Streams are rechecked on their own. The peer closes what it replaced: it alone knows that no stream is on its way.
        """
        contexts, tls = self._context.contexts, self._tls
        if not contexts.still_trusts(self._peer):
            self.cut(RootWithdrawnError(f"the root that vouched for {self._peer.identity} was withdrawn"))
        elif tls is not None and contexts.superseded(tls, self._pod.identity):
            self.connection.retire()

    def drain(self) -> None:
        """Say GOAWAY; the tunnel ends with its last stream."""
        self.connection.drain()

    def leave(self, pod: Pod) -> None:
        """Drain if the pod is leaving; at once where no stream is open."""
        if self._pod is pod:
            self.drain()
            self.account()

    def cut(self, error: WeftError) -> None:
        """End now."""
        if self.transport is not None:
            self.transport.close(error)

    def _refuse(self, stream: TunnelStream, why: Denied | WeftError, identity: SpiffeId) -> None:
        if isinstance(why, Denied):
            detail = why.message if self._context.explains_to(identity) else ""
            head = refusal_head(why.http_status, why.reason, detail)
        elif why.retryable:
            stream.reset(ErrorCode.REFUSED_STREAM)
            return
        else:
            head = refusal_head(why.http_status, why.reason, str(why))
        stream.send_headers(head, end_stream=True)
        stream.close()


async def serve_tunnel(
    context: Context,
    pod: Pod,
    sock: socket.socket,
    first: bytes,
    peer_address: str,
    address: tuple[str, int],
    over: Callable[[], None],
) -> None:
    """Complete the handshake of a tunnel that arrived and start it; runs beside the reactor.

    Args:
        context: the data plane.
        pod: the pod that is called.
        sock: non-blocking, registered nowhere.
        first: what was read of it already.
        peer_address: the caller's IP.
        address: the original destination.
        over: told when the connection is gone.
    """
    identity = pod.identity
    began = trio.current_time()
    try:
        engine = context.tls_engine("server", identity)
        engine.feed(first)
        peer = await handshake(engine, SocketWire(sock), context.gate, source=peer_address)
        if not context.contexts.still_trusts(peer):
            raise UntrustedPeerError(f"the root that vouched for {peer.identity} was withdrawn meanwhile")
    except WeftError as exc:
        context.handshake_failed("server", exc, pod)
        sock.close()
        over()
        return
    except BaseException:
        sock.close()
        raise
    context.handshake_done("server", trio.current_time() - began)
    context.reactor.refresh()
    tunnel = ServerTunnel(context, pod, peer, peer_address, address, over)
    tunnel.start(sock, engine, context.when(peer.not_after_unix_s + context.limits.clock_skew_s))
    context.reactor.settle()
