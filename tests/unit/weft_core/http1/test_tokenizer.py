"""The slow way: which rule is named when several are broken, and that a head is given up as early as its first bad line."""

import pytest

from weft_contract.limits import Limits
from weft_core.errors import RemoteProtocolError
from weft_core.http1 import RuleName, parse_request, parse_response
from weft_core.http1.tokenizer import (
    FIRST_LOOK_BYTES,
    head_bytes,
    read_field,
    read_request_line,
    read_status_line,
    tokenize_request,
    tokenize_response,
)
from weft_testing.http1_reader import LIMITS


def test_request_line() -> None:
    assert read_request_line(b"GET /a HTTP/1.0", LIMITS) == (b"GET", b"/a", 0, None)
    assert read_request_line(b"GET http://A/b HTTP/1.1", LIMITS) == (b"GET", b"http://A/b", 1, b"A")
    assert read_request_line(b"CONNECT a:1 HTTP/1.1", LIMITS) == (b"CONNECT", b"a:1", 1, b"a:1")
    assert read_request_line(b"OPTIONS * HTTP/1.1", LIMITS) == (b"OPTIONS", b"*", 1, None)


def test_status_line() -> None:
    assert read_status_line(b"HTTP/1.1 200 OK", LIMITS) == (200, b"OK", 1)
    assert read_status_line(b"HTTP/1.0 404", LIMITS) == (404, b"", 0)


def test_field() -> None:
    assert read_field(b"A: b ", underscores=False) == (b"A", b"b ")
    assert read_field(b"A_B:", underscores=True) == (b"A_B", b"")


def test_tokens() -> None:
    data = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\nWeft-A: b\r\n\r\nrest"
    line, block, special = tokenize_request(data, data.index(b"\r\n\r\n"), LIMITS)
    assert line == (b"GET", b"/", 1, None)
    assert block == b"Host: a\r\nX: y\r\nWeft-A: b\r\n"
    assert special == [(b"Host", b"a"), (b"Weft-A", b"b")]
    data = b"HTTP/1.1 200\r\nTE: x\r\n\r\n"
    assert tokenize_response(data, data.index(b"\r\n\r\n"), LIMITS) == ((200, b"", 1), b"TE: x\r\n", [(b"TE", b"x")])


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"GET / HTTP/3.0\r\n", "unsupported_version"),
        (b"GET /\r\n", "bad_request_line"),
        (b"\r\nGET /#a HTTP/1.1\r\n", "fragment"),
        (b"GET / HTTP/1.1\n", "bare_lf"),
        (b"GET / HTTP/1.1\r\nA: b\nC", "bare_lf"),
        (b"GET / HTTP/1.1\r\nA: \x00", "control_character"),
        (b"GET /\rx", "bare_cr"),
        (b"\x16\x03\x01", "control_character"),
        (b"GET /" + b"a" * (LIMITS.target_bytes + 64), "target_too_long"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 6000, "head_too_large"),
    ],
)
def test_a_request_is_given_up_before_it_ends(data: bytes, rule: RuleName) -> None:
    for buffer in (data, bytearray(data), memoryview(data)):
        with pytest.raises(RemoteProtocolError) as caught:
            parse_request(buffer, LIMITS)
        assert caught.value.detail == rule


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"SSH-2.0-x\r\n", "bad_status_line"),
        (b"HTTP/2 200\r\n", "bad_status_line"),
        (b"HTTP/2.0 200 OK\r\n", "unsupported_version"),
        (b"HTTP/1.1 200 OK\r\nA: \x00", "control_character"),
        (b"HTTP/1.1 200 " + b"a" * 9000, "head_too_large"),
    ],
)
def test_a_response_is_given_up_before_it_ends(data: bytes, rule: RuleName) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_response(data, LIMITS, b"GET")
    assert caught.value.detail == rule


@pytest.mark.parametrize(
    "data", [b"", b"\r", b"\r\n", b"G", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nA: b\r\n", b"GET / HTTP/1.1\r\n\r"]
)
def test_what_may_still_become_a_head_waits(data: bytes) -> None:
    for buffer in (data, bytearray(data), memoryview(data)):
        assert parse_request(buffer, LIMITS) is None


def test_what_was_searched_is_not_searched_again() -> None:
    """A caller that says what was seen is believed; the head is judged whole once its end is there."""
    data = b"GET / HTTP/1.1\r\nA: \x00" + b"a" * 100
    assert parse_request(data, LIMITS, searched=100) is None
    with pytest.raises(RemoteProtocolError):
        parse_request(data + b"\r\n\r\n", LIMITS, searched=100)


def test_the_end_is_found_across_what_was_searched() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for searched in range(len(data)):
        assert parse_request(data[:searched], LIMITS) is None
        assert parse_request(data, LIMITS, searched) == parse_request(data, LIMITS)
        assert parse_request(bytearray(data), LIMITS, searched) == parse_request(data, LIMITS)


def test_a_body_behind_a_short_head_is_not_copied() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert len(head_bytes(memoryview(head + b"x" * 100_000), LIMITS.head_bytes, 0)) == FIRST_LOOK_BYTES
    assert head_bytes(bytearray(head + b"x" * 100_000), LIMITS.head_bytes, 0) == head
    long = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n"
    assert head_bytes(memoryview(long), LIMITS.head_bytes, 0) == long


def test_a_caller_without_memory_pays_for_the_first_bytes_alone() -> None:
    data = b"GET / HTTP/1.1\r\nA: " + b"a" * FIRST_LOOK_BYTES + b"\x00"
    assert parse_request(data, LIMITS) is None
    with pytest.raises(RemoteProtocolError):
        parse_request(data, LIMITS, searched=len(data) - 1)
    with pytest.raises(RemoteProtocolError):
        parse_request(data, Limits(head_bytes=len(data)))
