"""Detection: what resembles HTTP is HTTP, what only begins like it is not, and no answer is taken back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.limits import Limits
from weft_core.detect import Detected, Kind, is_tunnel, sniff
from weft_core.http1 import parse_request
from weft_testing.hellos import alpn, message, real_hello, records
from weft_testing.http1_cases import LEGAL
from weft_testing.http1_properties import check_sniff
from weft_testing.http1_reader import LIMITS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def kind_of(data: bytes, limits: Limits = LIMITS) -> Kind | None:
    found = sniff(data, limits)
    return None if found is None else found.kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GET /", "http1"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n", "http1"),
        (b"GET http://a/ HTTP/1.1\r\n", "http1"),
        (b"get /a HTTP/1.1\r\n", "http1"),
        (b"M-SEARCH * HTTP/1.1\r\n", "http1"),
        (b"OPTIONS * HTTP/1.1\r\n", "http1"),
        (b"CONNECT a:443 HTTP/1.1\r\n", "http1"),
        (b"FOO bar HTTP/9.9\r\n", "http1"),
        (b"\r\nGET /", "http1"),
        (b"\r\n\r\n\r\nGET /", "http1"),
        (b"\nGET /", "http1"),
        (b"GET / HTTP/1.1\n", "http1"),
        (b"GET  /a", "http1"),
        (b"GET\t/a", "http1"),
        (b"FOO  bar \t HTTP/1.1\n", "http1"),
        (b"foo /x http/1.1\r\n", "http1"),
        (b"GET /\r\n", "http1"),
        (b"PRI * HTTP/2.0\r\n\r\nXX", "http1"),
        (PREFACE, "http2"),
        (PREFACE + b"\x00\x00\x00\x04", "http2"),
        (b"\x00", "opaque"),
        (b"\xff\xfe", "opaque"),
        (b"SSH-2.0-OpenSSH_9\r\n", "opaque"),
        (b'CONNECT {"verbose":false}\r\n', "opaque"),
        (b"PING\r\n", "opaque"),
        (b"*1\r\n$4\r\nPING\r\n", "opaque"),
        (b"GET foo\r\n", "opaque"),
        (b"get /x\r\n", "opaque"),
        (b"set key 0 0 5\r\n", "opaque"),
        (b"OPTIONS * RTSP/1.0\r\n", "opaque"),
        (b"REGISTER sip:a SIP/2.0\r\n", "opaque"),
        (b"EHLO a.example\r\n", "opaque"),
        (b"\x16\x02", "opaque"),
        (b"\x16\x03\x01\x00\x00", "opaque"),
        (b"a" * 33, "opaque"),
        (b'{"a": 1}', "opaque"),
        (b" GET / HTTP/1.1\r\n", "opaque"),
        (b"", None),
        (b"G", None),
        (b"GET", None),
        (b"GET ", None),
        (b"GET f", None),
        (b"CONNECT {", None),
        (b"CONNECT a:443 HTTP/1.1", None),
        (b"\r\n", None),
        (PREFACE[:-1], None),
        (b"\x16", None),
        (b"\x16\x03\x01\x02", None),
        (b"a" * 32, None),
    ],
)
def test_kinds(data: bytes, kind: Kind | None) -> None:
    assert kind_of(data) == kind
    assert sniff(bytearray(data), LIMITS) == sniff(memoryview(data), LIMITS) == sniff(data, LIMITS)


def test_tls_with_its_names() -> None:
    found = sniff(real_hello(("h2",)), LIMITS)
    assert found is not None
    assert (found.kind, found.hello and found.hello.sni, found.hello and found.hello.alpn) == (
        "tls",
        "a.example",
        (b"h2",),
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((b"weft/1",), True),
        ((b"weft/1", b"h2"), False),
        ((b"h2",), False),
        ((b"weft/2",), False),
        ((b"WEFT/1",), False),
    ],
)
def test_a_tunnel_offers_one_protocol(names: tuple[bytes, ...], *, expected: bool) -> None:
    found = sniff(records(message(alpn(*names))), LIMITS)
    assert found is not None
    assert is_tunnel(found) is expected


def test_what_is_not_tls_is_no_tunnel() -> None:
    assert not is_tunnel(Detected("http1"))
    assert not is_tunnel(Detected("opaque"))
    found = sniff(records(message()), LIMITS)
    assert found is not None
    assert not is_tunnel(found)


def test_an_endless_line_is_decided() -> None:
    limits = Limits(target_bytes=100)
    assert kind_of(b"FOO " + b"a" * 159, limits) is None
    assert kind_of(b"FOO " + b"a" * 160, limits) == "opaque"
    assert kind_of(b"FOO /" + b"a" * 160, limits) == "http1"
    assert kind_of(b"\r\n" * 100, limits) == "opaque"


def test_a_large_hello_is_opaque() -> None:
    assert kind_of(records(message(alpn(b"a"))), Limits(client_hello_bytes=10)) == "opaque"


@pytest.mark.parametrize("case", LEGAL, ids=lambda case: case.id)
def test_what_the_parser_accepts_is_http1(case: object) -> None:
    data = getattr(case, "data", b"")
    assert parse_request(data, LIMITS) is not None
    assert kind_of(data) == "http1"


@settings(deadline=None)
@given(
    st.binary(max_size=60)
    | st.binary(max_size=30).map(lambda tail: b"GET " + tail)
    | st.binary(max_size=30).map(lambda tail: b"\x16\x03\x01\x00\x20\x01" + tail)
    | st.binary(max_size=30).map(lambda tail: PREFACE[:10] + tail)
    | st.lists(st.sampled_from([b"GET", b" ", b"/", b"\r\n", b"HTTP/1.1", b"\n", b"x", b"\t"])).map(b"".join)
)
def test_any_bytes_get_an_answer_that_stays(data: bytes) -> None:
    check_sniff(data)


@pytest.mark.parametrize(("letters", "kind"), [(32, "http1"), (33, "opaque"), (60, "opaque")])
def test_a_first_word_that_is_too_long_for_a_method_is_one_in_every_cut(letters: int, kind: str) -> None:
    line = b"M" * letters + b" / HTTP/1.1\r\n"
    found = [sniff(line[:end], LIMITS) for end in range(1, len(line) + 1)]
    assert {answer.kind for answer in found if answer is not None} == {kind}
    assert found[-1] is not None
