"""Response heads: every rule in the direction from a hostile backend; the length of what follows; what goes on."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.limits import Limits
from weft_core.errors import RemoteProtocolError
from weft_core.http1 import CHUNKED, UNTIL_EOF, ResponseHead, next_informational, parse_response
from weft_testing.http1_cases import RESPONSES, ResponseCase, answer
from weft_testing.http1_mutations import RESPONSE_SEEDS, mutate
from weft_testing.http1_properties import check_connection, check_fast_equals_slow
from weft_testing.http1_reader import LIMITS, Reader, each_byte, read


def by_id(case: ResponseCase) -> str:
    return case.id


def verdict(reader: Reader) -> tuple[str | None, bytes]:
    body = b"" if reader.refused or not reader.messages else reader.messages[-1].body
    return reader.rule, body


def head_of(data: bytes, method: bytes = b"GET") -> ResponseHead:
    head = parse_response(data, LIMITS, method)
    assert head is not None
    return head


@pytest.mark.parametrize("case", RESPONSES, ids=by_id)
def test_whole(case: ResponseCase) -> None:
    assert verdict(read([case.data], case.method)) == (case.rule, case.body)


@pytest.mark.parametrize("case", RESPONSES, ids=by_id)
def test_byte_by_byte(case: ResponseCase) -> None:
    assert verdict(read(each_byte(case.data), case.method)) == (case.rule, case.body)


@pytest.mark.parametrize("case", RESPONSES, ids=by_id)
def test_cut_in_two_everywhere(case: ResponseCase) -> None:
    for place in range(0, len(case.data), 1 + len(case.data) // 500):
        assert verdict(read([case.data[:place], case.data[place:]], case.method)) == (case.rule, case.body), place


@pytest.mark.parametrize("buffer", [bytearray, memoryview])
@pytest.mark.parametrize("case", RESPONSES, ids=by_id)
def test_any_kind_of_buffer(case: ResponseCase, buffer: type[bytes]) -> None:
    expected: object
    found: object
    try:
        expected = parse_response(case.data, LIMITS, case.method)
    except RemoteProtocolError as exc:
        expected = exc.detail
    try:
        found = parse_response(buffer(case.data), LIMITS, case.method)
    except RemoteProtocolError as exc:
        found = exc.detail
    assert found == expected


def test_usual_head() -> None:
    data = b"HTTP/1.1 200 All right\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello"
    block = b"Server: x\r\nContent-Length: 5\r\n"
    head = head_of(data)
    assert head == ResponseHead(
        status=200,
        reason=b"All right",
        minor=1,
        length=5,
        keep_alive=True,
        block=block,
        original=block,
        size=len(data) - 5,
        raw=True,
    )
    assert head.block is head.original
    assert head.header(b"server") == [b"x"]
    assert head.headers() == [(b"server", b"x"), (b"content-length", b"5")]


LENGTH = b"Content-Length: 5"
CODING = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("status", "fields", "method", "expected"),
    [
        (b"200 OK", (LENGTH,), b"GET", 5),
        (b"200 OK", (CODING,), b"GET", CHUNKED),
        (b"200 OK", (), b"GET", UNTIL_EOF),
        (b"200 OK", (LENGTH,), b"HEAD", 0),
        (b"200 OK", (CODING,), b"HEAD", 0),
        (b"200 OK", (), b"HEAD", 0),
        (b"304 Not Modified", (LENGTH,), b"GET", 0),
        (b"304 Not Modified", (CODING,), b"GET", 0),
        (b"304 Not Modified", (), b"GET", 0),
        (b"204 No Content", (), b"GET", 0),
        (b"204 No Content", (b"Content-Length: 0",), b"GET", 0),
        (b"100 Continue", (), b"GET", 0),
        (b"101 Switching Protocols", (), b"GET", 0),
        (b"205 Reset Content", (b"Content-Length: 0",), b"GET", 0),
        (b"200 OK", (), b"CONNECT", UNTIL_EOF),
        (b"200 OK", (b"Content-Length: 0",), b"CONNECT", UNTIL_EOF),
        (b"404 Not Found", (LENGTH,), b"CONNECT", 5),
        (b"404 Not Found", (LENGTH,), b"head", 5),
        (b"500 Oops", (LENGTH,), b"POST", 5),
    ],
)
def test_length(status: bytes, fields: tuple[bytes, ...], method: bytes, expected: int) -> None:
    assert head_of(answer(*fields, start=b"HTTP/1.1 " + status), method).length == expected


@pytest.mark.parametrize("status", [b"100 Continue", b"204 No Content"])
def test_a_length_of_zero_where_none_may_be_does_not_go_on(status: bytes) -> None:
    head = head_of(answer(b"Content-Length: 0", b"X: y", start=b"HTTP/1.1 " + status))
    assert (head.block, head.raw) == (b"X: y\r\n", False)


@pytest.mark.parametrize(
    ("data", "method", "expected"),
    [
        (answer(LENGTH), b"GET", True),
        (answer(LENGTH, b"Connection: close"), b"GET", False),
        (answer(LENGTH, start=b"HTTP/1.0 200 OK"), b"GET", False),
        (answer(LENGTH, b"Connection: keep-alive", start=b"HTTP/1.0 200 OK"), b"GET", True),
        (answer(), b"GET", False),
        (answer(), b"HEAD", True),
    ],
)
def test_keep_alive(data: bytes, method: bytes, *, expected: bool) -> None:
    assert head_of(data, method).keep_alive is expected


def test_hop_by_hop_fields_do_not_go_on() -> None:
    fields = (
        b"Connection: X-Hop",
        b"X-Hop: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
        b"Proxy-Status: x",
        b"Upgrade: h2c",
        b"weft-source: me",
    )
    head = head_of(answer(*fields, LENGTH, CODING[:0] + b"X: y"))
    assert head.block == b"Proxy-Status: x\r\nContent-Length: 5\r\nX: y\r\n"
    assert not head.raw


def test_switching_protocols() -> None:
    fields = (b"Connection: Upgrade", b"Upgrade: WebSocket", b"Sec-WebSocket-Accept: x")
    head = head_of(answer(*fields, start=b"HTTP/1.1 101 Switching Protocols"))
    assert (head.status, head.length, head.upgrade) == (101, 0, b"websocket")
    assert head.block == b"Sec-WebSocket-Accept: x\r\n"


@pytest.mark.parametrize(
    "data",
    [
        answer(LENGTH, start=b"HTTP/1.0 200 OK"),
        answer(LENGTH, start=b"HTTP/1.1 200"),
        answer(LENGTH, CODING[:0] + b"TE: x"),
    ],
)
def test_what_is_not_raw(data: bytes) -> None:
    assert not head_of(data).raw


def test_informational_responses_are_counted() -> None:
    limits = Limits(informational_count=2)
    assert next_informational(next_informational(0, limits), limits) == 2
    with pytest.raises(RemoteProtocolError) as caught:
        next_informational(2, limits)
    assert caught.value.detail == "too_many_informational"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(RESPONSE_SEEDS), st.randoms(use_true_random=False))
def test_any_bytes(seed: tuple[bytes, bytes], rng: Random) -> None:
    data = mutate(seed[0], rng)
    check_fast_equals_slow(data, seed[1])
    check_connection(data, seed[1], rng)
