"""Requests behind requests: answered in order, one at a time, judged one by one, and bounded in what may wait."""

import pytest
import trio

from weft_agent.proxy.http1 import Session
from weft_agent.proxy.http1.holding import PIPELINE_BYTES
from weft_contract.limits import KIB
from weft_core.decision import Denied
from weft_core.http1 import RequestHead
from weft_testing.http1_hop import Decision, Hop, running_hop
from weft_testing.wire import Wire, settled

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


def get(name: str) -> bytes:
    return b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % name.encode()


def post(name: str, body: bytes) -> bytes:
    return b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (name.encode(), len(body), body)


async def serve(hop: Hop, requests: list[bytes]) -> None:
    """Expect these requests on one connection, and never a byte of the next one before an answer."""
    server = await hop.accept()
    for number, request in enumerate(requests):
        assert await server.receive(len(request)) == request
        await settled()
        assert server.arrived() is None
        await server.send(OK + b"%04d" % number)


async def answers(caller: Wire, count: int) -> None:
    for number in range(count):
        assert await caller.receive(len(OK) + 4) == OK + b"%04d" % number


@pytest.mark.trio
@pytest.mark.parametrize("cut", ["whole", "bytes", "thirds"])
async def test_a_hundred_requests_are_answered_in_order(cut: str) -> None:
    requests = [get(str(number)) if number % 3 else post(str(number), b"body%d" % number) for number in range(100)]
    data = b"".join(requests)
    step = {"whole": len(data), "bytes": 1, "thirds": len(data) // 3}[cut]
    async with running_hop() as hop, trio.open_nursery() as nursery:
        caller = await hop.connect()
        nursery.start_soon(serve, hop, requests)
        nursery.start_soon(answers, caller, 100)
        await caller.send(*[data[at : at + step] for at in range(0, len(data), step)])
    assert [record.status for record in hop.finished] == [200] * 100
    assert len(hop.sessions) == 1


@pytest.mark.trio
@pytest.mark.parametrize("body", [b"", b"the body of a refused request"])
async def test_refusals_among_them_answer_in_their_place_and_leave_nothing_behind(body: bytes) -> None:
    """What was refused is not sent later: its body once went out behind the next request."""

    def decide(session: Session, head: RequestHead) -> Decision:
        return Denied("denied_by_rule", "shop/p", "rules[0]") if b"secret" in head.target else None

    asked = [post("secret", body) if number % 3 == 2 else get(str(number)) for number in range(100)]
    passed = [request for request in asked if b"secret" not in request]
    async with running_hop() as hop, trio.open_nursery() as nursery:
        hop.decide = decide
        caller = await hop.connect()
        nursery.start_soon(serve, hop, passed)
        await caller.send(b"".join(asked))
        number = 0
        for request in asked:
            head = await caller.head()
            if b"secret" in request:
                assert head.startswith(b"HTTP/1.1 403 ")
                assert b"connection" not in head
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                assert b"denied_by_rule" in await caller.receive(length)
            else:
                assert head == OK
                assert await caller.receive(4) == b"%04d" % number
                number += 1
    assert [record.status for record in hop.finished] == [403 if number % 3 == 2 else 200 for number in range(100)]


@pytest.mark.trio
async def test_a_malformed_request_is_refused_in_its_place_and_ends_the_connection() -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(get("a") + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + get("never"))
        server = await hop.accept()
        assert await server.receive(len(get("a"))) == get("a")
        await server.send(OK + b"0000")
        data, how = await caller.rest()
        first, second = data[: len(OK) + 4], data[len(OK) + 4 :]
        assert first == OK + b"0000"
        assert second.startswith(b"HTTP/1.1 400 ")
        assert b"duplicate_host" in second
        assert how == "eof"
        assert server.arrived() is None
        assert [(record.method, record.status) for record in hop.finished] == [(b"GET", 200), (b"", 400)]


@pytest.mark.trio
async def test_requests_before_a_half_close_are_all_answered_and_the_server_sees_the_end_with_the_last() -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(get("a") + post("b", b"xyz") + get("c"))
        caller.finish()
        server = await hop.accept()
        for request in (get("a"), post("b", b"xyz")):
            assert await server.receive(len(request)) == request
            assert server.arrived() is None
            await server.send(OK + b"0000")
        assert await server.rest() == (get("c"), "eof")
        await server.send(OK + b"0000")
        data, how = await caller.rest()
        assert (data.count(b"HTTP/1.1 200 OK"), data.count(b"0000"), how) == (3, 3, "eof")


@pytest.mark.trio
@pytest.mark.parametrize("tail", [b"GET /b HT", post("b", b"xyz")[:-1], b"\r\n"])
async def test_a_half_close_in_the_middle_of_a_waiting_request_ends_behind_the_answers_before(tail: bytes) -> None:
    async with running_hop() as hop:
        caller = await hop.connect()
        await caller.send(get("a") + tail)
        caller.finish()
        server = await hop.accept()
        assert await server.receive(len(get("a"))) == get("a")
        await server.send(OK + b"0000")
        data, how = await caller.rest()
        assert data == OK + b"0000"
        assert how == ("reset" if tail.startswith(b"POST") else "eof")
        assert not hop.parked or server.arrived() is None


@pytest.mark.trio
async def test_what_waits_is_bounded_and_the_caller_is_read_again_later() -> None:
    """Each answer once let 64 KiB more in, whatever waited already."""
    request = get("x" * 100)
    async with running_hop(buffer_bytes=64 * KIB) as hop, trio.open_nursery() as nursery:
        caller = await hop.connect()
        many = 4000
        await caller.send(request)
        server = await hop.accept()
        sent = await caller.pour(len(request) * many, request * 600)
        assert len(hop.session._pending) <= PIPELINE_BYTES + 64 * KIB
        most = 0

        async def go_on() -> None:
            left = len(request) * many - sent
            data = (request * many)[sent:]
            assert len(data) == left
            await caller.send(data)

        async def count() -> None:
            await answers_of(caller, many + 1)

        nursery.start_soon(go_on)
        nursery.start_soon(count)
        for _ in range(many + 1):
            assert await server.receive(len(request)) == request
            most = max(most, len(hop.session._pending))
            await server.send(OK + b"0000")
        assert most <= PIPELINE_BYTES + 64 * KIB


async def answers_of(caller: Wire, count: int) -> None:
    data = await caller.receive((len(OK) + 4) * count)
    assert data == (OK + b"0000") * count


@pytest.mark.trio
async def test_no_request_is_begun_while_the_caller_does_not_take_its_answers() -> None:
    """A caller that asks and asks and never reads once filled the memory with its answers."""
    body = bytes(256 * KIB)
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with running_hop(buffer_bytes=64 * KIB) as hop:
        caller = await hop.connect()
        await caller.send(get("big") * 200)
        server = await hop.accept()
        answered = 0
        with trio.move_on_after(0.5):
            while True:
                await server.receive(len(get("big")))
                await server.send(reply)
                answered += 1
        assert 1 <= answered <= 4
        assert sum(end.queued_bytes for end in hop.ends) <= hop.limits.write_high_bytes + 2 * len(body)
        async with trio.open_nursery() as nursery:

            async def go_on() -> None:
                for _ in range(199 - answered):
                    await server.receive(len(get("big")))
                    await server.send(reply)
                await server.send(reply)

            nursery.start_soon(go_on)
            assert await caller.receive(200 * len(reply)) == reply * 200


@pytest.mark.trio
async def test_thousands_of_requests_that_are_answered_at_once_do_not_stop_the_others() -> None:
    async with running_hop() as hop:
        hop.decide = lambda session, head: Denied("rate_limited", http_status=429, retry_after_s=1)
        crowd, other = await hop.connect(), await hop.connect()
        wires: list[bytes] = []
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                await crowd.send(get("x") * 5000)

            async def drink() -> None:
                wires.append((await crowd.receive(5000 * 120))[:12])

            nursery.start_soon(flood)
            nursery.start_soon(drink)
            with trio.fail_after(3):
                for _ in range(5):
                    await other.send(get("y"))
                    head = await other.head()
                    await other.receive(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        assert wires == [b"HTTP/1.1 429"]
