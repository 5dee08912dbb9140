"""Targets in their four forms, and a memory that strangers cannot grow."""

import pytest

from weft_core.canonical import Target, canonical_target
from weft_core.canonical import target as room
from weft_core.errors import RemoteProtocolError


def rule_of(target: bytes, method: bytes = b"") -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        canonical_target(target, method)
    return caught.value.detail


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/", Target("origin", b"/", b"", b"/")),
        (b"/a?b=c&d", Target("origin", b"/a", b"b=c&d", b"/a?b=c&d")),
        (b"/a?", Target("origin", b"/a", b"", b"/a?")),
        (b"/a/../b?c/../d//%2e%2f", Target("origin", b"/b", b"c/../d//%2e%2f", b"/b?c/../d//%2e%2f")),
        (b"/a;x?y", Target("origin", b"/a", b"y", b"/a;x?y")),
        (b"/a?b?c\\", Target("origin", b"/a", b"b?c\\", b"/a?b?c\\")),
        (b"http://a.example/b/../c?d", Target("absolute", b"/c", b"d", b"/c?d")),
        (b"HTTPS://A:443", Target("absolute", b"/", b"", b"/")),
        (b"http://[::1]:80?x", Target("absolute", b"/", b"x", b"/?x")),
    ],
)
def test_forms(target: bytes, expected: Target) -> None:
    assert canonical_target(target) == expected
    assert canonical_target(target, b"GET") == expected


def test_forms_that_depend_on_the_method() -> None:
    assert canonical_target(b"*", b"OPTIONS") == Target("asterisk", b"*", b"", b"*")
    assert canonical_target(b"http://a", b"OPTIONS") == Target("absolute", b"*", b"", b"*")
    assert canonical_target(b"http://a/", b"OPTIONS") == Target("absolute", b"/", b"", b"/")
    assert canonical_target(b"a:443", b"CONNECT") == Target("authority", b"", b"", b"a:443")
    assert canonical_target(b"[::1]:443", b"CONNECT") == Target("authority", b"", b"", b"[::1]:443")


@pytest.mark.parametrize(
    ("target", "method", "rule"),
    [
        (b"", b"GET", "bad_target"),
        (b"*", b"", "bad_target"),
        (b"*", b"GET", "bad_target"),
        (b"a:443", b"", "bad_target"),
        (b"a", b"CONNECT", "bad_target"),
        (b"a:", b"CONNECT", "bad_target"),
        (b"a b:1", b"CONNECT", "bad_host"),
        (b"?x", b"GET", "bad_target"),
        (b"a/b", b"GET", "bad_target"),
        (b"http:/a", b"GET", "bad_target"),
        (b"ftp://a/", b"GET", "bad_target"),
        (b"http://", b"GET", "bad_target"),
        (b"http://u@a/", b"GET", "bad_host"),
        (b"http://a\\b/", b"GET", "bad_host"),
        (b"http://a/#b", b"GET", "fragment"),
        (b"#", b"GET", "fragment"),
        (b"/?#", b"GET", "fragment"),
        (b"/? ", b"GET", "bad_target"),
        (b"/?\xc3\xa9", b"GET", "bad_target"),
        (b"/?\x00", b"GET", "bad_target"),
        (b"/a?b\r\nX: y", b"GET", "bad_target"),
    ],
)  # fmt: skip
def test_refused(target: bytes, method: bytes, rule: str) -> None:
    assert rule_of(target, method) == rule


@pytest.mark.parametrize("target", [b"grpc.Service/Method", b"Service/Method", b".", b"./a", b"%2fa"])
def test_cve_2026_33186_a_path_without_slash(target: bytes) -> None:
    """An HTTP/2 `:path` that passes rules on `/Service/Method` because it lacks the slash."""
    assert rule_of(target, b"POST") == "bad_target"


def test_kept_slashes_have_a_memory_of_their_own() -> None:
    assert canonical_target(b"/k%2fk", keep_escaped_slashes=True).forward == b"/k%2Fk"
    assert rule_of(b"/k%2fk") == "escaped_slash"
    assert canonical_target(b"http://a/k%2fk?x", keep_escaped_slashes=True).forward == b"/k%2Fk?x"


def test_what_was_read_once_is_remembered() -> None:
    first = canonical_target(b"/remembered/../x")
    assert canonical_target(b"/remembered/../x") is first
    assert canonical_target(b"/remembered/../x?q=1") == Target("origin", b"/x", b"q=1", b"/x?q=1")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    memory: dict[bytes, Target] = {}
    monkeypatch.setattr(room, "_memory", memory)
    for number in range(room.MEMORY_ENTRIES * 2 + 10):
        canonical_target(b"/hostile/%d" % number)
        canonical_target(b"/same?%d" % number)
        assert len(memory) <= room.MEMORY_ENTRIES
    assert b"/hostile/%d" % number in memory
    canonical_target(b"/" + b"a" * room.MEMORY_KEY_BYTES)
    assert max(map(len, memory)) <= room.MEMORY_KEY_BYTES
    assert not any(b"?" in key for key in memory)
