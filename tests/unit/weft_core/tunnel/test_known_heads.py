"""Heads that are remembered: the same verdict every time, nothing remembered of faults and of long ones."""

import pytest

from weft_core.errors import LocalProtocolError
from weft_core.facts import Header
from weft_core.tunnel import hpack, known_heads
from weft_core.tunnel.breach import ConnectionBreachError, StreamBreachError
from weft_core.tunnel.heads import UNMEASURED
from weft_core.tunnel.known_heads import encode_request, encode_response, read_request, read_response

CONNECT: list[Header] = [(b":method", b"CONNECT"), (b":authority", b"10.0.0.1:80"), (b"weft-source", b"a;a;v1")]
GET: list[Header] = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.example")]
LIMIT = 65_536


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    for known in (known_heads._known_request, known_heads._known_response, known_heads._known_encoded_request):
        known.cache_clear()


def test_a_request_is_read_once() -> None:
    block = hpack.NO_TABLE + hpack.encode(CONNECT)
    first = read_request(block, 100, LIMIT, False)
    assert first == (tuple(CONNECT), hpack.encode(CONNECT), UNMEASURED)
    assert read_request(bytes(bytearray(block)), 100, LIMIT, False) is first
    assert known_heads._known_request.cache_info().hits == 1


def test_what_a_verdict_depends_on_is_part_of_what_is_known() -> None:
    block = hpack.encode([*GET, (b"content-length", b"5")])
    assert read_request(block, 100, LIMIT, False).expected == 5
    with pytest.raises(StreamBreachError, match="content-length"):
        read_request(block, 100, LIMIT, True)
    with pytest.raises(StreamBreachError, match="more than 3 fields"):
        read_request(block, 3, LIMIT, False)
    with pytest.raises(StreamBreachError, match="64 bytes"):
        read_request(block, 100, 64, False)
    answer = hpack.encode([(b":status", b"200"), (b"content-length", b"5")])
    assert read_response(answer, 100, LIMIT, False, b"GET").expected == 5
    assert read_response(answer, 100, LIMIT, False, b"HEAD").expected == 0
    assert read_response(answer, 100, LIMIT, False, b"CONNECT").expected == UNMEASURED


def test_faults_are_found_every_time_and_not_remembered() -> None:
    for _ in range(3):
        with pytest.raises(StreamBreachError):
            read_request(hpack.encode([*CONNECT, (b":path", b"/")]), 100, LIMIT, False)
        with pytest.raises(ConnectionBreachError):
            read_request(b"\xbe", 100, LIMIT, False)
        with pytest.raises(LocalProtocolError):
            encode_request([(b":method", b"CONNECT")], False, None)
    assert known_heads._known_request.cache_info().currsize == 0
    assert known_heads._known_encoded_request.cache_info().currsize == 0


def test_long_heads_and_those_of_applications_are_not_remembered() -> None:
    long = [*CONNECT, (b"weft-detail", b"x" * known_heads.SHORT_BYTES)]
    assert read_request(hpack.encode(long), 100, LIMIT, False).headers == tuple(long)
    assert read_response(hpack.encode([(b":status", b"200"), *long[2:]]), 100, LIMIT, False, b"GET").status == 200
    assert encode_request(GET, False, None).block == hpack.encode(GET)
    assert known_heads._known_request.cache_info().currsize == 0
    assert known_heads._known_response.cache_info().currsize == 0
    assert known_heads._known_encoded_request.cache_info().currsize == 0


def test_what_is_known_is_bounded() -> None:
    for at in range(known_heads.KEPT + 10):
        head = [(b":method", b"CONNECT"), (b":authority", b"10.0.0.1:%d" % (at + 1))]
        assert encode_request(head, False, None).block == hpack.encode(head)
    assert known_heads._known_encoded_request.cache_info().currsize == known_heads.KEPT


def test_a_block_that_came_is_sent_as_it_came() -> None:
    assert encode_request(GET, False, b"as it came").block == b"as it came"
    assert encode_response([(b":status", b"204")], True, b"as it came", b"GET") == (b"as it came", 42, 204)
    assert encode_response([(b":status", b"204")], True, None, b"GET").block == b"\x89"
