"""Request heads: every row of the strictness table whole, cut everywhere and byte by byte; what an accepted head says."""

import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.limits import Limits
from weft_core.errors import RemoteProtocolError
from weft_core.http1 import CHUNKED, RULES, RequestHead, parse_request
from weft_testing.http1_cases import REQUESTS, RequestCase, get, post
from weft_testing.http1_mutations import REQUEST_SEEDS, mutated
from weft_testing.http1_properties import check_connection, check_fast_equals_slow
from weft_testing.http1_reader import LIMITS, Reader, each_byte, read

CUT_EVERYWHERE_BYTES = 700


def by_id(case: RequestCase) -> str:
    return case.id


def verdict(reader: Reader) -> tuple[str | None, tuple[bytes, ...]]:
    return reader.rule, tuple(message.body for message in reader.messages if message.complete)


def head_of(data: bytes, limits: Limits = LIMITS) -> RequestHead:
    head = parse_request(data, limits)
    assert head is not None
    return head


@pytest.mark.parametrize("case", REQUESTS, ids=by_id)
def test_whole(case: RequestCase) -> None:
    reader = read([case.data])
    assert verdict(reader) == (case.rule, case.bodies)
    if reader.refused is not None:
        assert reader.refused.status == RULES[case.rule or "bad_target"].status
    else:
        assert not reader.incomplete


@pytest.mark.parametrize("case", REQUESTS, ids=by_id)
def test_byte_by_byte(case: RequestCase) -> None:
    assert verdict(read(each_byte(case.data))) == (case.rule, case.bodies)


@pytest.mark.parametrize("case", REQUESTS, ids=by_id)
def test_cut_in_two_everywhere(case: RequestCase) -> None:
    if len(case.data) > CUT_EVERYWHERE_BYTES:
        places = range(0, len(case.data), len(case.data) // 50)
    else:
        places = range(len(case.data) + 1)
    for place in places:
        assert verdict(read([case.data[:place], case.data[place:]])) == (case.rule, case.bodies), place


@pytest.mark.parametrize("case", [case for case in REQUESTS if case.rule is None], ids=by_id)
def test_no_prefix_of_an_accepted_connection_is_refused(case: RequestCase) -> None:
    for end in range(0, len(case.data), 1 if len(case.data) < CUT_EVERYWHERE_BYTES else 7):
        assert read([case.data[:end]]).refused is None


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
@pytest.mark.parametrize("case", REQUESTS, ids=by_id)
def test_any_kind_of_buffer(case: RequestCase, buffer: type[bytes]) -> None:
    expected: object
    found: object
    try:
        expected = parse_request(case.data, LIMITS)
    except RemoteProtocolError as exc:
        expected = exc.detail
    try:
        found = parse_request(buffer(case.data), LIMITS)
    except RemoteProtocolError as exc:
        found = exc.detail
    assert found == expected


def test_usual_head() -> None:
    data = b"GET /a?b HTTP/1.1\r\nHost: a.example:80\r\nAccept: */*\r\nCookie:  x \r\nCookie: y\r\n\r\nrest"
    head = head_of(data)
    assert head == RequestHead(
        method=b"GET",
        target=b"/a?b",
        minor=1,
        host=b"a.example:80",
        length=0,
        keep_alive=True,
        block=data[19:-6],
        original=data[19:-6],
        size=len(data) - 4,
        raw=True,
    )
    assert head.block is head.original
    assert head.headers() == [
        (b"host", b"a.example:80"),
        (b"accept", b"*/*"),
        (b"cookie", b"x"),
        (b"cookie", b"y"),
    ]
    assert head.header(b"cookie") == [b"x", b"y"]
    assert head.header(b"nothing") == []
    assert (head.expect_continue, head.upgrade, head.te_trailers) == (False, b"", False)


def test_hop_by_hop_fields_do_not_go_on_but_can_be_seen() -> None:
    fields = (
        b"Connection: keep-alive, X-Hop, TE",
        b"X-Hop: 1",
        b"x-hop: 2",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic x",
        b"TE: trailers",
        b"Proxy-Status: stays",
        b"Trailer: X-Sum",
        b"X-Hopper: stays",
        b"Weft-Source: spiffe://a/ns/b/sa/c",
        b"WEFT-X: y",
    )
    head = head_of(get(*fields))
    assert head.block == (b"Host: a.example\r\nProxy-Status: stays\r\nTrailer: X-Sum\r\nX-Hopper: stays\r\n")
    assert not head.raw
    assert head.te_trailers
    assert head.header(b"x-hop") == [b"1", b"2"]
    assert head.header(b"weft-source") == [b"spiffe://a/ns/b/sa/c"]


def test_block_may_become_empty() -> None:
    head = head_of(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (head.block, head.host, head.minor, head.keep_alive) == (b"", b"", 0, True)


def test_content_length_stays_and_transfer_encoding_goes() -> None:
    assert head_of(post(b"Content-Length: 5")).block.endswith(b"Content-Length: 5\r\n")
    chunked = head_of(post(b"Transfer-Encoding: chunked"))
    assert chunked.length == CHUNKED
    assert chunked.block == b"Host: a.example\r\n"
    assert not chunked.raw


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (get(), True),
        (get(b"Connection: close"), False),
        (get(b"Connection: Close, TE"), False),
        (get(b"Connection: keep-alive", b"Connection: close"), False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", False),
    ],
)
def test_keep_alive(data: bytes, *, expected: bool) -> None:
    assert head_of(data).keep_alive is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((b"Connection: Upgrade", b"Upgrade: WebSocket"), b"websocket"),
        ((b"Connection: upgrade", b"Upgrade: h2c"), b""),
        ((b"Connection: upgrade", b"Upgrade: h2c, websocket"), b"websocket"),
        ((b"Connection: upgrade", b"Upgrade: H2C"), b""),
        ((b"Connection: upgrade", b"Upgrade: a/1", b"Upgrade: b"), b"a/1, b"),
        ((b"Connection: upgrade", b"Upgrade: we b, (x), ok"), b"ok"),
        ((b"Upgrade: websocket",), b""),
        ((b"Connection: upgrade",), b""),
    ],
)
def test_upgrade(fields: tuple[bytes, ...], expected: bytes) -> None:
    head = head_of(get(*fields))
    assert head.upgrade == expected
    assert head.block == b"Host: a.example\r\n"


def test_upgrade_is_ignored_in_http_1_0() -> None:
    assert head_of(get(b"Connection: upgrade", b"Upgrade: x").replace(b"/1.1", b"/1.0")).upgrade == b""


def test_expect_continue() -> None:
    head = head_of(post(b"Expect: 100-Continue", b"Content-Length: 1"))
    assert head.expect_continue
    assert b"Expect" in head.block
    assert not head_of(post(b"Expect: 100-continue", b"Content-Length: 1").replace(b"/1.1", b"/1.0")).expect_continue


@pytest.mark.parametrize(("value", "expected"), [(b"trailers", True), (b"gzip, Trailers", True), (b"gzip", False)])
def test_te_trailers(value: bytes, *, expected: bool) -> None:
    assert head_of(get(b"TE: " + value)).te_trailers is expected


@pytest.mark.parametrize(
    ("data", "host", "raw"),
    [
        (get(target=b"http://A.example/x"), b"a.example", False),
        (b"GET http://a/x HTTP/1.0\r\n\r\n", b"a", False),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", b"a:1", False),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"a", True),
        (b"\r\n" + get(), b"a.example", False),
    ],
)
def test_rare_forms(data: bytes, host: bytes, *, raw: bool) -> None:
    head = head_of(data)
    assert (head.host, head.raw, head.size) == (host, raw, len(data))


def test_underscores_can_be_allowed_and_ours_go_all_the_same() -> None:
    allowed = Limits(underscore_names=1)
    head = head_of(get(b"X_User: root", b"weft_source: me"), allowed)
    assert head.block == b"Host: a.example\r\nX_User: root\r\n"


def test_limits_are_the_callers() -> None:
    data = get(b"A: b", b"C: d")
    assert head_of(data, Limits(header_count=3, head_bytes=len(data), target_bytes=1)).size == len(data)
    for limits, rule in (
        (Limits(header_count=2), "too_many_fields"),
        (Limits(head_bytes=len(data) - 1), "head_too_large"),
        (Limits(target_bytes=0), "target_too_long"),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            parse_request(data, limits)
        assert caught.value.detail == rule


def test_message_and_status_say_what_happened() -> None:
    with pytest.raises(RemoteProtocolError, match=r"LF without CR") as caught:
        parse_request(b"GET / HTTP/1.1\nHost: a\r\n\r\n", LIMITS)
    assert (caught.value.status, caught.value.detail) == (400, "bare_lf")


def test_a_secret_in_a_refused_head_is_not_repeated() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_request(get(b"Authorization: hunter2", b"X_Y: hunter2"), LIMITS)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("prefix", [b"GET /" + b"a" * 8000, b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_a_head_that_comes_byte_by_byte_costs_linear_time(prefix: bytes) -> None:
    """Ten times the bytes may cost fifty times at most: quadratic work would cost a hundred times and more."""

    def cost(count: int) -> float:
        best = float("inf")
        for _ in range(3):
            buffer = bytearray(prefix)
            began = time.perf_counter()
            searched = 0
            for _ in range(count):
                buffer += b"a"
                assert parse_request(buffer, Limits(target_bytes=1 << 20, head_bytes=1 << 20), searched) is None
                searched = len(buffer)
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(20_000) < 50 * cost(2_000)


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_bytes(rng: Random) -> None:
    data = mutated(REQUEST_SEEDS, rng)
    check_fast_equals_slow(data, None)
    check_connection(data, None, rng)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_read_or_refused_by_name(data: bytes) -> None:
    check_connection(b"GET / HTTP/1.1\r\nHost: a\r\n" + data, None, Random(0))
    check_connection(data, None, Random(0))
