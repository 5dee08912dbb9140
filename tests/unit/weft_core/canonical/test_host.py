"""Hosts in their comparable form, and agreement with what the HTTP/1.1 parser lets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_core.canonical import canonical_host
from weft_core.canonical import host as room
from weft_core.errors import RemoteProtocolError
from weft_core.http1 import parse_request
from weft_testing.http1_mutations import HOST_SEEDS
from weft_testing.http1_properties import check_host
from weft_testing.http1_reader import LIMITS


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"", b""),
        (b"a", b"a"),
        (b"A.Example", b"a.example"),
        (b"a.example:80", b"a.example"),
        (b"a.example.", b"a.example"),
        (b"a.example.:443", b"a.example"),
        (b"a:", b"a"),
        (b"my_svc.ns.svc.cluster.local:8080", b"my_svc.ns.svc.cluster.local"),
        (b"xn--bcher-kva.example", b"xn--bcher-kva.example"),
        (b"10.0.0.1:65535", b"10.0.0.1"),
        (b"[::1]", b"[::1]"),
        (b"[::1]:80", b"[::1]"),
        (b"[2001:DB8:0:0:0:0:0:1]", b"[2001:db8::1]"),
        (b"[::ffff:1.2.3.4]", b"[::ffff:102:304]"),
    ],
)
def test_comparable_form(host: bytes, expected: bytes) -> None:
    assert canonical_host(host) == expected


@pytest.mark.parametrize(
    "host",
    [b" ", b"a b", b"a@b", b"u:p@a", b"a/b", b"a?b", b"a#b", b"a\\b", b".", b"..", b".a", b"a..b", b"a..", b"a:b",
     b"a:80:80", b"a:65536", b"a:123456", b":80", b"::1", b"[::1", b"[]", b"[:::]", b"[::1%25eth0]", b"[v1.x]",
     b"[1.2.3.4]", b"[::1]x", b"a%2eb", b"a,b", b"a;b", b"a'b", b"a\x00", b"a\r\nX: y", b"\xc3\xa9", b"a" * 254],
)  # fmt: skip
def test_refused(host: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        canonical_host(host)
    assert (caught.value.detail, caught.value.status) == ("bad_host", 400)


@pytest.mark.parametrize("seed", HOST_SEEDS)
def test_seeds(seed: bytes) -> None:
    check_host(seed)


@given(st.binary(max_size=40) | st.text(alphabet="aA.-_:[]0f1%@/", max_size=20).map(str.encode))
def test_any_host_and_agreement_with_the_parser(host: bytes) -> None:
    check_host(host)
    try:
        canonical_host(host)
    except RemoteProtocolError:
        return
    if host:
        assert parse_request(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, LIMITS) is not None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    memory: dict[bytes, bytes] = {}
    monkeypatch.setattr(room, "_memory", memory)
    for number in range(room.MEMORY_ENTRIES * 2 + 10):
        canonical_host(b"h%d.example" % number)
        assert len(memory) <= room.MEMORY_ENTRIES
    long = b".".join([b"a" * 60] * 4) + b"." + b":" + b"1" * 5
    canonical_host(long)
    assert max(map(len, memory)) <= room.MEMORY_KEY_BYTES
