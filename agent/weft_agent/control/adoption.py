"""Taking in workers that a former control left behind: who they are, what they hold, and whether they are ours.

Theory: orphans knock at `<state>/workers/sock`, which nobody but root and the workers (through their own mount) can reach.
A knock counts only from user nobody, with the node's token, and with a process behind it that is still alive. What an orphan
hands over is checked before control maps or uses it: memory must be sealed and of the right size. Control waits a moment for
the workers that the record names, so that no slot is filled twice; who comes later is let in to drain.
"""

import hmac
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from weft_agent.channel import ChannelError, Link, LinkProtocolError, memfd
from weft_agent.channel.layout import ADOPTION_SOCKET, BUCKETS_BYTES
from weft_agent.channel.messages import (
    Adopt,
    AdoptEnd,
    FromWorker,
    PodListeners,
    Series,
    SeriesMade,
    from_worker_decoder,
)
from weft_agent.control.state_directory import StateDirectory
from weft_agent.telemetry.counters import PAGE_BYTES
from weft_agent.telemetry.log import Log
from weft_agent.worker.privileges import NOBODY

KNOCK_WAIT_S: Final = 2.0
"""For the workers that the record names; they knock every 50 ms."""
INTRODUCTION_S: Final = 10.0
BACKLOG: Final = 64
RETRY_S: Final = 0.1


@dataclass(slots=True)
class Orphan:
    """A worker that has introduced itself."""

    slot: int
    pid: int
    pidfd: int
    link: Link[FromWorker]
    generation: int
    counters_fd: int
    buckets_fd: int
    pods: dict[str, tuple[PodListeners, tuple[socket.socket, ...]]] = field(default_factory=dict)
    """By pod uid, with the listeners the worker shares."""
    series: list[Series] = field(default_factory=list)


class Adoption:
    """The door for orphans.

    Args:
        state: where the socket and the record are.
        token: what an orphan must show.
        log: told of those who are refused.
    """

    def __init__(self, state: StateDirectory, token: bytes, log: Log) -> None:
        self._state = state
        self._token = token
        self._log = log
        self._arrived: dict[int, Orphan] = {}
        """By process id."""
        self._news = trio.Event()
        self._late: Callable[[Orphan], Awaitable[None]] | None = None
        self._socket = self._listen()

    async def collect(self) -> list[Orphan]:
        """Return the orphans that came while we waited for those in the record; needs `run` beside it."""
        expected = {pid for _, pid in self._state.read("workers.json", list[tuple[int, int]]) or [] if _is_worker(pid)}
        with trio.move_on_after(KNOCK_WAIT_S):
            while not expected <= self._arrived.keys():
                await self._news.wait()
                self._news = trio.Event()
        for pid in expected - self._arrived.keys():
            self._log.warning("orphan-missing", pid=pid, consequence="its slot is filled; it drains when it comes")
        return list(self._arrived.values())

    async def run(self) -> None:
        """Open the door until cancelled."""
        async with trio.open_nursery() as nursery:
            listener = trio.socket.from_stdlib_socket(self._socket)
            while True:
                try:
                    connection, _ = await listener.accept()
                except OSError as exc:  # out of descriptors, most likely; orphans knock again
                    self._log.error("adoption-socket", error=str(exc))
                    await trio.sleep(RETRY_S)
                    continue
                nursery.start_soon(self._let_in, socket.socket(fileno=connection.detach()))

    async def _let_in(self, sock: socket.socket) -> None:
        pid, uid = _credentials(sock)
        link = Link(sock, from_worker_decoder)
        introduction = _Introduction(pid, self._token)
        try:
            if uid != NOBODY:
                raise LinkProtocolError(f"process {pid} of user {uid} is no worker")
            with trio.fail_after(INTRODUCTION_S):
                orphan = await introduction.listen(link)
        except (ChannelError, trio.TooSlowError, OSError) as exc:
            self._log.warning("orphan-refused", pid=pid, uid=uid, error=str(exc))
            introduction.close()
            link.close()
            return
        if self._late is not None:
            await self._late(orphan)
        else:
            self._arrived[pid] = orphan
            self._news.set()

    def close_collection(self, late: Callable[[Orphan], Awaitable[None]]) -> None:
        """From now on orphans are late, and `late` takes them."""
        self._late = late

    def _listen(self) -> socket.socket:
        path = self._state.worker_directory / ADOPTION_SOCKET
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        sock.bind(str(path))
        path.chmod(0o666)  # behind 0700: only workers reach it, by their own mount
        sock.listen(BACKLOG)
        return sock


class _Introduction:
    """What one orphan says, until it has said all; owns what it was handed until then."""

    def __init__(self, pid: int, token: bytes) -> None:
        self._pid = pid
        self._token = token
        self._orphan: Orphan | None = None

    async def listen(self, link: Link[FromWorker]) -> Orphan:
        """Return the orphan once it has introduced itself.

        Raises:
            ChannelError: it is not one of ours, or says what orphans do not say.
        """
        while True:
            while (received := link.receive()) is None:
                await trio.lowlevel.wait_readable(link.sock)
            message, fds = received
            match message:
                case Adopt() if self._orphan is None:
                    self._orphan = self._begin(message, fds, link)
                case PodListeners() if self._orphan is not None and len(fds) == len(message.listeners):
                    self._orphan.pods[message.uid] = (message, tuple(socket.socket(fileno=fd) for fd in fds))
                case SeriesMade() if self._orphan is not None and not fds:
                    self._orphan.series += message.series
                case AdoptEnd() if self._orphan is not None and not fds:
                    return self._orphan
                case _:
                    _close(fds)
                    if self._orphan is None or fds:
                        raise LinkProtocolError(f"{type(message).__name__} has no place in an introduction")

    def close(self) -> None:
        """Close everything that was handed over."""
        if self._orphan is not None:
            _close((self._orphan.pidfd, self._orphan.counters_fd, self._orphan.buckets_fd))
            for _, sockets in self._orphan.pods.values():
                for sock in sockets:
                    sock.close()

    def _begin(self, adopt: Adopt, fds: tuple[int, ...], link: Link[FromWorker]) -> Orphan:
        try:
            if not hmac.compare_digest(adopt.token, self._token):
                raise LinkProtocolError("it does not know the token")
            if len(fds) != 2 or not memfd.is_shared(fds[0], PAGE_BYTES) or not memfd.is_shared(fds[1], BUCKETS_BYTES):
                raise LinkProtocolError("its memory is not what a worker holds")
            pidfd = os.pidfd_open(self._pid)
        except (LinkProtocolError, OSError):
            _close(fds)
            raise
        return Orphan(adopt.worker, self._pid, pidfd, link, adopt.generation, fds[0], fds[1])


def _credentials(sock: socket.socket) -> tuple[int, int]:
    pid, uid, _ = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def _is_worker(pid: int) -> bool:
    """Tell whether a recorded process is still there and may be a worker (its id may have been reused since)."""
    try:
        return os.stat(f"/proc/{pid}").st_uid in {0, NOBODY}  # root: not dumpable, so its entry belongs to root
    except OSError:
        return False


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
