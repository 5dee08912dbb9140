"""What fields mean: lengths, codings, connection options, upgrades; each in both directions."""

import pytest

from weft_core.errors import RemoteProtocolError
from weft_core.http1.fields import (
    Special,
    connection_options,
    content_length,
    forwarded_lines,
    is_chunked,
    keeps_alive,
    list_items,
    upgrade_wanted,
)


def test_special_keeps_every_value_of_every_field() -> None:
    special = Special(
        [(b"HOST", b"a "), (b"host", b"b"), (b"TE", b"x"), (b"Content-Length", b"5\t"), (b"weft-x", b"y")]
    )
    assert (special.hosts, special.te, special.lengths, special.strip) == ((b"a", b"b"), (b"x",), (b"5",), True)
    assert not Special([(b"Host", b"a"), (b"Expect", b"x")]).strip


def test_list_items() -> None:
    assert list_items((b"A, b ,,\tc", b"", b"d")) == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize(("values", "expected"), [((), None), ((b"0",), 0), ((b"9007199254740992",), 1 << 53)])
def test_content_length(values: tuple[bytes, ...], expected: int | None) -> None:
    assert content_length(values) == expected


@pytest.mark.parametrize(
    "value", [b"", b"00", b"01", b"+1", b"-1", b" 1", b"1 ", b"1_0", b"0x1", b"1.0", b"1e3", b"9007199254740993"]
)
def test_bad_content_length(value: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        content_length((value,))
    assert caught.value.detail == "bad_content_length"


@pytest.mark.parametrize("value", [b"chunked", b" CHUNKED ", b"Chunked\t"])
def test_chunked(value: bytes) -> None:
    assert is_chunked((value,), (), 1)
    assert not is_chunked((), (b"5",), 1)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (b"gzip, chunked", 501),
        (b"a , b,chunked", 501),
        (b"gzip", 400),
        (b"chunked, gzip", 400),
        (b"chunked, chunked", 400),
        (b"identity, chunked", 400),
        (b", chunked", 400),
        (b"g zip, chunked", 400),
        (b"", 400),
    ],
)
def test_other_codings(value: bytes, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        is_chunked((value,), (), 1)
    assert caught.value.status == status


def test_connection_options() -> None:
    assert connection_options(()) == frozenset()
    assert connection_options((b"Keep-Alive",)) == {b"keep-alive"}
    assert connection_options((b"close, X-A", b"te")) == {b"close", b"x-a", b"te"}


@pytest.mark.parametrize("name", [b"Cookie", b"weft-source", b"WEFT_X", b"X-Forwarded-For", b"host", b"Via"])
def test_protected_options(name: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        connection_options((b"close, " + name,))
    assert caught.value.detail == "protected_connection_option"


def test_forwarded_lines() -> None:
    block = b"A: 1\r\nX-Hop: 2\r\nConnection: x-hop\r\nTE:\r\nTea: 3\r\nX-Hop:\r\n"
    assert forwarded_lines(block, frozenset({b"x-hop"})) == b"A: 1\r\nTea: 3\r\n"
    assert forwarded_lines(b"Upgrade: x\r\n", frozenset()) == b""
    assert forwarded_lines(b"A: \x85b\r\nX: \xff\r\n", frozenset({b"x"})) == b"A: \x85b\r\n"


def test_keeps_alive() -> None:
    assert keeps_alive(1, frozenset())
    assert not keeps_alive(1, frozenset({b"close"}))
    assert not keeps_alive(0, frozenset())
    assert keeps_alive(0, frozenset({b"keep-alive"}))


def test_upgrade_wanted() -> None:
    named = frozenset({b"upgrade"})
    assert upgrade_wanted((b"WebSocket",), named, 1) == b"websocket"
    assert upgrade_wanted((b"h2c", b"TLS/1.0, /x"), named, 1) == b"tls/1.0"
    assert upgrade_wanted((b"websocket",), frozenset(), 1) == b""
    assert upgrade_wanted((b"websocket",), named, 0) == b""
