"""Time: who is waited for how long, what it means when it does not come, and that no deadline is late by more than a tick.

Sockets are real; the clock jumps ahead whenever nobody has anything to do, so tests take no time and no load makes them late.
"""

import pytest
import trio
from trio.testing import MockClock

from weft_agent.reactor.timers import TICK_S
from weft_contract.limits import KIB, Limits
from weft_testing.http1_hop import running_hop
from weft_testing.reactor import until
from weft_testing.wire import settled

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Stopwatch:
    def __init__(self) -> None:
        self.start = trio.current_time()

    def read(self) -> float:
        return trio.current_time() - self.start

    def within(self, least: float, most: float) -> bool:
        assert least <= self.read() <= most + TICK_S + 1e-6  # sums of floats
        return True


@pytest.mark.trio
async def test_an_idle_connection_is_closed_before_and_behind_requests(autojump_clock: MockClock) -> None:
    async with running_hop(Limits(http_idle_timeout_s=0.4)) as hop:
        watch, caller = Stopwatch(), await hop.connect()
        assert await caller.ended() == "eof"
        assert watch.within(0.4, 0.4)
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK
        watch = Stopwatch()
        assert await caller.ended() == "eof"
        assert watch.within(0.4, 0.4)


@pytest.mark.trio
@pytest.mark.parametrize("behind", ["nothing", "a request", "a long request"])
async def test_a_head_that_does_not_come_whole_is_408_in_its_own_time(behind: str, autojump_clock: MockClock) -> None:
    """Its deadline is earlier than the idle one before it: it was once noticed only when that one was."""
    async with running_hop(Limits(head_timeout_s=0.4)) as hop:
        caller = await hop.connect()
        if behind != "nothing":
            await caller.send(GET)
            server = await hop.accept()
            if behind == "a long request":
                await trio.sleep(0.6)
            await server.send(OK)
            assert await caller.receive(len(OK)) == OK
        await caller.send(b"GET / HT")
        watch = Stopwatch()
        await trio.sleep(0.2)
        await caller.send(b"TP/1.1\r\n")  # progress does not buy time
        data, how = await caller.rest()
        assert watch.within(0.4, 0.4)
        assert data.startswith(b"HTTP/1.1 408 ")
        assert how == "eof"
        assert (hop.last.method, hop.last.status, hop.last.reason) == (b"", 408, "slow_request")


@pytest.mark.trio
async def test_an_empty_line_behind_a_body_is_no_beginning_of_a_head(autojump_clock: MockClock) -> None:
    async with running_hop(Limits(head_timeout_s=0.2, http_idle_timeout_s=0.7)) as hop:
        caller = await hop.connect()
        await caller.send(b"\r", b"\n")
        watch = Stopwatch()
        assert await caller.ended() == "eof"
        assert watch.within(0.7, 0.7)
        assert not hop.finished


@pytest.mark.trio
@pytest.mark.parametrize("timeout_s", [0.05, 0.2, 0.5])
async def test_a_routes_timeout_is_504_within_50_ms(timeout_s: float) -> None:
    async with running_hop() as hop:
        hop.timeout_s = timeout_s
        for _ in range(3):
            caller = await hop.connect()
            watch = Stopwatch()
            await caller.send(GET)
            server = await hop.accept()
            assert (await caller.head()).startswith(b"HTTP/1.1 504 ")
            assert timeout_s <= watch.read() <= timeout_s + 0.05
            assert await server.rest() == (GET, "reset")
            assert (hop.last.status, hop.last.reason) == (504, "response_timeout")


@pytest.mark.trio
async def test_a_routes_timeout_behind_the_head_of_the_answer_is_a_reset(autojump_clock: MockClock) -> None:
    async with running_hop() as hop:
        hop.timeout_s = 0.2
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123")
        assert (await caller.rest())[1] == "reset"
        assert await server.ended() == "reset"
        assert (hop.last.status, hop.last.reason) == (200, "response_timeout")


@pytest.mark.trio
async def test_a_routes_timeout_does_not_outlive_its_exchange(autojump_clock: MockClock) -> None:
    async with running_hop() as hop:
        hop.timeout_s = 0.15
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK
        hop.timeout_s = None
        await caller.send(GET)
        assert await server.receive(len(GET)) == GET
        await trio.sleep(0.3)
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK


@pytest.mark.trio
@pytest.mark.parametrize("stage", [b"", b"HTTP/1.1 102 P\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123"])
async def test_a_server_that_goes_silent_is_504_or_a_reset(stage: bytes, autojump_clock: MockClock) -> None:
    async with running_hop(Limits(stream_idle_timeout_s=0.5)) as hop:
        caller = await hop.connect()
        watch = Stopwatch()
        server = await hop.asked(caller, GET)
        await trio.sleep(0.3)
        await server.send(stage)
        if b"200" in stage:
            assert (await caller.rest())[1] == "reset"
            assert watch.within(0.8, 0.8)  # its bytes bought time
        else:
            while not (await caller.head()).startswith(b"HTTP/1.1 504 "):
                pass
            assert watch.within(0.5, 0.5)
        assert await server.ended() == "reset"


@pytest.mark.trio
async def test_a_body_slower_than_the_floor_is_408(autojump_clock: MockClock) -> None:
    limits = Limits(body_grace_s=0.5, body_rate_bytes_per_s=100.0)
    async with running_hop(limits) as hop:
        caller = await hop.connect()
        watch = Stopwatch()
        await caller.send(POST)
        server = await hop.accept()
        with trio.move_on_after(3):
            while not hop.finished:
                await caller.send(b"x")
                await trio.sleep(0.05)  # 20 bytes per second
        assert watch.within(0.5, 0.5)
        assert (await caller.head()).startswith(b"HTTP/1.1 408 ")
        assert (await server.rest())[1] == "reset"
        assert hop.last.reason == "slow_request"


@pytest.mark.trio
async def test_a_body_above_the_floor_may_take_its_time(autojump_clock: MockClock) -> None:
    limits = Limits(body_grace_s=0.25, body_rate_bytes_per_s=100.0, stream_idle_timeout_s=5.0)
    async with running_hop(limits) as hop:
        caller = await hop.connect()
        await caller.send(POST)
        server = await hop.accept()
        for _ in range(20):
            await caller.send(bytes(50))
            await trio.sleep(0.06)
        assert len(await server.receive(len(POST) + 1000)) == len(POST) + 1000
        await server.send(OK)
        assert await caller.receive(len(OK)) == OK


@pytest.mark.trio
async def test_a_caller_that_is_held_back_is_not_slow(autojump_clock: MockClock) -> None:
    """The server takes nothing, so the caller may send nothing: that is no fault of the caller."""
    limits = Limits(body_grace_s=0.25, body_rate_bytes_per_s=1e9, stream_idle_timeout_s=1.5, write_high_bytes=64 * KIB)
    async with running_hop(limits, buffer_bytes=32 * KIB) as hop:
        caller = await hop.connect()
        head = POST.replace(b"1000", b"90000000")
        async with trio.open_nursery() as nursery:
            await caller.send(head)
            server = await hop.accept()

            async def upload() -> None:
                try:
                    await caller.send(bytes(4 << 20))
                except (BrokenPipeError, ConnectionResetError):
                    pass

            nursery.start_soon(upload)
            await until(lambda: hop.session._held)
            watch = Stopwatch()
            await until(lambda: bool(hop.finished))
            # The kernel moves what is left to real timers (window probes, delayed ACKs), and each move begins the wait anew.
            assert watch.within(1.3, 4.7)
            nursery.cancel_scope.cancel()
        assert (hop.last.status, hop.last.reason) == (504, "response_timeout")
        assert (await server.rest())[1] == "reset"


@pytest.mark.trio
@pytest.mark.parametrize("answered", [True, False])
async def test_a_caller_that_waits_for_100_is_not_slow(answered: bool, autojump_clock: MockClock) -> None:
    limits = Limits(body_grace_s=0.3, body_rate_bytes_per_s=1e5, stream_idle_timeout_s=0.9)
    async with running_hop(limits) as hop:
        caller = await hop.connect()
        await caller.send(POST.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue"))
        server = await hop.accept()
        await trio.sleep(0.7)
        assert not hop.finished
        if answered:
            watch = Stopwatch()
            await server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await caller.head()
            assert (await caller.head()).startswith(b"HTTP/1.1 408 ")
            assert watch.within(0.3, 0.3)
        else:
            assert (await caller.head()).startswith(b"HTTP/1.1 504 ")


@pytest.mark.trio
async def test_a_caller_that_takes_its_answer_slowly_is_left_alone_and_one_that_stops_is_not(
    autojump_clock: MockClock,
) -> None:
    body = bytes(2 << 20)
    limits = Limits(stream_idle_timeout_s=0.4, write_high_bytes=64 * KIB, write_low_bytes=16 * KIB)
    async with running_hop(limits, buffer_bytes=32 * KIB) as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                try:
                    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            nursery.start_soon(answer)
            for _ in range(10):  # a gulp at a time (the kernel tells of room in large steps), 1.5 s in all
                assert await caller.receive(48 * KIB)
                await trio.sleep(0.15)
            assert not hop.finished
            watch = Stopwatch()
            await until(lambda: bool(hop.finished))
            assert watch.within(0.0, 0.85)
            nursery.cancel_scope.cancel()
        assert (hop.last.status, hop.last.reason) == (200, "idle_timeout")
        assert (await caller.rest())[1] == "reset"


@pytest.mark.trio
async def test_an_idle_connection_in_the_pool_is_closed_in_its_time(autojump_clock: MockClock) -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        server = await hop.asked(caller, GET)
        await server.send(OK)
        await caller.receive(len(OK))
        (upstream,) = hop.parked
        upstream.deadline = hop.reactor.now + 0.3
        hop.reactor.watch(upstream)
        watch = Stopwatch()
        assert await server.ended() == "eof"
        assert watch.within(0.2, 0.3)
        assert not hop.parked
        await settled()
        assert hop.closed == 0
