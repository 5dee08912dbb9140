"""The health check over HTTP/2, against a server made of `h2`: the oracle for what a real gRPC server reads and writes."""

import socket
import threading
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import pytest

from weft_lab.daemon.grpc_health import HealthProtocolError, check


class Server(threading.Thread):
    """Answers one health check; `reply` is the message, None resets the stream."""

    def __init__(self, end: socket.socket, reply: bytes | None, *, padded: bool = False, slow: bool = False) -> None:
        super().__init__(daemon=True)
        self.end, self.reply, self.padded, self.slow = end, reply, padded, slow
        self.headers: dict[str, str] = {}
        self.body = b""

    def run(self) -> None:
        try:
            self._serve()
        except OSError:
            pass  # the probe has its answer and hung up

    def _serve(self) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        connection.ping(b"12345678")
        self._send(connection)
        while data := self.end.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.headers = {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    self.body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self._answer(connection, event.stream_id)
            self._send(connection)

    def _answer(self, connection: h2.connection.H2Connection, stream: int) -> None:
        if self.reply is None:
            connection.reset_stream(stream)
            return
        connection.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        connection.send_data(stream, self.reply, pad_length=9 if self.padded else None)
        connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    def _send(self, connection: h2.connection.H2Connection) -> None:
        data = connection.data_to_send()
        for piece in [data[i : i + 1] for i in range(len(data))] if self.slow else [data]:
            self.end.sendall(piece)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def ask(ours: socket.socket, service: str = "") -> bool:
    return check(ours, "10.0.0.1:80", service, lambda: 5.0)


SERVING = b"\0\0\0\0\2\x08\x01"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [(SERVING, True), (b"\0\0\0\0\2\x08\x02", False), (b"\0\0\0\0\0", False), (b"", False)],
)
def test_the_status_decides(pair: tuple[socket.socket, socket.socket], reply: bytes, expected: bool) -> None:
    server = Server(pair[1], reply)
    server.start()
    assert ask(pair[0]) is expected


@pytest.mark.parametrize("service", ["", "shop.Cart", "x" * 300])
def test_the_request_is_one_that_a_grpc_server_reads(pair: tuple[socket.socket, socket.socket], service: str) -> None:
    server = Server(pair[1], SERVING, padded=True, slow=True)
    server.start()
    assert ask(pair[0], service)
    assert server.headers[":path"] == "/grpc.health.v1.Health/Check"
    assert server.headers["content-type"] == "application/grpc"
    assert server.headers["te"] == "trailers"
    length = int.from_bytes(server.body[1:5], "big")
    assert len(server.body) == 5 + length
    assert server.body.endswith(service.encode())


def test_a_reset_stream_is_no_answer(pair: tuple[socket.socket, socket.socket]) -> None:
    Server(pair[1], None).start()
    with pytest.raises(HealthProtocolError):
        ask(pair[0])


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\0\0\x05\x04\0\0\0\0\0", b"\xff" * 40])
def test_what_is_no_http2_is_no_answer(pair: tuple[socket.socket, socket.socket], said: bytes) -> None:
    pair[1].sendall(said)
    pair[1].shutdown(socket.SHUT_WR)
    with pytest.raises((HealthProtocolError, OSError)):
        ask(pair[0])


def test_silence_ends_with_the_time(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(TimeoutError):
        check(pair[0], "a", "", lambda: 0.05)
