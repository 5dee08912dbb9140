"""Two ends of a TLS session for tests: ours, made by `weft_agent.tls`, and bare ones that obey nobody."""

import os
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from weft_agent.channel.memfd import sealed
from weft_agent.tls import TUNNEL_ALPN, HandshakeGate, TlsContext, TlsContexts, TlsEngine, Wire, handshake
from weft_contract.identity import parse_spiffe_id
from weft_contract.limits import DEFAULT_LIMITS, Limits
from weft_core.errors import WeftError
from weft_core.identity import PeerCertificate
from weft_testing import pki

ALICE: Final = parse_spiffe_id(pki.ALICE)
BOB: Final = parse_spiffe_id(pki.BOB)


def key_pair_fd(issued: pki.Issued) -> int:
    """A sealed memfd as control hands it to a worker."""
    return sealed("weft-test-key", issued.key_pem + issued.chain_pem)


class Side:
    """One agent's TLS contexts, for one identity."""

    def __init__(
        self,
        issued: pki.Issued,
        roots: Mapping[str, Iterable[pki.Authority]],
        *,
        uri: str,
        own_domain: str = pki.TRUST_DOMAIN,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.identity = parse_spiffe_id(uri)
        self.contexts = TlsContexts(own_domain, limits=limits)
        problems = self.contexts.put_bundles(
            {domain: [root.pem_text for root in authorities] for domain, authorities in roots.items()}
        )
        assert not problems, problems
        self.contexts.put_key_pair(self.identity, issued.chain_pem, key_pair_fd(issued), time.time())

    def server(self) -> TlsContext:
        return self.contexts.server(self.identity, time.time())

    def client(self, domain: str = pki.TRUST_DOMAIN) -> TlsContext:
        return self.contexts.client(self.identity, domain, time.time())

    def close(self) -> None:
        self.contexts.close()


class Mesh:
    """A root, an intermediate, and the two who talk: Alice dials, Bob accepts."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.root = pki.root()
        self.middle = self.root.intermediate()
        roots = {pki.TRUST_DOMAIN: [self.root]}
        self.alice = Side(self.middle.issue(uris=(pki.ALICE,)), roots, uri=pki.ALICE, limits=limits)
        self.bob = Side(self.middle.issue(uris=(pki.BOB,)), roots, uri=pki.BOB, limits=limits)

    def engines(self) -> tuple[TlsEngine, TlsEngine]:
        """Alice's as client, Bob's as server."""
        return TlsEngine(self.alice.client()), TlsEngine(self.bob.server())

    def sessions(self) -> tuple[TlsEngine, TlsEngine]:
        """The same, with the handshake done."""
        return connect(*self.engines())

    def close(self) -> None:
        self.alice.close()
        self.bob.close()


def connect(client: TlsEngine, server: TlsEngine) -> tuple[TlsEngine, TlsEngine]:
    """Complete a handshake in memory, without our verifier."""
    done = [False, False]
    for _ in range(6):
        for index, (one, other) in enumerate(((client, server), (server, client))):
            done[index] = done[index] or one.handshake_step()
            data = one.pending_output()
            if data:
                other.feed(data)
        if all(done):
            return client, server
    raise AssertionError("handshake does not end")


def bare_context(
    server_side: bool,
    issued: pki.Issued | None,
    *,
    alpn: Iterable[str] = (TUNNEL_ALPN,),
    trusts: pki.Authority | None = None,
) -> ssl.SSLContext:
    """A context without any of our switches: it shows what it is given and believes everybody, or one root."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if trusts is not None:
        context.load_verify_locations(cadata=trusts.pem_text)
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(list(alpn))
    if issued is not None:
        load(context, issued)
    return context


def load(context: ssl.SSLContext, issued: pki.Issued) -> None:
    """Give a context a certificate and its key."""
    fd = key_pair_fd(issued)
    try:
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@asynccontextmanager
async def tcp_pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Two ends of a TCP connection over the loopback interface: who dialled, who accepted."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        dialled = await trio.open_tcp_stream("127.0.0.1", port)
        accepted = await listener.accept()
    async with dialled, accepted:
        yield dialled, accepted


async def shake(
    engine: TlsEngine, wire: Wire, gate: HandshakeGate | None = None, *, dialled: str = ""
) -> PeerCertificate:
    """Our handshake with what most tests want."""
    expected = parse_spiffe_id(dialled) if dialled else None
    return await handshake(engine, wire, gate or HandshakeGate(), source="10.0.0.1", expected=expected)


async def outcome_of(engine: TlsEngine, wire: trio.abc.Stream, *, dialled: str = "") -> PeerCertificate | WeftError:
    """The peer, or why there is none; the wire is closed afterwards, as every owner does."""
    try:
        return await shake(engine, wire, dialled=dialled)
    except WeftError as exc:
        await trio.aclose_forcefully(wire)
        return exc


async def bare_peer(context: ssl.SSLContext, wire: trio.abc.Stream, *, server_side: bool) -> str:
    """Handshake as a bare peer and read once; returns what it was told at the end, for a look at alerts."""
    stream = trio.SSLStream(wire, context, server_side=server_side, server_hostname=None, https_compatible=True)
    try:
        await stream.do_handshake()
        await stream.receive_some(1)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        return str(exc.__cause__ or exc)
    return ""


async def meet(
    engine: TlsEngine, peer: ssl.SSLContext, *, dialled: str = ""
) -> tuple[PeerCertificate | WeftError, str]:
    """Let one of our engines meet a bare peer over TCP; returns our outcome and what the peer was told."""
    told = ""
    async with tcp_pair() as (near, far):
        mine, theirs = (near, far) if engine.context.role == "client" else (far, near)

        async def other_side() -> None:
            nonlocal told
            told = await bare_peer(peer, theirs, server_side=engine.context.role == "client")
            await trio.aclose_forcefully(theirs)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other_side)
                outcome = await outcome_of(engine, mine, dialled=dialled)
                if isinstance(outcome, PeerCertificate):
                    nursery.cancel_scope.cancel()
    return outcome, told
