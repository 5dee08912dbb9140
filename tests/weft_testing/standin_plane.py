"""A data plane for tests of everything around it: it accepts, says who it is, counts, and closes.

A client that connects gets one JSON line (worker's process id and slot, direction, original destination, whether a prepared
socket could be taken) and the end. The self-test listener answers 200 as long as a file-free switch says so: a client that
sends `fail` to any listener makes the worker fail its self-tests, `crash` makes it raise, `hang` stops its loop for good.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

import trio

from weft_agent.channel.messages import (
    Applied,
    GateWord,
    Hello,
    Keys,
    KeysGone,
    NeedStock,
    PodGone,
    PodLeaving,
    PodListeners,
    Stock,
    Update,
)
from weft_agent.reactor import Listener, Reactor
from weft_agent.reactor.loop import READ
from weft_agent.telemetry.access_log import AccessLog, AccessRecord
from weft_agent.telemetry.series import SeriesTable
from weft_agent.worker.buckets import Buckets
from weft_agent.worker.dataplane import ResourceEntry, Send
from weft_agent.worker.main import limits_of

REFUSED_KEY: Final = "Service/standin/refused"
"""A resource of this key is refused, to see what control makes of it."""


class _Hearing:
    """Handler of a descriptor: calls a function, whatever the event."""

    def __init__(self, hear: Callable[[], None]) -> None:
        self._hear = hear

    def ready(self, mask: int) -> None:
        self._hear()


class StandIn:
    """Satisfies `weft_agent.worker.dataplane.DataPlane`."""

    def __init__(
        self,
        reactor: Reactor,
        series: SeriesTable,
        access_log: AccessLog,
        send: Send,
        *,
        buckets: Buckets,
        fd_directory: str,
    ) -> None:
        self._reactor = reactor
        self._series = series
        self._log = access_log
        self._send = send
        self._fd_directory = fd_directory
        self._slot = -1
        self._known: dict[str, str] = {}
        self._identities: dict[str, bool] = {}
        self._listeners: dict[str, list[Listener]] = {}
        self._stock: dict[str, list[socket.socket]] = {}
        self._tests: Listener | None = None
        self._fail = False
        self._drained = trio.Event()
        self._accepted = series.counter("weft_connections_total", {"direction": "inbound", "protocol": "standin"})
        self._active = series.counter("weft_connections_active", {"direction": "inbound", "protocol": "standin"})
        self._open: set[socket.socket] = set()

    def hello(self, hello: Hello) -> None:
        self._slot = hello.worker
        self._limits = limits_of(hello)

    def adopted(self) -> None:
        for uid in self._listeners:
            self._send(NeedStock(uid=uid, role="upstream", family=4, count=1))

    def pod(self, pod: PodListeners, sockets: Sequence[socket.socket]) -> None:
        self._listeners[pod.uid] = [
            Listener(self._reactor, sock, self._door(pod.uid, kind[0]), lambda: None)
            for kind, sock in zip(pod.listeners, sockets, strict=True)
        ]

    def pod_leaving(self, leaving: PodLeaving) -> None:
        """Nothing rests here."""

    def pod_gone(self, gone: PodGone) -> None:
        for listener in self._listeners.pop(gone.uid, []):
            listener.stop()
        for sock in self._stock.pop(gone.uid, []):
            sock.close()

    def stock(self, stock: Stock, sockets: Sequence[socket.socket]) -> None:
        self._stock.setdefault(stock.uid, []).extend(sockets)

    def keys(self, keys: Keys, key_fd: int) -> None:
        with open(f"{self._fd_directory}/{key_fd}", "rb") as file:
            self._identities[keys.identity] = b"PRIVATE KEY" in file.read()
        os.close(key_fd)

    def gate(self, word: GateWord) -> None:
        """Nobody asks here."""

    def keys_gone(self, gone: KeysGone) -> None:
        self._identities.pop(gone.identity, None)

    def update(self, update: Update, entries: Sequence[ResourceEntry]) -> Applied:
        if update.whole:
            self._known.clear()
        for key in update.removes:
            del self._known[key]
        self._known.update((key, digest) for key, digest, _ in entries)
        refused = tuple((key, "the stand-in refuses it") for key in self._known if key == REFUSED_KEY)
        return Applied(generation=update.generation, refused=refused)

    def selftest(self, listener: socket.socket) -> None:
        if self._tests is not None:
            self._tests.stop()
        self._tests = Listener(self._reactor, listener, self._answer_test, lambda: None)

    async def drain(self, timeout_s: float) -> int:
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.stop()
        with trio.move_on_after(timeout_s):
            while self._open:  # noqa: ASYNC110 - connections end in callbacks
                await trio.sleep(0.01)
        return len(self._open)

    async def run(self) -> None:
        await trio.sleep_forever()

    def _door(self, uid: str, direction: str):  # type: ignore[no-untyped-def]  # the reactor's own callback type differs in no way
        def accepted(sock: socket.socket, peer: object) -> None:
            self._serve(uid, direction, sock)

        return accepted

    def _serve(self, uid: str, direction: str, sock: socket.socket) -> None:
        self._series.cells[self._accepted] += 1
        self._series.cells[self._active] += 1
        self._open.add(sock)
        host, port = sock.getsockname()[:2]
        stock = self._stock.get(uid, [])
        word = {
            "pid": os.getpid(),
            "worker": self._slot,
            "direction": direction,
            "destination": f"{host}:{port}",
            "stock": len(stock),
            "resources": sorted(self._known),
            "identities": self._identities,
        }
        sock.send(json.dumps(word).encode() + b"\n")
        self._reactor.register(sock.fileno(), _Hearing(lambda: self._hear(uid, direction, sock)), READ)

    def _hear(self, uid: str, direction: str, sock: socket.socket) -> None:
        try:
            said = sock.recv(100)
        except OSError:
            said = b""
        match said.strip():
            case b"":
                self._close(uid, direction, sock)
            case b"fail":
                self._fail = True
            case b"crash":
                raise ZeroDivisionError("the client said so")
            case b"hang":
                while True:
                    time.sleep(60)  # noqa: TID251 - that is what hanging means
            case b"socket":
                socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            case b"need":
                self._send(NeedStock(uid=uid, role="upstream", family=4, count=8))
            case _:
                sock.send(said)

    def _close(self, uid: str, direction: str, sock: socket.socket) -> None:
        self._reactor.unregister(sock.fileno())
        host, port = sock.getsockname()[:2]
        sock.close()
        self._open.discard(sock)
        self._series.cells[self._active] -= 1
        record = AccessRecord(
            unix_s=time.time(), direction=direction, source="", source_workload="", source_address="", destination="",
            destination_workload=uid, destination_address=f"{host}:{port}", method=b"", host=b"", path=b"", status=0,
            flags="", reason="", policy="", rule="", bytes_in=0, bytes_out=0, duration_s=0.0, protocol="standin",
            request_id=b"", route="", upstream="",
        )  # fmt: skip
        self._log.record(record)

    def _answer_test(self, sock: socket.socket, peer: object) -> None:
        if not self._fail:
            sock.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        self._reactor.after(1.0, sock.close)
