"""The door into a cluster: bytes both ways, in any pieces, ends passed on, nothing listening inside."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from weft_testing.cluster.forward import Forwarder

TIMEOUT_S = 10.0


@contextmanager
def door(target: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """Run a forwarder to an address and give the address of its own."""
    stop = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = listener.getsockname()
        forwarder = Forwarder(listener, target)

        def serve() -> None:
            while not stop.is_set():
                forwarder.turn(0.05)
            forwarder.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield address
        finally:
            stop.set()
            thread.join()


@contextmanager
def server(handle: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """Serve one connection after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(TIMEOUT_S)
                    handle(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def read_all(connection: socket.socket) -> bytes:
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
    return bytes(data)


def echo_at_the_end(connection: socket.socket) -> None:
    connection.sendall(read_all(connection))


def connect(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, TIMEOUT_S)
    connection.settimeout(TIMEOUT_S)
    return connection


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6))
@settings(max_examples=20, deadline=None)
def test_bytes_arrive_as_they_were_sent_and_so_does_the_end(pieces: list[bytes]) -> None:
    with server(echo_at_the_end) as target, door(target) as address, connect(address) as client:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"".join(pieces)


def test_much_data_both_ways_at_once() -> None:
    sent = bytes(range(256)) * 40_000

    def both(connection: socket.socket) -> None:
        reader = threading.Thread(target=lambda: received.append(read_all(connection)))
        reader.start()
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        reader.join()

    received: list[bytes] = []
    with server(both) as target, door(target) as address, connect(address) as client:

        def write() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        writer.start()
        assert read_all(client) == sent
        writer.join()
    assert received == [sent]


def test_the_server_may_speak_first_and_end_first() -> None:
    with server(lambda connection: connection.sendall(b"hello")) as target, door(target) as address:
        for _ in range(3):
            with connect(address) as client:
                assert read_all(client) == b"hello"


def test_where_nothing_listens_the_connection_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        target = closed.getsockname()
    with door(target) as address, connect(address) as client:
        assert read_all(client) == b""


def test_one_who_does_not_read_holds_up_nobody_else() -> None:
    def flood(connection: socket.socket) -> None:
        try:
            connection.sendall(bytes(30_000_000))
        except OSError:
            pass  # the client goes away in the middle

    with server(flood) as full, door(full) as address, connect(address) as lazy:
        assert lazy.recv(1)
    with server(echo_at_the_end) as target, door(target) as address, connect(address) as idle, connect(address) as busy:
        idle.sendall(b"x")
        idle.shutdown(socket.SHUT_WR)
        assert read_all(idle) == b"x"
        busy.sendall(b"y")
        busy.shutdown(socket.SHUT_WR)
        assert read_all(busy) == b"y"


def test_a_reset_of_one_side_ends_the_other() -> None:
    ended = threading.Event()

    def until_the_end(connection: socket.socket) -> None:
        try:
            read_all(connection)
        except OSError:
            pass  # a reset is an end too
        ended.set()

    with server(until_the_end) as target, door(target) as address:
        client = connect(address)
        client.sendall(b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert ended.wait(TIMEOUT_S)
