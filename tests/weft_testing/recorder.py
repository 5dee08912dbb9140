"""Raw backends: they keep every byte that reaches them, connection by connection, and answer with given bytes.

The judge of request smuggling: what counts is never "it returned 200" but which bytes arrived, and as how many requests.
"""

import re
import socket
import threading
from collections.abc import Callable
from types import TracebackType

_LENGTH = re.compile(rb"\ncontent-length: *([0-9]+)\r", re.IGNORECASE).search
_CHUNKED = re.compile(rb"\ntransfer-encoding: *chunked\r", re.IGNORECASE).search

WAIT_S = 5.0
"""Bound on every wait."""


def request_end(data: bytes | bytearray) -> int:
    """Return where the first request of `data` ends, 0 while it is incomplete; for canonical framing only."""
    head = data.find(b"\r\n\r\n") + 4
    if head < 4:
        return 0
    if _CHUNKED(data, 0, head):
        end = data.find(b"0\r\n\r\n", head)
        return 0 if end < 0 else end + 5
    length = _LENGTH(data, 0, head)
    end = head + (int(length[1]) if length else 0)
    return end if len(data) >= end else 0


class Recorder:
    """A server on loopback.

    Args:
        answer: gets one request's bytes, returns the response's; the connection is closed behind it.
    """

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.2)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._seen: list[bytearray] = []
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()

    def __enter__(self) -> "Recorder":
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(WAIT_S)

    def take(self) -> list[bytes]:
        """Return the bytes of every connection that carried any since the last call."""
        with self._lock:
            seen = [bytes(each) for each in self._seen if each]
            self._seen = [each for each in self._seen if not each]  # opened ahead of need; will be used yet
        return seen

    def _start(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT_S)
        data = bytearray()
        with self._lock:
            self._seen.append(data)
        with connection:
            try:
                while not request_end(data):
                    received = connection.recv(65536)
                    if not received:
                        return
                    data += received
                connection.sendall(self._answer(bytes(data)))
                connection.shutdown(socket.SHUT_WR)
                while received := connection.recv(65536):
                    data += received
            except OSError:  # the proxy reset the connection or stopped in the middle: what came is recorded
                return
