"""Micro benchmark of opaque relays: µs of CPU per message there and back, s per GB of bulk; plain, and through a tunnel with TLS.

    PYTHONPATH=agent:tests python perf/micro/relay.py [plain|tunnel] [--profile]

Clients and servers are another process, joined by TCP over loopback, so everything counted is ours, system calls included.
For the tunnel both agents' halves are in this process, as in the figures of `make perf`.
"""

import cProfile
import json
import os
import pstats
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import trio
import trio.testing

from weft_agent.proxy.relay import Relay
from weft_agent.proxy.transport import Transport
from weft_agent.reactor import Reactor, TcpEnd
from weft_contract.limits import Limits
from weft_core.errors import WeftError
from weft_core.facts import Header
from weft_core.tunnel import TunnelConnection, TunnelStream
from weft_testing.tls_peers import Mesh

LIMITS: Final = Limits()
PAIRS: Final = 32
MESSAGE: Final = 64
SECONDS: Final = 2.0
BULK_BYTES: Final = 2 << 30
CONNECT: Final[list[Header]] = [(b":method", b"CONNECT"), (b":authority", b"10.0.0.1:80")]
OK: Final[list[Header]] = [(b":status", b"200")]


# -- the other process ------------------------------------------------------------------------------------------------


def play(kind: str, clients: list[int], servers: list[int]) -> None:
    """Be all clients and servers until told to stop by the end of standard input."""
    if kind == "bulk":
        _bulk(clients[0], servers[0])
    else:
        _pingpong(clients, servers)


def _pingpong(clients: list[int], servers: list[int]) -> None:
    poll = select.epoll()
    for fd in [*clients, *servers, 0]:
        os.set_blocking(fd, False)
        poll.register(fd, select.EPOLLIN)
    sources = set(clients)
    message, count = bytes(MESSAGE), 0
    for fd in clients:
        os.write(fd, message)
    while True:
        for fd, _ in poll.poll():
            if fd == 0:
                print(json.dumps({"operations": count}), flush=True)
                return
            data = os.read(fd, 65536)
            count += fd in sources
            os.write(fd, data)


def _bulk(client: int, server: int) -> None:
    piece, left, due = memoryview(bytearray(1 << 20)), BULK_BYTES, BULK_BYTES
    poll = select.poll()
    os.set_blocking(client, False)
    poll.register(client, select.POLLOUT)
    poll.register(server, select.POLLIN)
    buffer = bytearray(1 << 20)
    sink = socket.socket(fileno=server)
    while due:
        for fd, _ in poll.poll():
            if fd == server:
                due -= sink.recv_into(buffer)
            elif left:
                left -= os.write(client, piece[: min(left, len(piece))])
            else:
                poll.unregister(client)
    print(json.dumps({"operations": BULK_BYTES / 1e9}), flush=True)


# -- ours -------------------------------------------------------------------------------------------------------------


class _Nobody:
    """Owner of relays that nobody looks at."""

    def relay_over(self, relay: Relay, error: WeftError | None) -> None: ...


NOBODY: Final = _Nobody()


class _Opener:
    """Receiver of a client's stream until it is answered."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done

    def headers(self, headers: list[Header], end_stream: bool) -> None:
        self._done()

    def feed(self, data: object) -> None: ...

    def eof(self) -> None: ...

    def drained(self) -> None: ...

    def lost(self, error: WeftError | None) -> None: ...


class _Side:
    """One end of a tunnel: handler of its connection and owner of its transport."""

    def __init__(self, *, client: bool, joined: Callable[[TunnelStream], None]) -> None:
        self.connection = TunnelConnection(client=client, limits=LIMITS, handler=self)
        self.transport: Transport | None = None
        self._joined = joined

    def opened(self, stream: TunnelStream, headers: list[Header], end_stream: bool) -> None:
        stream.send_headers(OK)
        self._joined(stream)

    def wants_flush(self) -> None:
        if self.transport is not None:
            self.transport.mark()

    def broken(self, error: WeftError) -> None:
        raise error

    def goaway(self) -> None: ...

    def transport_over(self, transport: Transport) -> None: ...


def _ends(reactor: Reactor, socks: list[socket.socket], *, downstream: bool) -> list[TcpEnd]:
    return [TcpEnd(reactor, sock, LIMITS, downstream=downstream) for sock in socks]


def join_plain(reactor: Reactor, down: list[TcpEnd], up: list[TcpEnd]) -> None:
    """One relay for each pair of ends."""
    for client, server in zip(down, up, strict=True):
        relay = Relay(reactor, client, server, LIMITS, NOBODY)
        client.start(client.receiver)
        server.start(server.receiver)
        assert relay.bytes_sent == 0


def join_tunnel(reactor: Reactor, down: list[TcpEnd], up: list[TcpEnd]) -> None:
    """Two relays for each pair, and one tunnel between them."""
    mesh = Mesh()
    near_engine, far_engine = mesh.sessions()
    near_sock, far_sock = pair()
    plain = memoryview(bytearray(256 * 1024))
    servers = iter(up)

    def arrived(stream: TunnelStream) -> None:
        server = next(servers)
        Relay(reactor, stream, server, LIMITS, NOBODY)
        server.start(server.receiver)

    near, far = _Side(client=True, joined=arrived), _Side(client=False, joined=arrived)
    for side, sock, engine in ((near, near_sock, near_engine), (far, far_sock, far_engine)):
        sock.setblocking(False)
        side.transport = Transport(reactor, sock, engine, side.connection, plain, side)
        side.transport.start()

    def open_one(client: TcpEnd) -> None:
        def answered() -> None:
            Relay(reactor, client, stream, LIMITS, NOBODY)
            client.start(client.receiver)

        stream = near.connection.open(CONNECT, _Opener(answered))

    for client in down:
        open_one(client)


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of one TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


async def measure(name: str, join: Callable[[Reactor, list[TcpEnd], list[TcpEnd]], None], kind: str) -> None:
    """Run one case and print it."""
    pairs = 1 if kind == "bulk" else PAIRS
    reactor = Reactor(LIMITS.read_buffer_bytes, _raise)
    clients, servers = [pair() for _ in range(pairs)], [pair() for _ in range(pairs)]
    theirs = [[far for _, far in some] for some in (clients, servers)]
    for near, _ in (*clients, *servers):
        near.setblocking(False)
    words = [json.dumps([sock.fileno() for sock in socks]) for socks in theirs]
    peer = _started([kind, *words], [sock.fileno() for socks in theirs for sock in socks])
    down = _ends(reactor, [near for near, _ in clients], downstream=True)
    up = _ends(reactor, [near for near, _ in servers], downstream=False)
    before, profile = time.process_time(), cProfile.Profile() if "--profile" in sys.argv else None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        await trio.testing.wait_all_tasks_blocked()
        join(reactor, down, up)
        reactor.settle()
        before = time.process_time()
        if profile is not None:
            profile.enable()
        said = await trio.to_thread.run_sync(_result, peer, kind)
        nursery.cancel_scope.cancel()
    if profile is not None:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(28)
    spent = (time.process_time() - before) / said
    print(f"{name:50} {spent:8.3f} s/GB" if kind == "bulk" else f"{name:50} {spent * 1e6:8.2f} us")
    reactor.close()


def _started(words: list[str], fds: list[int]) -> "subprocess.Popen[str]":
    command = [sys.executable, __file__, "--play", *words]
    return subprocess.Popen(command, pass_fds=fds, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _result(peer: "subprocess.Popen[str]", kind: str) -> float:
    assert peer.stdout is not None
    if kind != "bulk":
        select.select([peer.stdout], [], [], SECONDS)
        assert peer.stdin is not None
        peer.stdin.close()
    line = peer.stdout.read()
    peer.wait()
    found: float = json.loads(line)["operations"]
    return found


def _raise(error: Exception) -> None:
    raise error


def main() -> None:
    chosen = [word for word in sys.argv[1:] if not word.startswith("-")]
    for name, join in (("plain", join_plain), ("tunnel", join_tunnel)):
        for kind in ("pingpong", "bulk"):
            if not chosen or name in chosen or f"{name}-{kind}" in chosen:
                trio.run(measure, f"{name} {kind}", join, kind)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--play"]:
        play(sys.argv[2], *(json.loads(word) for word in sys.argv[3:5]))
    else:
        main()
