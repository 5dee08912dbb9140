"""Tunnels and the certificates they were made with: replaced in good time at a renewal, cut when a root was withdrawn."""

from collections.abc import Callable

import pytest
import trio

from weft_agent.proxy import tunnel_client, tunnel_server
from weft_agent.proxy.reaching import Failure, Reach, Reached
from weft_agent.proxy.tunnel_client import ClientTunnel
from weft_core.errors import RootWithdrawnError, TunnelDrainedError, TunnelLostError, WeftError
from weft_core.identity import PeerCertificate
from weft_core.tunnel import TunnelStream
from weft_testing import pki
from weft_testing.reactor import until
from weft_testing.routes import endpoint
from weft_testing.two_nodes import NodeOfOne, TwoNodes, running_two_nodes
from weft_testing.wire import Wire, settled

GET = b"GET / HTTP/1.1\r\nHost: bob\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
EITHER = pytest.mark.parametrize("who", ["alice", "bob"])
"""Whose certificate is renewed, or who hears first that a root is not trusted any more: the caller's node or the server's."""


async def echoes(caller: Wire, server: Wire) -> None:
    """Let a line go and come back."""
    await caller.send(b"ping")
    assert await server.receive(4) == b"ping"
    await server.send(b"pong")
    assert await caller.receive(4) == b"pong"


async def talking(nodes: TwoNodes) -> tuple[Wire, Wire]:
    """Return both ends of a connection that has carried a line to and fro."""
    caller = nodes.call(nodes.tcp)
    server = await nodes.accept()
    await echoes(caller, server)
    return caller, server


async def answered(nodes: TwoNodes, caller: Wire) -> Wire:
    """Let a request be answered on a connection to the application that is new."""
    await caller.send(GET)
    server = await nodes.accept()
    await server.head()
    await server.send(OK)
    assert (await caller.receive(len(OK))).startswith(b"HTTP/1.1 200")
    return server


async def replaced(nodes: TwoNodes) -> None:
    """Wait until no tunnel takes new streams."""
    await until(lambda: not nodes.alice.client_tunnels)


def node(nodes: TwoNodes, who: str) -> NodeOfOne:
    return nodes.alice if who == "alice" else nodes.bob


# -- renewal --------------------------------------------------------------------------------------------------------------


@EITHER
@pytest.mark.trio
async def test_after_a_renewal_new_streams_take_another_tunnel_and_what_lives_goes_on(who: str) -> None:
    async with running_two_nodes() as nodes:
        caller, server = await talking(nodes)
        node(nodes, who).certify(nodes.root)
        await replaced(nodes)
        await echoes(caller, server)
        await talking(nodes)
        assert len(nodes.alice.client_tunnels) == 1
        assert len(nodes.bob.server_tunnels) == 2
        await echoes(caller, server)


@EITHER
@pytest.mark.trio
async def test_a_connection_that_rests_between_requests_does_not_keep_the_old_tunnel(who: str) -> None:
    async with running_two_nodes() as nodes:
        caller = nodes.call(nodes.http)
        first = await answered(nodes, caller)
        (old,) = nodes.bob.server_tunnels
        node(nodes, who).certify(nodes.root)
        await replaced(nodes)
        assert await first.ended() == "eof"
        await answered(nodes, caller)
        assert [tunnel for tunnel in nodes.bob.server_tunnels if tunnel is not old]


@EITHER
@pytest.mark.trio
async def test_nor_does_one_whose_request_is_answered_after_the_renewal(who: str) -> None:
    async with running_two_nodes() as nodes:
        caller = nodes.call(nodes.http)
        await caller.send(GET)
        server = await nodes.accept()
        await server.head()
        node(nodes, who).certify(nodes.root)
        await replaced(nodes)
        await server.send(OK)
        assert (await caller.receive(len(OK))).startswith(b"HTTP/1.1 200")
        assert await server.ended() == "eof"
        await answered(nodes, caller)


@pytest.mark.trio
async def test_a_tunnel_that_was_replaced_ends_with_its_last_stream() -> None:
    async with running_two_nodes() as nodes:
        caller, server = await talking(nodes)
        nodes.bob.certify(nodes.root)
        await replaced(nodes)
        caller.close()
        assert await server.ended() == "eof"
        server.close()
        (tunnel,) = (flow for flow in nodes.alice.plane._context.flows if isinstance(flow, ClientTunnel))
        await until(lambda: tunnel.connection.idle)
        nodes.reactor.soon(tunnel.account)
        await until(lambda: not nodes.bob.server_tunnels and not nodes.alice.plane._context.flows)


@EITHER
@pytest.mark.trio
async def test_the_same_certificate_again_replaces_nothing(who: str) -> None:
    async with running_two_nodes() as nodes:
        await talking(nodes)
        (before,) = nodes.alice.client_tunnels
        node(nodes, who).trust(nodes.root, pki.root())
        await trio.testing.wait_all_tasks_blocked()
        assert nodes.alice.client_tunnels == [before]
        assert not before.connection.draining


# -- a root replaced, as the operator does it -----------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_root_is_replaced_and_nobody_who_does_not_live_on_the_old_notices() -> None:
    async with running_two_nodes() as nodes:
        new = pki.root()
        kept = nodes.call(nodes.http)
        await answered(nodes, kept)
        for each in (nodes.alice, nodes.bob):
            each.trust(nodes.root, new)
        for each in (nodes.bob, nodes.alice):
            each.certify(new)
            await replaced(nodes)
        await answered(nodes, kept)
        lasting = nodes.call(nodes.tcp)
        server = await nodes.accept()
        for each in (nodes.alice, nodes.bob):
            each.trust(new)
            await trio.testing.wait_all_tasks_blocked()
            await echoes(lasting, server)


# -- a root withdrawn while tunnels live below it -------------------------------------------------------------------------


class Reaching:
    """An attempt to reach the server for an opaque connection whose caller has said something already, or nothing."""

    def __init__(self, nodes: TwoNodes, early: bytes = b"") -> None:
        self._early = early
        self.reached: list[Reached] = []
        self.failures: list[Failure] = []
        context, tunnels = nodes.alice.plane._context, nodes.alice.plane._tunnels
        target = endpoint(*nodes.door.address, account="bob")
        reach = Reach(
            context, tunnels, nodes.alice.pod, target, self.reached.append, self.failures.append, self._opened
        )
        nodes.reactor.soon(reach.begin)

    def _opened(self, stream: TunnelStream) -> None:
        if self._early:
            stream.write(self._early)

    async def waits(self, nodes: TwoNodes) -> None:
        """Wait until the server's agent has the stream, and all that was sent on it."""
        await until(lambda: any(not tunnel.connection.idle for tunnel in nodes.bob.server_tunnels))
        await settled()

    async def failure(self) -> WeftError:
        await until(lambda: bool(self.failures))
        (failure,) = self.failures
        assert isinstance(failure, WeftError)
        return failure


@pytest.mark.parametrize(("sent", "expected"), [(b"", TunnelDrainedError), (b"once", RootWithdrawnError)])
@pytest.mark.trio
async def test_the_callers_node_cuts_and_what_was_sent_is_never_sent_again(
    sent: bytes, expected: type[WeftError]
) -> None:
    async with running_two_nodes() as nodes:
        nodes.bob.withheld = []
        reaching = Reaching(nodes, sent)
        await reaching.waits(nodes)
        nodes.alice.trust(pki.root())
        failure = await reaching.failure()
        assert type(failure) is expected
        assert failure.retryable == (not sent)
        assert not nodes.alice.client_tunnels


@pytest.mark.trio
async def test_the_servers_node_cuts_and_refuses_what_it_passed_nothing_on_of() -> None:
    async with running_two_nodes() as nodes:
        nodes.bob.withheld = []
        reaching = Reaching(nodes, b"never passed on")
        await reaching.waits(nodes)
        nodes.bob.trust(pki.root())
        failure = await reaching.failure()
        assert type(failure) is TunnelDrainedError
        assert not failure.endpoint_at_fault
        nodes.bob.supply()
        assert nodes.application.nobody()


@EITHER
@pytest.mark.trio
async def test_what_was_answered_is_cut_on_both_sides(who: str) -> None:
    async with running_two_nodes() as nodes:
        caller, server = await talking(nodes)
        node(nodes, who).trust(pki.root())
        assert await caller.ended() == "reset"
        assert await server.ended() == "reset"


@pytest.mark.trio
async def test_a_request_that_may_be_repeated_does_not_take_a_resting_stream_of_the_tunnel_that_is_cut() -> None:
    async with running_two_nodes() as nodes:
        busy, resting = nodes.call(nodes.http), nodes.call(nodes.http)
        server = await answered(nodes, busy)
        await busy.send(GET)
        await server.head()
        await answered(nodes, resting)
        context = nodes.alice.plane._context
        (tunnel,) = nodes.alice.client_tunnels
        context.reactor.refresh()
        tunnel.cut(RootWithdrawnError("was withdrawn"))
        context.reactor.settle()
        again = await nodes.accept()
        assert await again.receive(3) == b"GET"
        assert nodes.alice.client_tunnels != [tunnel]
        retries = context.series.counter("weft_retries_total", {"reason": "root_withdrawn"})
        assert context.series.cells[retries] == 1


@EITHER
@pytest.mark.trio
async def test_a_root_that_leaves_during_the_handshake_vouches_for_nobody(
    who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tunnel_client if who == "alice" else tunnel_server
    real: Callable[..., object] = module.handshake
    async with running_two_nodes() as nodes:

        async def then_it_left(*args: object, **kwargs: object) -> PeerCertificate:
            peer = await real(*args, **kwargs)  # type: ignore[misc] # the coroutine of `handshake`
            node(nodes, who).trust(pki.root())
            assert isinstance(peer, PeerCertificate)
            return peer

        monkeypatch.setattr(module, "handshake", then_it_left)
        reaching = Reaching(nodes, b"not to be sent")
        failure = await reaching.failure()
        assert type(failure) is (TunnelDrainedError if who == "alice" else TunnelLostError)
        assert not nodes.alice.client_tunnels
        assert not nodes.bob.server_tunnels
