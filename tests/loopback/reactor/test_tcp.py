"""TCP ends over real sockets: bytes, half-close, back-pressure, resets, endings, faults."""

import socket
import struct
import time

import pytest
import trio

from weft_agent.reactor import TcpEnd
from weft_contract.limits import KIB, Limits
from weft_core.errors import ClientGoneError, UpstreamResetError
from weft_testing.reactor import LIMITS, Recorder, recorded_end, running_reactor, tcp_pair, until

RESET = struct.pack("ii", 1, 0)


@pytest.mark.trio
async def test_bytes_arrive_and_leave() -> None:
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        end, recorder = recorded_end(reactor, ours)
        theirs.send(b"hello")
        await until(lambda: recorder.data == b"hello")
        assert end.write(b"answer")
        await until(lambda: _peek(theirs) == b"answer")
        end.abort()
        theirs.close()


@pytest.mark.trio
async def test_what_arrived_in_time_is_heard_before_what_has_run_out() -> None:
    for _ in range(20):  # trio wakes its tasks in any order
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            end, recorder = recorded_end(reactor, ours)
            seen: list[bytes] = []
            reactor.refresh()
            reactor.after(0.01, lambda seen=seen, recorder=recorder: seen.append(bytes(recorder.data)))  # type: ignore[misc]  # defaults bind the loop's values
            theirs.send(b"in time")
            time.sleep(0.02)  # noqa: TID251, ASYNC251 - the machine is busy with something else
            await until(lambda seen=seen: bool(seen))  # type: ignore[misc]  # as above
            assert seen == [b"in time"]
            end.abort()
            theirs.close()


@pytest.mark.trio
async def test_half_close_both_ways() -> None:
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        end, recorder = recorded_end(reactor, ours)
        theirs.shutdown(socket.SHUT_WR)
        await until(lambda: recorder.calls == ["eof"])
        end.write(b"still here")
        end.finish()
        await until(lambda: recorder.calls == ["eof", "lost"])
        assert recorder.errors == [None]
        assert theirs.recv(100) == b"still here"
        assert theirs.recv(100) == b""
        assert end.closed
        theirs.close()


@pytest.mark.trio
async def test_our_finish_first_then_theirs() -> None:
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        end, recorder = recorded_end(reactor, ours)
        end.finish()
        await until(lambda: _peek(theirs) == b"")
        theirs.send(b"late")
        theirs.shutdown(socket.SHUT_WR)
        await until(lambda: recorder.calls == ["eof", "lost"])
        assert recorder.data == b"late"
        theirs.close()


@pytest.mark.trio
@pytest.mark.parametrize("downstream", [True, False])
async def test_a_reset_names_the_leg(downstream: bool) -> None:
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        recorder = Recorder()
        end = TcpEnd(reactor, ours, LIMITS, downstream=downstream)
        end.start(recorder)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        theirs.close()
        await until(lambda: recorder.calls == ["lost"])
        assert isinstance(recorder.errors[0], ClientGoneError if downstream else UpstreamResetError)
        assert end.write(b"ignored")
        end.finish()
        end.close()
        end.abort()


@pytest.mark.trio
async def test_a_reset_is_seen_while_paused() -> None:
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        end, recorder = recorded_end(reactor, ours)
        end.pause()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        theirs.close()
        await until(lambda: recorder.calls == ["lost"])


@pytest.mark.trio
async def test_back_pressure_from_a_slow_reader() -> None:
    limits = Limits(write_high_bytes=64 * KIB, write_low_bytes=16 * KIB)
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        end, recorder = recorded_end(reactor, ours, limits)
        sent = 0
        while end.write(bytes(16 * KIB)):
            sent += 16 * KIB
        sent += 16 * KIB
        assert limits.write_high_bytes < end.queued_bytes <= limits.write_high_bytes + 16 * KIB
        received = 0
        with trio.fail_after(5):
            while received < sent:
                await trio.lowlevel.wait_readable(theirs)
                received += len(theirs.recv(1 << 20))
        assert received == sent
        await until(lambda: recorder.calls == ["drained"])
        end.abort()
        theirs.close()


@pytest.mark.trio
async def test_paused_reading_holds_the_sender_and_loses_nothing() -> None:
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        end, recorder = recorded_end(reactor, ours)
        end.pause()
        blob = bytes(range(256)) * 400
        theirs.send(blob)
        theirs.shutdown(socket.SHUT_WR)
        await trio.sleep(0.05)
        assert not recorder.data
        end.resume()
        await until(lambda: recorder.calls == ["eof"])
        assert recorder.data == blob
        end.close()
        theirs.close()


@pytest.mark.trio
async def test_paused_after_both_finished_neither_spins_nor_loses_bytes() -> None:
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        end, recorder = recorded_end(reactor, ours)
        end.finish()
        end.pause()
        theirs.send(b"unread")
        theirs.close()
        await trio.sleep(0.05)
        turns = reactor.now
        await trio.sleep(0.2)
        assert reactor.now - turns < 0.15, "the loop spins on EPOLLHUP"
        end.resume()
        await until(lambda: recorder.calls == ["eof", "lost"])
        assert recorder.data == b"unread"


@pytest.mark.trio
async def test_close_delivers_the_queue_though_the_peer_still_sends() -> None:
    async with running_reactor() as reactor:
        ours, theirs = tcp_pair()
        end, recorder = recorded_end(reactor, ours)
        blob = bytes(2 << 20)
        end.write(blob)
        end.close()
        theirs.send(b"late bytes that nobody wants")
        received = 0
        with trio.fail_after(5):
            while True:
                await trio.lowlevel.wait_readable(theirs)
                piece = theirs.recv(1 << 20)
                if not piece:
                    break
                received += len(piece)
        assert received == len(blob)
        assert not recorder.data
        assert recorder.calls == []
        theirs.close()


@pytest.mark.trio
async def test_an_exception_in_a_callback_ends_that_connection_alone() -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - it is raised where the reactor ends
        async with running_reactor() as reactor:
            ours, theirs = tcp_pair()
            other, peer = tcp_pair()
            _, recorder = recorded_end(reactor, other)

            class Bug(Recorder):
                def feed(self, data: object) -> None:
                    raise ValueError("a bug")

            end, bug = TcpEnd(reactor, ours, LIMITS, downstream=True), Bug()
            end.start(bug)
            theirs.send(b"x")
            peer.send(b"y")
            await until(lambda: bug.calls == ["lost"] and recorder.data == b"y")
            assert end.closed
            for sock in (theirs, peer):
                sock.close()
    assert isinstance(caught.value.exceptions[0], ValueError)


def _peek(sock: socket.socket) -> bytes | None:
    try:
        return sock.recv(100, socket.MSG_PEEK)
    except BlockingIOError:
        return None
