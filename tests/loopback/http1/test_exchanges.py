"""Exchanges byte by byte: what leaves the hop on either side for what came in, in every cut of both directions."""

from dataclasses import dataclass, replace

import h11
import pytest

from weft_testing.http1_hop import Hop, running_hop
from weft_testing.wire import Wire, cuts, settled

HOST = b"Host: shop.example\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET /a?b HTTP/1.1\r\n" + HOST + b"\r\n"


@dataclass(frozen=True)
class Case:
    """One exchange; `forwarded` and `answered` are what must leave the hop, None: what came in."""

    id: str
    request: bytes = GET
    answer: bytes = OK
    forwarded: bytes | None = None
    answered: bytes | None = None
    keeps: bool = True
    """The caller's connection goes on."""
    pools: bool = True
    """The server's connection goes on."""
    server_closes: bool = False


def post(*lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"POST / HTTP/%b\r\n%b%b\r\n%b" % (version, HOST, b"".join(line + b"\r\n" for line in lines), body)


def answer(*lines: bytes, body: bytes = b"", start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"%b\r\n%b\r\n%b" % (start, b"".join(line + b"\r\n" for line in lines), body)


CHUNKED = b"Transfer-Encoding: chunked"
LOWER_CHUNKED = b"transfer-encoding: chunked"
LENGTH = b"Content-Length: 2"

CASES = (
    Case("plain"),
    Case("no-fields-but-host-and-empty-body", answer=answer(b"Content-Length: 0")),
    Case("leading-empty-line", request=b"\r\n" + GET, forwarded=GET),
    Case("post-length", request=post(LENGTH, body=b"ab")),
    Case(
        "post-chunks",
        request=post(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"),
        forwarded=post(LOWER_CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"),
    ),
    Case(
        "post-chunks-with-extensions-and-trailers",
        request=post(CHUNKED, body=b'03;a="b;c";d\r\nabc\r\n2\r\nde\r\n00;x\r\nX-Sum: 9\r\nHost: evil\r\n\r\n'),
        forwarded=post(LOWER_CHUNKED, body=b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 9\r\n\r\n"),
    ),
    Case("post-no-chunk", request=post(CHUNKED, body=b"0\r\n\r\n"), forwarded=post(LOWER_CHUNKED, body=b"0\r\n\r\n")),
    Case(
        "answer-chunks-with-extensions-and-trailers",
        answer=answer(CHUNKED, body=b"02;q\r\nhi\r\n0\r\nX_Sum: 1\r\nContent-Type: x\r\n\r\n"),
        answered=answer(LOWER_CHUNKED, body=b"2\r\nhi\r\n0\r\nX_Sum: 1\r\n\r\n"),
    ),
    Case("head", request=GET.replace(b"GET", b"HEAD"), answer=answer(b"Content-Length: 99")),
    Case("head-without-length", request=GET.replace(b"GET", b"HEAD"), answer=answer(b"X: y")),
    Case(
        "head-chunked",
        request=GET.replace(b"GET", b"HEAD"),
        answer=answer(CHUNKED),
        answered=answer(),
    ),
    Case("204", answer=answer(start=b"HTTP/1.1 204 No Content")),
    Case("304-with-length", answer=answer(b"Content-Length: 99", start=b"HTTP/1.1 304 Not Modified")),
    Case("no-reason", answer=answer(LENGTH, body=b"hi", start=b"HTTP/1.1 200 ")),
    Case(
        "until-eof",
        answer=answer(b"X: y", body=b"hello"),
        answered=answer(b"X: y", b"connection: close", body=b"hello"),
        keeps=False,
        pools=False,
        server_closes=True,
    ),
    Case(
        "server-closes-behind-length",
        answer=answer(b"Connection: close", LENGTH, body=b"hi"),
        answered=answer(LENGTH, body=b"hi"),
        pools=False,
        server_closes=True,
    ),
    Case(
        "server-of-1-0",
        answer=answer(LENGTH, body=b"hi", start=b"HTTP/1.0 200 OK"),
        answered=answer(LENGTH, body=b"hi"),
        pools=False,
        server_closes=True,
    ),
    Case(
        "server-of-1-0-keeps-alive",
        answer=answer(b"Connection: keep-alive", LENGTH, body=b"hi", start=b"HTTP/1.0 200 OK"),
        answered=answer(LENGTH, body=b"hi"),
    ),
    Case(
        "caller-closes",
        request=b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
        forwarded=b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
        answered=answer(LENGTH, b"connection: close", body=b"hi"),
        keeps=False,
    ),
    Case(
        "caller-of-1-0",
        request=b"GET / HTTP/1.0\r\n\r\n",
        answered=answer(LENGTH, b"connection: close", body=b"hi"),
        keeps=False,
    ),
    Case(
        "caller-of-1-0-keeps-alive",
        request=b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        forwarded=b"GET / HTTP/1.0\r\n\r\n",
        answered=answer(LENGTH, b"connection: keep-alive", body=b"hi"),
    ),
    Case(
        "caller-of-1-0-gets-no-chunks",
        request=b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        forwarded=b"GET / HTTP/1.0\r\n\r\n",
        answer=answer(CHUNKED, body=b"2\r\nhi\r\n3\r\n you\r\n0\r\nX-Sum: 1\r\n\r\n".replace(b"3\r\n you", b"4\r\n you")),
        answered=answer(b"connection: close", body=b"hi you"),
        keeps=False,
    ),
    Case(
        "hop-by-hop-fields-stay-here",
        request=b"GET / HTTP/1.1\r\n" + HOST
        + b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\n"
        + b"Weft-Source: me\r\nY: z\r\n\r\n",
        forwarded=b"GET / HTTP/1.1\r\n" + HOST + b"Y: z\r\n\r\n",
        answer=answer(b"Connection: X-Hop", b"X-Hop: 2", b"Keep-Alive: 9", LENGTH, b"weft-reason: x", body=b"hi"),
        answered=answer(LENGTH, body=b"hi"),
    ),
    Case(
        "te-trailers",
        request=b"GET / HTTP/1.1\r\n" + HOST + b"TE: trailers\r\nConnection: TE\r\n\r\n",
        forwarded=b"GET / HTTP/1.1\r\n" + HOST + b"connection: te\r\nte: trailers\r\n\r\n",
    ),
    Case(
        "h2c-is-not-offered",
        request=b"GET / HTTP/1.1\r\n" + HOST
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        forwarded=b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    ),
    Case("early-hints", answer=answer(b"Link: </a>", start=b"HTTP/1.1 103 Early Hints") + OK),
    Case(
        "several-informational",
        answer=b"".join(answer(b"N: %d" % number, start=b"HTTP/1.1 102 Processing") for number in range(8)) + OK,
    ),
    Case(
        "informational-with-hop-by-hop",
        answer=answer(b"Connection: X", b"X: 1", b"Y: 2", start=b"HTTP/1.1 103 Early Hints") + OK,
        answered=answer(b"Y: 2", start=b"HTTP/1.1 103 Early Hints") + OK,
    ),
    Case(
        "caller-of-1-0-gets-nothing-informational",
        request=b"GET / HTTP/1.0\r\n\r\n",
        answer=answer(start=b"HTTP/1.1 103 Early Hints") + OK,
        answered=answer(LENGTH, b"connection: close", body=b"hi"),
        keeps=False,
    ),
    Case(
        "upgrade-required",
        answer=answer(b"Connection: Upgrade", b"Upgrade: TLS/1.3", b"Content-Length: 0", start=b"HTTP/1.1 426 Upgrade Required"),
        answered=answer(
            b"Content-Length: 0", b"connection: upgrade", b"upgrade: tls/1.3", start=b"HTTP/1.1 426 Upgrade Required"
        ),
    ),
    Case(
        "expectation",
        request=post(b"Expect: 100-continue", LENGTH, body=b"ab"),
        answer=answer(start=b"HTTP/1.1 100 Continue") + OK,
    ),
    Case("expectation-without-100", request=post(b"Expect: 100-continue", LENGTH, body=b"ab")),
    Case(
        "expectation-of-1-0",
        request=post(b"Expect: 100-continue", LENGTH, body=b"ab", version=b"1.0"),
        answer=answer(start=b"HTTP/1.1 100 Continue") + OK,
        answered=answer(LENGTH, b"connection: close", body=b"hi"),
        keeps=False,
    ),
)  # fmt: skip
SHORT_BYTES = 400
"""Messages up to here are cut at every place; longer ones whole and into single bytes."""


class Line:
    """One caller on a hop, asking again and again; connections are renewed where the case ends them."""

    def __init__(self, hop: Hop, case: Case) -> None:
        self.hop = hop
        self.case = case
        self.caller: Wire | None = None
        self.server: Wire | None = None

    async def exchange(self, request: list[bytes], reply: list[bytes]) -> None:
        """Run the case with its bytes cut as given, and compare everything that left the hop."""
        case = self.case
        caller = self.caller = self.caller or await self.hop.connect()
        await caller.send(*request)
        server = self.server = self.server or await self.hop.accept()
        forwarded = case.request if case.forwarded is None else case.forwarded
        assert await server.receive(len(forwarded)) == forwarded
        assert server.arrived() is None
        await server.send(*reply)
        if case.server_closes:
            server.close()
        await self._check(caller, case.answer if case.answered is None else case.answered)
        if not case.pools:
            self.server = None
        elif not case.keeps:
            assert len(self.hop.parked) == 1

    async def _check(self, caller: Wire, answered: bytes) -> None:
        if self.case.keeps:
            assert await caller.receive(len(answered)) == answered
            await settled()
            assert caller.arrived() is None
        else:
            assert await caller.rest() == (answered, "eof")
            caller.close()
            self.caller = None


@pytest.mark.trio
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_an_exchange_in_every_cut(case: Case) -> None:
    async with running_hop() as hop:
        line = Line(hop, case)
        requests, replies = cuts(case.request), cuts(case.answer)
        if len(case.request) > SHORT_BYTES:
            requests = [requests[0], requests[-1]]
        if len(case.answer) > SHORT_BYTES:
            replies = [replies[0], replies[-1]]
        for request in requests:
            await line.exchange(request, replies[0])
        for reply in replies[1:]:
            await line.exchange(requests[0], reply)
        await line.exchange(requests[-1], replies[-1])
        count = len(requests) + len(replies)
        assert len(hop.finished) == count
        assert {record.reason for record in hop.finished} == {""}
        answered = case.answer if case.answered is None else case.answered
        request_bytes = len(case.request)
        assert {(record.received, record.sent) for record in hop.finished} == {(request_bytes, len(answered))}


@pytest.mark.trio
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_what_leaves_the_hop_is_read_by_h11_as_one_message_with_the_same_content(case: Case) -> None:
    """The oracle is stricter about nothing and laxer about much; but it must see exactly one request and one answer."""
    forwarded = case.request if case.forwarded is None else case.forwarded
    server = h11.Connection(h11.SERVER)
    server.receive_data(forwarded)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    kinds = _until_end(server)
    assert kinds[-1] == "EndOfMessage"
    assert not server.trailing_data[0]
    caller = h11.Connection(h11.CLIENT)
    caller.send(h11.Request(method=request.method, target="/", headers=[("host", "a"), ("content-length", "0")]))
    caller.send(h11.EndOfMessage())
    caller.receive_data(case.answer if case.answered is None else case.answered)
    if not case.keeps:
        caller.receive_data(b"")
    kinds = _until_end(caller)
    assert kinds.count("Response") == 1
    assert kinds[-1] == "EndOfMessage"
    assert (caller.their_state is h11.DONE) == case.keeps


def _until_end(connection: h11.Connection) -> list[str]:
    kinds: list[str] = []
    while not kinds or kinds[-1] != "EndOfMessage":
        event = connection.next_event()
        assert event not in (h11.NEED_DATA, h11.PAUSED), kinds
        kinds.append(type(event).__name__)
    return kinds


@pytest.mark.trio
async def test_all_kinds_of_exchanges_follow_each_other_on_one_connection() -> None:
    cases = [replace(case) for case in CASES if case.keeps and case.pools]
    async with running_hop() as hop:
        line = Line(hop, cases[0])
        for case in [*cases, *reversed(cases)]:
            line.case = case
            await line.exchange([case.request], [case.answer])
        assert len(hop.sessions) == 1
        assert len(hop.finished) == 2 * len(cases)


@pytest.mark.trio
async def test_a_target_and_fields_that_the_planner_changed_are_what_is_sent() -> None:
    async with running_hop() as hop:
        hop.target, hop.block = b"/other", b"Host: inner\r\nX: y\r\n"
        hop.response_block = b"Content-Length: 2\r\nZ: 1\r\n"
        caller = await hop.connect()
        server = await hop.asked(caller, GET, b"GET /other HTTP/1.1\r\nHost: inner\r\nX: y\r\n\r\n")
        await server.send(OK)
        assert await caller.head() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nZ: 1\r\n\r\n"
        assert await caller.receive(2) == b"hi"


@pytest.mark.trio
@pytest.mark.parametrize("what", ["block", "target", "response_block"])
async def test_what_would_break_a_head_is_stopped_and_answered_with_500(what: str) -> None:
    """The serialiser is the last line of defence: a filter's mistake ends one exchange, never a message."""
    async with running_hop() as hop:
        setattr(hop, what, b"/a b HTTP/1.1\r\nX: y\r\n\r\nGET /evil")
        caller = await hop.connect()
        await caller.send(GET)
        server = await hop.accept()
        if what == "response_block":
            assert await server.receive(len(GET)) == GET
            await server.send(OK)
        data, how = await caller.rest()
        assert data.startswith(b"HTTP/1.1 500 ")
        assert how == "eof"
        assert await server.rest() in ((b"", "eof"), (b"", "reset"))
        assert hop.last.reason == "local_protocol_error"
