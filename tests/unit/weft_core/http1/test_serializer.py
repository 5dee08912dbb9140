"""The last line of defence: honest heads pass, nothing that breaks a head does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_core.errors import LocalProtocolError
from weft_core.http1 import (
    LAST_CHUNK,
    ChunkedDecoder,
    encode_chunk,
    field_line,
    parse_request,
    parse_response,
    request_bytes,
    response_bytes,
)
from weft_testing.http1_reader import LIMITS

EVIL = [b"\r", b"\n", b"\x00", b"\r\n", b"\r\nX: y", b"\r\n\r\nGET / HTTP/1.1\r\n"]
LINES = [
    b"X",
    b"X: y",
    b"X: y\r\n\r\n",
    b"\r\n",
    b"\r\nX: y\r\n",
    b"X: y\n",
    b"X: y\r",
    b" X: y\r\n",
    b"X : y\r\n",
    b"X: y\r\n z\r\n",
    b"X: \x00\r\n",
    b": y\r\n",
    b"no colon\r\n",
]


def test_request() -> None:
    head = request_bytes(b"GET", b"/a?b", 1, b"Host: a\r\n", b"x: y\r\n")
    assert head == b"GET /a?b HTTP/1.1\r\nHost: a\r\nx: y\r\n\r\n"
    assert request_bytes(b"GET", b"/", 0, b"") == b"GET / HTTP/1.0\r\n\r\n"


def test_response() -> None:
    assert response_bytes(200, b"OK", b"a: b\r\n", b"c: d\r\n") == b"HTTP/1.1 200 OK\r\na: b\r\nc: d\r\n\r\n"
    assert response_bytes(404, b"", b"", minor=0) == b"HTTP/1.0 404 \r\n\r\n"


@pytest.mark.parametrize("evil", [*EVIL, b" ", b"\t", b"", b"\xe9"])
def test_request_line_is_guarded(evil: bytes) -> None:
    for method, target in ((b"GET" + evil if evil else b"", b"/"), (b"GET", b"/a" + evil if evil else b"")):
        with pytest.raises(LocalProtocolError):
            request_bytes(method, target, 1, b"")


@pytest.mark.parametrize("minor", [-1, 2])
def test_version_is_guarded(minor: int) -> None:
    with pytest.raises(LocalProtocolError):
        request_bytes(b"GET", b"/", minor, b"")
    with pytest.raises(LocalProtocolError):
        response_bytes(200, b"", b"", minor=minor)


@pytest.mark.parametrize("lines", LINES)
def test_lines_are_guarded(lines: bytes) -> None:
    for block, extra in ((lines, b""), (b"", lines), (b"a: b\r\n", lines)):
        with pytest.raises(LocalProtocolError):
            request_bytes(b"GET", b"/", 1, block, extra)
        with pytest.raises(LocalProtocolError):
            response_bytes(200, b"", block, extra)


@pytest.mark.parametrize("reason", EVIL)
@pytest.mark.parametrize("status", [200, 99, 600, -1])
def test_status_line_is_guarded(status: int, reason: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        response_bytes(status, reason, b"")
    if status != 200:
        with pytest.raises(LocalProtocolError):
            response_bytes(status, b"fine", b"")


def test_field_line() -> None:
    assert field_line(b"x-a", b"b \xc3\xa9\tc") == b"x-a: b \xc3\xa9\tc\r\n"
    for evil in EVIL:
        with pytest.raises(LocalProtocolError):
            field_line(b"x", b"a" + evil)
        with pytest.raises(LocalProtocolError):
            field_line(b"x" + evil, b"a")
    with pytest.raises(LocalProtocolError):
        field_line(b"x y", b"a")


def test_the_message_of_an_error_is_bounded() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        request_bytes(b"GET", b"/ " + b"a" * 10_000, 1, b"")
    assert len(str(caught.value)) < 200


def test_chunks_are_what_the_decoder_reads() -> None:
    assert encode_chunk(b"") == []
    data = b"".join(bytes(piece) for text in (b"hello", b"x" * 300) for piece in encode_chunk(text)) + LAST_CHUNK
    pieces, finished, _ = ChunkedDecoder(LIMITS, decode=True).feed(data)
    assert (b"".join(pieces), finished) == (b"hello" + b"x" * 300, True)


@given(st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=60))
def test_what_is_written_can_be_read_or_is_not_written(method: bytes, target: bytes, lines: bytes) -> None:
    try:
        head = request_bytes(method, target, 1, lines)
    except LocalProtocolError:
        pass
    else:
        assert head.count(b"\r\n\r\n") == 1
        assert head.endswith(b"\r\n\r\n")
        assert head.split(b"\r\n")[0] == b"%b %b HTTP/1.1" % (method, target)
    try:
        head = response_bytes(200, method, lines)
    except LocalProtocolError:
        return
    assert head.count(b"\r\n\r\n") == 1


def test_parsed_heads_survive_a_round_trip() -> None:
    data = b"PUT /a HTTP/1.1\r\nHost: a\r\nX-A:b\r\nContent-Length: 0\r\n\r\n"
    head = parse_request(data, LIMITS)
    assert head is not None
    assert request_bytes(head.method, head.target, head.minor, head.block) == data
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    found = parse_response(answer, LIMITS, b"GET")
    assert found is not None
    assert response_bytes(found.status, found.reason, found.block) == answer
