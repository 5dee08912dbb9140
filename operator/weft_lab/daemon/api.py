"""The lab's unix socket: one line of JSON in, one line out, a thread for each caller. Root's alone (mode 0600).

Threads read, ask the loop, and write; the loop alone touches state.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec

from weft_lab.daemon.handlers import Handlers, RefusedError
from weft_lab.daemon.loop import Loop
from weft_lab.daemon.store import Store
from weft_lab.protocol import (
    AnyRequest,
    Apply,
    Changed,
    Delete,
    Enter,
    Failure,
    FindPod,
    Get,
    Join,
    Logs,
    Reply,
    Status,
    Watch,
)

_log: Final = logging.getLogger("weft_lab.api")
MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024
"""A set of files; more is a mistake."""
_MAX_WATCH_S: Final = 60.0

_decoder: Final = msgspec.json.Decoder(AnyRequest)


class Api:
    """The socket and its callers."""

    def __init__(self, loop: Loop, store: Store, handlers: Handlers) -> None:
        self._loop = loop
        self._store = store
        self._handlers = handlers
        self._listener: socket.socket | None = None
        self._watchers: list[tuple[int, Future[int]]] = []

    def listen(self, path: Path) -> None:
        """Open the socket and serve it from now on."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="api", daemon=True).start()

    def changed(self) -> None:
        """Answer the watchers whose revision is over. On the loop's thread."""
        still: list[tuple[int, Future[int]]] = []
        for after, future in self._watchers:
            if self._store.revision <= after and not future.cancelled():
                still.append((after, future))
            elif future.set_running_or_notify_cancel():
                future.set_result(self._store.revision)
        self._watchers = still

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="api call", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                line = _line(connection)
                if line:
                    connection.sendall(msgspec.json.encode(self._reply(line)) + b"\n")
            except OSError as exc:
                _log.info("a caller went away: %s", exc)

    def _reply(self, line: bytes) -> Reply:
        try:
            request = _decoder.decode(line)
            return Reply(result=msgspec.Raw(msgspec.json.encode(self._answer(request))))
        except RefusedError as exc:
            return Reply(failure=Failure(error=str(exc), missing=exc.missing))
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            return Reply(failure=Failure(error=f"not a request of this version: {exc}"))
        except Exception as exc:  # a bug of ours: the caller is told, the log has the traceback, the lab lives on
            _log.exception("a request failed")
            return Reply(failure=Failure(error=f"internal error: {exc}; see daemon.log"))

    def _answer(self, request: AnyRequest) -> object:
        if isinstance(request, Watch):
            return self._watch(request)
        return self._loop.ask(self._on_loop(request))

    def _on_loop(self, request: AnyRequest) -> Callable[[], object]:
        handlers = self._handlers
        match request:
            case Apply():
                return lambda: handlers.apply(request)
            case Delete():
                return lambda: handlers.delete(request)
            case Get():
                return lambda: handlers.get(request)
            case FindPod():
                return lambda: handlers.find_pod(request)
            case Join():
                return lambda: handlers.join(request)
            case Enter():
                return lambda: handlers.enter(request)
            case Logs():
                return lambda: handlers.logs(request)
            case Status() | Watch():
                return lambda: handlers.status(os.getpid())

    def _watch(self, request: Watch) -> Changed:
        future: Future[int] = Future()

        def begin() -> None:
            self._watchers.append((request.after, future))
            self.changed()

        self._loop.call(begin)
        try:
            return Changed(revision=future.result(min(_MAX_WATCH_S, request.timeout_s)))
        except TimeoutError:
            future.cancel()
            return Changed(revision=self._store.revision)


def _line(connection: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        more = connection.recv(256 * 1024)
        data += more
        if not more:
            return b""
        if len(data) > MAX_REQUEST_BYTES:
            raise OSError("the request is too large")
    return bytes(data)
