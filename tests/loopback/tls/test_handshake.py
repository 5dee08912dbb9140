"""Handshakes over sockets and memory: both sides verified, in threads, bounded in time, bytes, sources and threads."""

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
import trio
import trio.testing

from weft_agent.tls import HandshakeGate, TlsEngine, handshake
from weft_contract.limits import DEFAULT_LIMITS
from weft_core.errors import (
    CertificateExpiredError,
    ConnectionLimitError,
    HandshakeError,
    HandshakeTimeoutError,
    IdentityMismatchError,
    PeerRefusedError,
    UntrustedPeerError,
    WeftError,
)
from weft_core.identity import PeerCertificate
from weft_testing import pki
from weft_testing.tls_peers import ALICE, BOB, Mesh, Side, key_pair_fd, outcome_of, shake, tcp_pair


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    made = Mesh()
    yield made
    made.close()


async def both(
    client: TlsEngine, server: TlsEngine, dialled: trio.abc.Stream, accepted: trio.abc.Stream
) -> list[PeerCertificate | WeftError]:
    """Run both sides to their end; what each found."""
    found: dict[str, PeerCertificate | WeftError] = {}

    async def run(name: str, engine: TlsEngine, wire: trio.abc.Stream) -> None:
        found[name] = await outcome_of(engine, wire)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, "client", client, dialled)
            nursery.start_soon(run, "server", server, accepted)
    return [found["client"], found["server"]]


def read(engine: TlsEngine) -> bytes:
    buffer = memoryview(bytearray(1000))
    return bytes(buffer[: engine.read_into(buffer)])


@pytest.mark.trio
async def test_a_client_hello_waits_for_no_thread(mesh: Mesh) -> None:
    """By it a listener tells an agent from a plaintext caller, whose patience is short."""
    client, _ = mesh.engines()
    gate = HandshakeGate(replace(DEFAULT_LIMITS, handshake_threads=1))
    gate._threads.acquire_on_behalf_of_nowait(object())
    async with tcp_pair() as (dialled, accepted), trio.open_nursery() as nursery:
        nursery.start_soon(partial(handshake, client, dialled, gate, source="pod"))
        with trio.fail_after(5):
            assert (await accepted.receive_some(1000))[:1] == b"\x16"
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_both_sides_know_each_other_over_tcp(mesh: Mesh) -> None:
    client, server = mesh.engines()
    async with tcp_pair() as (dialled, accepted):
        seen_by_client, seen_by_server = await both(client, server, dialled, accepted)
        assert isinstance(seen_by_client, PeerCertificate)
        assert isinstance(seen_by_server, PeerCertificate)
        assert (seen_by_client.identity, seen_by_server.identity) == (BOB, ALICE)
        client.write(b"hello")
        await dialled.send_all(client.pending_output())
        server.feed(await accepted.receive_some(1000))
        assert read(server) == b"hello"


@pytest.mark.trio
@pytest.mark.parametrize("piece_bytes", [1, 100, 100_000])
async def test_the_same_over_memory_in_pieces(mesh: Mesh, piece_bytes: int) -> None:
    dialled, accepted = trio.testing.memory_stream_pair()
    for stream in (dialled, accepted):
        stream.receive_stream = Pieces(stream.receive_stream, piece_bytes)  # type: ignore[assignment]  # same methods
    found = await both(*mesh.engines(), dialled, accepted)
    assert [each.identity for each in found if isinstance(each, PeerCertificate)] == [BOB, ALICE]


class Pieces(trio.abc.ReceiveStream):
    """Gives at most so many bytes at a time."""

    def __init__(self, inner: trio.abc.ReceiveStream, piece_bytes: int) -> None:
        self.inner = inner
        self.piece_bytes = piece_bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(min(self.piece_bytes, max_bytes or self.piece_bytes))

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.mark.trio
async def test_data_right_behind_the_handshake_waits_in_the_engine(mesh: Mesh) -> None:
    client, server = mesh.engines()
    dialled, accepted = trio.testing.memory_stream_pair()
    gate = HandshakeGate()

    async def dial() -> None:
        await shake(client, Eager(dialled, client), gate)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial)
            await shake(server, accepted, gate)
            assert read(server) == b"right behind"


class Eager:
    """A wire that sends application data in one piece with the client's last flight."""

    def __init__(self, inner: trio.abc.Stream, engine: TlsEngine) -> None:
        self.inner = inner
        self.engine = engine

    async def send_all(self, data: bytes) -> None:
        try:
            self.engine.write(b"right behind")
            data += self.engine.pending_output()
        except WeftError:
            pass  # the first flight: too early
        await self.inner.send_all(data)

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)


@pytest.mark.trio
async def test_the_dialled_identity_is_the_only_one(mesh: Mesh) -> None:
    for uri, fits in ((pki.BOB, True), (pki.ALICE, False)):
        client, server = mesh.engines()
        async with tcp_pair() as (dialled, accepted), trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, server, accepted)
            outcome = await outcome_of(client, dialled, dialled=uri)
            assert isinstance(outcome, PeerCertificate if fits else IdentityMismatchError)


@pytest.mark.trio
async def test_a_client_shows_nothing_to_a_server_it_does_not_trust(mesh: Mesh) -> None:
    """Its certificate says who it is, and is sent only after the server's was accepted."""
    client, server = TlsEngine(mesh.alice.client()), TlsEngine(mesh.bob.server())
    async with tcp_pair() as (dialled, accepted):
        found: list[PeerCertificate | WeftError] = []

        async def accept() -> None:
            found.append(await outcome_of(server, accepted))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            outcome = await outcome_of(client, dialled, dialled=pki.ALICE)
    assert isinstance(outcome, IdentityMismatchError)
    assert isinstance(found[0], HandshakeError)
    assert server.peer_chain().sent == ()


@pytest.mark.trio
async def test_each_side_is_told_when_it_is_the_culprit(mesh: Mesh) -> None:
    """OpenSSL's alert reaches the peer: a server in its handshake, a client in its first read."""
    stranger = pki.root().issue()
    mallory = Side(stranger, {pki.TRUST_DOMAIN: [mesh.root]}, uri=pki.ALICE)
    try:
        async with tcp_pair() as (dialled, accepted):
            client, server = TlsEngine(mesh.alice.client()), TlsEngine(mallory.server())
            at_client, at_server = await both(client, server, dialled, accepted)
            assert isinstance(at_client, UntrustedPeerError)
            assert isinstance(at_server, PeerRefusedError)
        async with tcp_pair() as (dialled, accepted):
            client, server = TlsEngine(mallory.client()), TlsEngine(mesh.bob.server())
            at_client, at_server = await both(client, server, dialled, accepted)
            assert isinstance(at_server, UntrustedPeerError)
            assert isinstance(at_client, PeerCertificate)  # a hope
            client.feed(await dialled.receive_some(1000))
            with pytest.raises(PeerRefusedError):
                client.read_into(memoryview(bytearray(10)))
    finally:
        mallory.close()


@pytest.mark.trio
@pytest.mark.parametrize(
    ("starts_in_s", "ends_in_s", "accepted"),
    [(30.0, 1000.0, True), (90.0, 1000.0, False), (-1000.0, -30.0, True), (-1000.0, -90.0, False)],
)
async def test_clocks_may_differ_by_a_minute(mesh: Mesh, starts_in_s: float, ends_in_s: float, accepted: bool) -> None:
    """Fault F10, through the whole handshake: OpenSSL's own idea of time plays no part."""
    side = Side(mesh.middle.issue(), {pki.TRUST_DOMAIN: [mesh.root]}, uri=pki.ALICE)
    now = time.time()
    try:
        skewed = mesh.middle.issue(starts_in_s=starts_in_s, ends_in_s=ends_in_s)
        side.contexts.put_key_pair(ALICE, skewed.chain_pem, key_pair_fd(skewed), now + (starts_in_s + ends_in_s) / 2)
        context = side.contexts.client(ALICE, pki.TRUST_DOMAIN, now - 500)
        async with tcp_pair() as (dialled, answered):
            _, at_server = await both(TlsEngine(context), TlsEngine(mesh.bob.server()), dialled, answered)
        assert isinstance(at_server, PeerCertificate if accepted else CertificateExpiredError)
    finally:
        side.close()


@pytest.mark.trio
async def test_the_clock_is_the_callers(mesh: Mesh) -> None:
    client, server = mesh.engines()
    dialled, accepted = trio.testing.memory_stream_pair()
    gate = HandshakeGate()
    tomorrow = time.time() + 2 * pki.DAY_S
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, client, dialled)
        with pytest.raises(CertificateExpiredError):
            await handshake(server, accepted, gate, source="10.0.0.1", clock=lambda: tomorrow)
        await accepted.aclose()


# -- bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_source_may_have_only_so_many_unfinished(mesh: Mesh) -> None:
    """The limit counts per source, and counts down whatever way a handshake ends."""
    gate = HandshakeGate(replace(DEFAULT_LIMITS, handshakes_per_source=2, handshake_timeout_s=60.0))
    streams = []
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            near, far = trio.testing.memory_stream_pair()
            streams.append(far)
            nursery.start_soon(suppressed, partial(shake, TlsEngine(mesh.bob.server()), near, gate))
        await trio.testing.wait_all_tasks_blocked()
        assert gate.unfinished == 2
        near, _ = trio.testing.memory_stream_pair()
        with pytest.raises(ConnectionLimitError, match=r"10\.0\.0\.1 has 2 unfinished"):
            await shake(TlsEngine(mesh.bob.server()), near, gate)
        found = {}

        async def other_source() -> None:
            client, server = mesh.engines()
            dialled, accepted = trio.testing.memory_stream_pair()
            async with trio.open_nursery() as inner:
                inner.start_soon(outcome_of, client, dialled)
                found["peer"] = await handshake(server, accepted, gate, source="10.0.0.2")

        await other_source()
        assert found["peer"].identity == ALICE
        await streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert gate.unfinished == 1
        nursery.cancel_scope.cancel()
    assert gate.unfinished == 0


async def suppressed(call: Callable[[], Awaitable[object]]) -> None:
    with suppress(WeftError):
        await call()


@pytest.mark.trio
async def test_steps_run_in_few_threads_and_one_per_source() -> None:
    """Never on trio's own thread; at most `handshake_threads` at once, and one for each source."""
    gate = HandshakeGate(replace(DEFAULT_LIMITS, handshake_threads=2))
    lock, running, most, by_source, most_by_source = threading.Lock(), 0, 0, [0, 0, 0], 0
    entered, go = threading.Semaphore(0), threading.Semaphore(0)
    trio_thread = threading.get_ident()

    def step(source: int) -> bool:
        nonlocal running, most, most_by_source
        assert threading.get_ident() != trio_thread
        with lock:
            running, by_source[source] = running + 1, by_source[source] + 1
            most, most_by_source = max(most, running), max(most_by_source, by_source[source])
        entered.release()
        assert go.acquire(timeout=5)
        with lock:
            running, by_source[source] = running - 1, by_source[source] - 1
        return True

    async def compute(source: int) -> None:
        with gate.admit(str(source)) as turn:
            assert await turn.compute(lambda: step(source))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for source in (0, 0, 0, 1, 1, 2):
                nursery.start_soon(compute, source)
            for _ in range(2):
                await trio.to_thread.run_sync(partial(entered.acquire, timeout=5))
            await trio.testing.wait_all_tasks_blocked()
            assert running == 2
            for _ in range(6):
                go.release()
    assert (most, most_by_source) == (2, 1)
    assert gate.unfinished == 0


@pytest.mark.trio
async def test_cancelling_leaves_nothing_behind(mesh: Mesh) -> None:
    """Cancelled at its start, in a thread, waiting for the wire, and at its end."""
    for rounds in range(12):
        gate = HandshakeGate()
        client, server = mesh.engines()
        dialled, accepted = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, client, dialled)
            nursery.start_soon(suppressed, partial(shake, server, accepted, gate))
            for _ in range(rounds):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert gate.unfinished == 0


@pytest.mark.trio
async def test_a_peer_that_does_not_read_is_given_up(mesh: Mesh) -> None:
    """The server's flight does not fit and nobody takes it: the deadline ends it."""
    limits = replace(DEFAULT_LIMITS, handshake_timeout_s=0.05)
    client, server = mesh.engines()
    client.handshake_step()
    with trio.fail_after(5), pytest.raises(HandshakeTimeoutError):
        await shake(server, Stuck(client.pending_output()), HandshakeGate(limits))


class Stuck:
    """Delivers what it has and takes nothing."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def send_all(self, data: bytes) -> None:
        await trio.sleep_forever()

    async def receive_some(self, max_bytes: int) -> bytes:
        return self.data


@pytest.mark.trio
async def test_many_handshakes_at_once(mesh: Mesh) -> None:
    """A reconnecting node: forty at a time through two threads, all of them verified."""
    gate = HandshakeGate()
    peers: list[PeerCertificate] = []

    async def one() -> None:
        client, server = mesh.engines()
        dialled, accepted = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(handshake, client, dialled, gate, source="pod alice"))
            peers.append(await handshake(server, accepted, gate, source="10.0.0.1"))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(one)
    assert [peer.identity for peer in peers] == [ALICE] * 40
