"""CVEs and attack classes whose pass is more than a verdict, each by its id; those that are a verdict stand in `http1_cases`."""

import pytest

from weft_core.errors import LocalProtocolError, RemoteProtocolError
from weft_core.http1 import field_line, parse_request, parse_response, request_bytes
from weft_testing.http1_cases import answer, get, post
from weft_testing.http1_reader import LIMITS, read

WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket")


@pytest.mark.parametrize("cve", ["CVE-2026-2833", "CVE-2026-73548", "CVE-2025-64763"])
def test_bytes_behind_an_upgrade_are_not_part_of_its_head(cve: str) -> None:
    """What comes behind the head is left in the buffer, for the session to hold back until the server said yes."""
    assert cve
    head = get(*WEBSOCKET)
    found = parse_request(head + b"GET /smuggled HTTP/1.1\r\n", LIMITS)
    assert found is not None
    assert (found.size, found.length, found.upgrade) == (len(head), 0, b"websocket")
    connect = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"
    found = parse_request(connect + b"GET /smuggled HTTP/1.1\r\n", LIMITS)
    assert found is not None
    assert (found.size, found.length) == (len(connect), 0)


def test_cve_2024_23326_only_101_switches() -> None:
    head = parse_response(answer(b"Content-Length: 5"), LIMITS, b"GET")
    assert head is not None
    assert (head.status, head.length, head.upgrade) == (200, 5, b"")


def test_cve_2026_26308_repeated_fields_are_never_joined() -> None:
    head = parse_request(get(b"X-Admin: true", b"x-admin: true"), LIMITS)
    assert head is not None
    assert head.header(b"x-admin") == [b"true", b"true"]


def test_cve_2026_73552_bytes_above_ascii_are_kept_as_they_are() -> None:
    head = parse_request(get(b"X-A: \xff\xfe\x80"), LIMITS)
    assert head is not None
    assert head.header(b"x-a") == [b"\xff\xfe\x80"]


def test_h2c_smuggling() -> None:
    """`Upgrade: h2c` never reaches a backend, whatever stands beside it."""
    for fields in (
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"),
        (b"Connection: upgrade", b"UPGRADE: H2C"),
        (b"Upgrade: h2c", b"HTTP2-Settings: AA"),
        (b"Connection: upgrade, http2-settings", b"Upgrade: h2c, websocket", b"HTTP2-Settings: AA"),
    ):
        head = parse_request(get(*fields), LIMITS)
        assert head is not None
        assert b"h2c" not in head.upgrade
        assert head.block == b"Host: a.example\r\n"


@pytest.mark.parametrize("name", [b"H2.CL", b"H2.TE", b"H2-CRLF", b"path-space"])
def test_downgrade_from_http_2(name: bytes) -> None:
    """What an HTTP/2 stream could carry in its fields does not become a second line or request of HTTP/1.1."""
    for evil in (b"a\r\nX: y", b"a\nb", b"a\x00b", b"a\rb"):
        with pytest.raises(LocalProtocolError):
            field_line(b"x-%b" % name.lower(), evil)
    for target in (b"/ HTTP/1.1\r\nX: y", b"/a b", b"/a\r\n\r\nGET /"):
        with pytest.raises(LocalProtocolError):
            request_bytes(b"GET", target, 1, b"")
    with pytest.raises(LocalProtocolError):
        request_bytes(b"GET / HTTP/1.1\r\nX:", b"/", 1, b"")


@pytest.mark.parametrize(
    ("prefix", "swallowed"),
    [
        (post(b"Content-Length: 6", b"Transfer-Encoding: chunked"), b"0\r\n\r\nG"),
        (post(b"Transfer-Encoding: chunked", b"Content-Length: 4"), b"5c\r\n"),
        (post(b"Transfer-Encoding: xchunked", b"Content-Length: 4"), b"0\r\n\r\n"),
        (post(b"Transfer-Encoding: chunked", b"Transfer-encoding: x"), b"0\r\n\r\n"),
        (post(b"Transfer-Encoding:\x0bchunked"), b"0\r\n\r\n"),
        (post(b"Transfer-Encoding: chunked\x00"), b"0\r\n\r\n"),
        (post(b"Content-Length: 4", b"Content-Length: 0"), b"abcd"),
    ],
    ids=["CL.TE", "TE.CL", "TE.TE-x", "TE.TE-two", "TE.TE-vt", "TE.TE-nul", "CL.CL"],
)
def test_smuggling_reaches_nobody(prefix: bytes, swallowed: bytes) -> None:
    """The first request is refused, so nothing of the connection is forwarded, the second request least of all."""
    reader = read([prefix + swallowed + get(target=b"/smuggled")])
    assert reader.refused is not None
    assert reader.messages == []


def test_t25_a_response_that_nobody_asked_for_is_seen() -> None:
    """Bytes behind a complete response are left unread: the session drops such a connection instead of reusing it."""
    data = answer(b"Content-Length: 2", body=b"ok")
    head = parse_response(data + answer(b"Content-Length: 0"), LIMITS, b"GET")
    assert head is not None
    assert head.size + head.length == len(data)


def test_underscore_twin_of_a_trusted_field() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_request(get(b"X_Forwarded_For: 1.2.3.4"), LIMITS)
    assert caught.value.detail == "underscore_in_name"
