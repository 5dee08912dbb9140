"""One end of a channel: typed messages with descriptors over a non-blocking SOCK_SEQPACKET socket, with an explicit queue.

Theory: `send` hands a message to the kernel at once and queues it only when the kernel is full, so the common case costs one
system call and no task. The queue is bounded: a peer that takes nothing any more is as good as dead (`LinkOverrunError`), and
its owner replaces it. A descriptor that waits in the queue is a duplicate of its own, because the number of the original
may be closed and given to another file before its turn comes.

A peer is never trusted with our descriptors or our memory: truncated datagrams, unknown messages and descriptors that do not
belong to the message are refused, and whatever came with them is closed.
"""

import array
import contextlib
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from weft_agent.channel.messages import MAX_FDS, MAX_MESSAGE_BYTES

MessageT = TypeVar("MessageT")

MAX_QUEUED_MESSAGES: Final = 16_384
"""Stuck peer: a replaced worker of a full node is told of 500 pods in about 2 000 messages."""
MAX_QUEUED_FDS: Final = 4_096
_FD_BYTES: Final = array.array("i").itemsize

_encoder: Final = msgspec.msgpack.Encoder()


class ChannelError(Exception):
    """A channel cannot go on; the process at its other end is replaced or left."""


class LinkClosedError(ChannelError):
    """The peer closed its end or died."""


class LinkOverrunError(ChannelError):
    """The peer takes nothing any more."""


class LinkProtocolError(ChannelError):
    """The peer sent what is not a message of ours."""


class Received(NamedTuple, Generic[MessageT]):
    """A message and the descriptors that came with it; they are the receiver's to close."""

    message: MessageT
    fds: tuple[int, ...]


class _Queued(NamedTuple):
    data: bytes
    fds: tuple[int, ...]


class Link(Generic[MessageT]):
    """One end of a channel.

    Args:
        sock: a connected SOCK_SEQPACKET socket; owned from now on.
        decoder: of the messages that the peer may send.
    """

    __slots__ = ("_decoder", "_queue", "_queued_fds", "sock")

    def __init__(self, sock: socket.socket, decoder: "msgspec.msgpack.Decoder[MessageT]") -> None:
        sock.setblocking(False)
        self.sock = sock
        self._decoder = decoder
        self._queue: deque[_Queued] = deque()
        self._queued_fds = 0

    @property
    def backlog(self) -> int:
        """Messages that the kernel has not taken yet."""
        return len(self._queue)

    def send(self, message: object, fds: Sequence[int] = ()) -> None:
        """Send or queue a message; `fds` stay the caller's, who may close them as soon as this returns.

        Raises:
            LinkClosedError: the peer is gone.
            LinkOverrunError: too much is queued already.
        """
        data = _encoder.encode(message)
        if len(data) > MAX_MESSAGE_BYTES or len(fds) > MAX_FDS:
            raise ValueError(
                f"message of {len(data)} bytes and {len(fds)} descriptors is larger than the channel carries"
            )
        if self._queue or not self._try_send(data, fds):
            self._enqueue(data, fds)

    def flush(self) -> bool:
        """Send what is queued; True: nothing is left.

        Raises:
            LinkClosedError: the peer is gone.
        """
        while self._queue:
            item = self._queue[0]
            if not self._try_send(item.data, item.fds):
                return False
            self._queue.popleft()
            self._queued_fds -= len(item.fds)
            _close_all(item.fds)
        return True

    def receive(self) -> Received[MessageT] | None:
        """Return the next message, or None when there is none now.

        Raises:
            LinkClosedError: the peer is gone and everything it had sent was read.
            LinkProtocolError: the peer sent garbage; the link should be closed.
        """
        try:
            data, ancillary, flags, _ = self._receive_datagram()
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as exc:
            raise LinkClosedError(f"channel broke: {exc.strerror}") from exc
        fds = _descriptors(ancillary)
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise LinkProtocolError("message or its descriptors were larger than the channel carries")
            if not data:
                raise LinkClosedError("peer closed the channel")
            return Received(self._decoder.decode(data), fds)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            _close_all(fds)
            raise LinkProtocolError(f"not a message of this channel: {exc}") from exc
        except ChannelError:
            _close_all(fds)
            raise

    def close(self) -> None:
        """Close the socket and every descriptor that still waits in the queue."""
        while self._queue:
            _close_all(self._queue.popleft().fds)
        self._queued_fds = 0
        self.sock.close()

    def _receive_datagram(self) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        """Receive; a peer that died with our messages unread is told once as a reset, ahead of what it had said."""
        space = socket.CMSG_SPACE(MAX_FDS * _FD_BYTES)
        try:
            return self.sock.recvmsg(MAX_MESSAGE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # unix(7); the kernel forgets the error with this call, its queue it keeps
            return self.sock.recvmsg(MAX_MESSAGE_BYTES, space, socket.MSG_CMSG_CLOEXEC)

    def _try_send(self, data: bytes, fds: Sequence[int]) -> bool:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:
            raise LinkClosedError(f"channel broke: {exc.strerror}") from exc
        return True

    def _enqueue(self, data: bytes, fds: Sequence[int]) -> None:
        if len(self._queue) >= MAX_QUEUED_MESSAGES or self._queued_fds + len(fds) > MAX_QUEUED_FDS:
            raise LinkOverrunError(f"peer takes nothing: {len(self._queue)} messages are queued")
        copies: list[int] = []
        try:
            copies.extend(os.dup(fd) for fd in fds)
        except OSError:
            _close_all(copies)
            raise
        self._queue.append(_Queued(data, tuple(copies)))
        self._queued_fds += len(copies)


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> tuple[int, ...]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % _FD_BYTES])
    return tuple(fds)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
