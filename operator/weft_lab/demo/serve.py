"""The demo HTTP/1.1 server: keep-alive, one thread per connection, answers with what it sees."""

import argparse
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import h11

from weft_lab.demo import listen
from weft_lab.demo.answers import Answer, Seen, answer, blocks, chunks
from weft_lab.demo.stop import stop_event

IDLE_TIMEOUT_S: Final = 75.0
"""As nginx; longer than a proxy keeps a connection for the next request."""
_READ_BYTES: Final = 64 * 1024
_SPOOL_BYTES: Final = 1024 * 1024


class Server:
    """Everything that connections share.

    Args:
        status: of answers whose path asks for nothing in particular.
    """

    def __init__(self, status: int = HTTPStatus.OK) -> None:
        self.status = status
        self.about = {
            "pod": os.environ.get("POD_NAME") or socket.gethostname(),
            "namespace": os.environ.get("POD_NAMESPACE", ""),
            "node": os.environ.get("NODE_NAME", ""),
        }
        self.draining = threading.Event()
        self._active = 0
        self._idle = threading.Condition()

    def begin(self) -> None:
        """Count an exchange that begins."""
        with self._idle:
            self._active += 1

    def end(self) -> None:
        """Count an exchange that is over."""
        with self._idle:
            self._active -= 1
            self._idle.notify_all()

    def drained(self, timeout_s: float) -> bool:
        """Wait until no exchange is under way; tell whether that came about."""
        with self._idle:
            return self._idle.wait_for(lambda: self._active == 0, timeout_s)


class Exchange:
    """One connection and its exchanges, one after the other."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self._server = server
        self._socket = connection
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)

    def serve(self) -> None:
        """Answer until the connection ends."""
        self._socket.settimeout(IDLE_TIMEOUT_S)
        while True:
            try:
                request = self._next_request()
                if request is None:
                    return
                self._server.begin()
                try:
                    self._respond(request)
                finally:
                    self._server.end()
                if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                    return
                self._h11.start_next_cycle()
            except h11.RemoteProtocolError as exc:
                self._refuse(exc)
                return
            except TimeoutError:
                return

    def _next_request(self) -> h11.Request | None:
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(self._socket.recv(_READ_BYTES))
            elif isinstance(event, h11.Request):
                return event
            elif isinstance(event, h11.ConnectionClosed):
                return None

    def _respond(self, request: h11.Request) -> None:
        chosen = answer(self._seen(request), self._server.about, self._server.status)
        if chosen.kind == "abort":
            # linger 0: the close below sends a reset
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        if chosen.delay_s:
            self._server.draining.wait(chosen.delay_s)
        if chosen.kind == "upgrade":
            self._upgrade(chosen)
            return
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as body:
            for data in self._body():
                if chosen.kind == "echo":
                    body.write(data)
            length = body.tell()
            body.seek(0)
            echoed = iter(lambda: body.read(_READ_BYTES), b"") if chosen.kind == "echo" else None
            self._send(request, chosen, length, echoed)

    def _body(self) -> Iterator[bytes]:
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    self._write(h11.InformationalResponse(status_code=100, headers=[]))
                self._h11.receive_data(self._socket.recv(_READ_BYTES))
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return

    def _send(self, request: h11.Request, chosen: Answer, echo_length: int, echoed: Iterator[bytes] | None) -> None:
        headers = list(chosen.headers)
        lengths = {"text": len(chosen.body), "bytes": chosen.length, "echo": echo_length}
        if chosen.kind == "chunked":
            headers.append(("transfer-encoding", "chunked"))
        elif chosen.status not in {204, 304}:
            headers.append(("content-length", str(lengths[chosen.kind])))
        if chosen.kind == "echo":
            headers += [(name, value) for name, value in _texts(request) if name == "content-type"]
        if chosen.close or self._server.draining.is_set():
            headers.append(("connection", "close"))
        self._write(h11.Response(status_code=chosen.status, headers=headers, reason=_reason(chosen.status)))
        if request.method != b"HEAD":
            for data in self._content(chosen, echoed):
                self._write(h11.Data(data=data))
        self._write(h11.EndOfMessage())

    @staticmethod
    def _content(chosen: Answer, echoed: Iterator[bytes] | None) -> Iterator[bytes]:
        match chosen.kind:
            case "bytes":
                return blocks(chosen.length)
            case "chunked":
                return chunks(chosen.length)
            case "echo" if echoed is not None:
                return echoed
            case _:
                return iter((chosen.body,) if chosen.body else ())

    def _upgrade(self, chosen: Answer) -> None:
        """Switch protocols: from here on, every byte comes back."""
        for _ in self._body():
            pass
        self._write(h11.InformationalResponse(status_code=101, headers=list(chosen.headers)))
        early, _ = self._h11.trailing_data
        data = early or self._socket.recv(_READ_BYTES)
        while data:
            self._socket.sendall(data)
            data = self._socket.recv(_READ_BYTES)

    def _seen(self, request: h11.Request) -> Seen:
        peer, local = self._socket.getpeername(), self._socket.getsockname()
        return Seen(
            method=request.method.decode(),
            target=request.target.decode("latin-1"),
            headers=tuple(_texts(request)),
            peer_address=listen.plain_address(peer[0]),
            peer_port=peer[1],
            local_address=listen.plain_address(local[0]),
            local_port=local[1],
        )

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            text = f"{error}\n".encode()
            headers = [("content-length", str(len(text))), ("connection", "close")]
            self._write(h11.Response(status_code=error.error_status_hint, headers=headers))
            self._write(h11.Data(data=text))
            self._write(h11.EndOfMessage())

    def _write(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            self._socket.sendall(data)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


def _texts(request: h11.Request) -> Iterator[tuple[str, str]]:
    return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM, then finish what is under way."""
    stopping = stop_event()
    server = Server(options.status)
    ports: list[int] = options.port or [8080]
    opened = listen.listeners(ports)
    for listener in opened:
        listen.accept_all(listener, lambda connection: Exchange(server, connection).serve())
    sys.stdout.write(f"serving HTTP on {', '.join(map(str, ports))} as {server.about['pod']}\n")
    sys.stdout.flush()
    stopping.wait()
    server.draining.set()
    threading.Event().wait(options.linger)  # nothing ends it earlier but SIGKILL
    for listener in opened:
        listen.stop(listener)
    return 0 if server.drained(options.drain) else 1
