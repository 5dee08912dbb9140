"""The channel's link: messages and descriptors arrive whole and in order, a full kernel queues, an enemy is refused."""

import array
import os
import socket
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_agent.channel import Link, LinkClosedError, LinkOverrunError, LinkProtocolError
from weft_agent.channel import link as link_module
from weft_agent.channel.messages import (
    MAX_FDS,
    MAX_MESSAGE_BYTES,
    FromWorker,
    KeysGone,
    NeedStock,
    Ready,
    Report,
    ToWorker,
    from_worker_decoder,
    to_worker_decoder,
)

Ends = tuple[Link[ToWorker], Link[FromWorker]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The worker's end, which hears control, and control's, which hears the worker."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker, control = Link(a, to_worker_decoder), Link(b, from_worker_decoder)
    yield worker, control
    worker.close()
    control.close()


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def content(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return os.pread(file.fileno(), 100, 0)


def memory(data: bytes) -> int:
    fd = os.memfd_create("test")
    os.write(fd, data)
    return fd


def test_a_message_arrives_as_it_was_sent(ends: Ends) -> None:
    worker, control = ends
    worker.send(Ready(pid=7))
    assert control.receive() == (Ready(pid=7), ())
    assert control.receive() is None


def test_descriptors_arrive_in_order_and_stay_the_senders(ends: Ends) -> None:
    worker, control = ends
    fds = [memory(b"one"), memory(b"two")]
    control.send(KeysGone(identity="x"), fds)
    received = worker.receive()
    assert received is not None
    assert [content(fd) for fd in received.fds] == [b"one", b"two"]
    for fd in fds:
        os.close(fd)  # still ours, and still open


def test_received_descriptors_do_not_survive_an_exec(ends: Ends) -> None:
    worker, control = ends
    fd = memory(b"")
    control.send(KeysGone(identity="x"), [fd])
    os.close(fd)
    received = worker.receive()
    assert received is not None
    assert not os.get_inheritable(received.fds[0])
    os.close(received.fds[0])


def test_the_largest_number_of_descriptors_fits(ends: Ends) -> None:
    worker, control = ends
    fd = memory(b"")
    control.send(KeysGone(identity="x"), [fd] * MAX_FDS)
    received = worker.receive()
    assert received is not None
    assert len(received.fds) == MAX_FDS
    for received_fd in (*received.fds, fd):
        os.close(received_fd)


def test_what_is_too_large_for_the_channel_is_not_sent(ends: Ends) -> None:
    worker, control = ends
    with pytest.raises(ValueError, match="larger than the channel carries"):
        worker.send(Report(level="error", event="x", detail="y" * MAX_MESSAGE_BYTES))
    with pytest.raises(ValueError, match="larger than the channel carries"):
        worker.send(Ready(pid=1), [0] * (MAX_FDS + 1))
    assert control.receive() is None


def test_a_full_kernel_queues_and_flush_sends_the_rest_in_order(ends: Ends) -> None:
    worker, control = ends
    sent = 0
    while worker.backlog < 20:
        worker.send(Ready(pid=sent))
        sent += 1
    assert not worker.flush()
    seen: list[int] = []
    while len(seen) < sent:
        while (received := control.receive()) is not None:
            assert isinstance(received.message, Ready)
            seen.append(received.message.pid)
        worker.flush()
    assert seen == list(range(sent))
    assert worker.backlog == 0
    assert worker.flush()


def test_a_queued_descriptor_is_not_confused_with_one_of_the_same_number(ends: Ends) -> None:
    """While a message waits, its sender may close the descriptor and open another file under that number."""
    worker, control = ends
    while not control.backlog:
        control.send(KeysGone(identity="filler" * 100))
    secret = memory(b"right")
    control.send(KeysGone(identity="with"), [secret])
    os.close(secret)
    impostor = memory(b"wrong")
    assert impostor == secret
    while True:
        while (received := worker.receive()) is None:
            control.flush()
        if received.fds:
            break
    assert content(received.fds[0]) == b"right"
    os.close(impostor)


def test_a_peer_that_takes_nothing_is_noticed(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, _ = ends
    monkeypatch.setattr(link_module, "MAX_QUEUED_MESSAGES", 50)
    while worker.backlog < 50:
        worker.send(Ready(pid=1))
    with pytest.raises(LinkOverrunError, match="50 messages"):
        worker.send(Ready(pid=2))


def test_queued_descriptors_are_bounded_and_closed_with_the_link(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    _, control = ends
    monkeypatch.setattr(link_module, "MAX_QUEUED_FDS", 64)
    while not control.backlog:
        control.send(KeysGone(identity="filler" * 100))
    before = open_fds()
    fd = memory(b"")
    for _ in range(64):
        control.send(KeysGone(identity="x"), [fd])
    with pytest.raises(LinkOverrunError):
        control.send(KeysGone(identity="x"), [fd])
    os.close(fd)
    assert len(open_fds() - before) == 64
    control.close()
    assert open_fds() <= before


def test_what_a_peer_said_is_heard_although_it_died_with_messages_of_ours_unread(ends: Ends) -> None:
    worker, control = ends
    control.send(KeysGone(identity="spiffe://x/ns/a/sa/b"))
    worker.send(Ready(pid=7))
    worker.close()  # the kernel tells of the unread message by ECONNRESET, before what it still holds
    assert control.receive() == (Ready(pid=7), ())
    with pytest.raises(LinkClosedError):
        control.receive()


def test_the_end_of_the_peer_is_told_after_what_it_had_sent(ends: Ends) -> None:
    worker, control = ends
    worker.send(Ready(pid=3))
    worker.close()
    assert control.receive() == (Ready(pid=3), ())
    with pytest.raises(LinkClosedError):
        control.receive()
    with pytest.raises(LinkClosedError):
        control.send(KeysGone(identity="x"))


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\x91\xa7nothing",
        b"\x93\xa4need\xa1x",
        msgspec.msgpack.encode(KeysGone(identity="x")),
        b"\x92\xa5ready",
        b"\x91" * 60_000,
    ],
    ids=["garbage", "unknown tag", "too short", "other direction", "truncated", "deep"],
)
def test_garbage_is_a_protocol_error_and_its_descriptors_are_closed(ends: Ends, data: bytes) -> None:
    worker, control = ends
    fd = memory(b"")
    before = open_fds()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd, fd]))]
    worker.sock.sendmsg([data], ancillary)
    with pytest.raises(LinkProtocolError):
        control.receive()
    assert open_fds() == before
    os.close(fd)


def test_a_datagram_that_does_not_fit_is_refused(ends: Ends) -> None:
    worker, control = ends
    worker.sock.setblocking(True)
    worker.sock.send(b"\x00" * (MAX_MESSAGE_BYTES + 1))
    with pytest.raises(LinkProtocolError, match="larger"):
        control.receive()


def test_more_descriptors_than_the_channel_carries_are_refused_and_closed(ends: Ends) -> None:
    worker, control = ends
    fd = memory(b"")
    before = open_fds()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd] * (MAX_FDS + 10)))]
    worker.sock.sendmsg([msgspec.msgpack.encode(Ready(pid=1))], ancillary)
    with pytest.raises(LinkProtocolError, match="larger"):
        control.receive()
    assert open_fds() == before
    os.close(fd)


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with a:
        link = Link(b, from_worker_decoder)
        a.send(data)
        try:
            received = link.receive()
        except LinkProtocolError:
            pass
        else:
            assert received is not None
        link.close()


def test_a_request_for_stock_of_no_known_kind_is_refused(ends: Ends) -> None:
    worker, control = ends
    worker.sock.send(msgspec.msgpack.encode(["need", "uid", "raw", 4, 1]))
    with pytest.raises(LinkProtocolError):
        control.receive()
    worker.send(NeedStock(uid="u", role="app", family=6, count=1))
    assert control.receive() is not None
