"""The patterns: what each accepts, and that none goes back over what it read."""

import time

import pytest

from weft_core.http1.grammar import (
    FIND_SPECIAL,
    FORBIDDEN_TRAILERS,
    HOP_BY_HOP,
    IS_FIELD_LINES,
    IS_HOST,
    IS_LENGTH,
    IS_ORIGIN_FORM,
    IS_TOKEN,
    PROTECTED,
)


def test_token() -> None:
    for byte in range(256):
        expected = chr(byte) in "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        assert bool(IS_TOKEN(bytes([byte]))) is expected
    assert not IS_TOKEN(b"")


@pytest.mark.parametrize("target", [b"/", b"/a/b;c=d@e:f", b"/a?", b"/a?b\\c?d", b"/%zz", b'/"<>[]^`{|}'])
def test_origin_form(target: bytes) -> None:
    assert IS_ORIGIN_FORM(target)


@pytest.mark.parametrize("target", [b"", b"a", b"/#", b"/?#", b"/ ", b"/\\", b"/\x7f", b"/\x80", b"/a\n", b"?"])
def test_not_origin_form(target: bytes) -> None:
    assert not IS_ORIGIN_FORM(target)


@pytest.mark.parametrize("host", [b"a", b"A-b_c.d", b"a.", b"a:", b"a:80", b"[::1]", b"[::1]:80", b"1.2.3.4:65535"])
def test_host(host: bytes) -> None:
    assert IS_HOST(host)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b".",
        b".a",
        b"a..b",
        b"a b",
        b"a@b",
        b"a/b",
        b"a:b",
        b"a:1:2",
        b"::1",
        b"[::1",
        b"[]",
        b"a%41",
        b"a,b",
        b"a\xe9",
    ],
)
def test_not_host(host: bytes) -> None:
    assert not IS_HOST(host)


def test_length() -> None:
    assert IS_LENGTH(b"0")
    assert IS_LENGTH(b"1234567890123456")
    assert not IS_LENGTH(b"12345678901234567")


def test_field_lines() -> None:
    assert IS_FIELD_LINES(b"")
    assert IS_FIELD_LINES(b"A: b\r\nC:\xff\t \r\n")
    assert not IS_FIELD_LINES(b"A: b\r\n\r\n")


def test_special_fields_are_found_in_any_case_and_not_inside_others() -> None:
    names = (b"host", b"content-length", b"expect", *HOP_BY_HOP, b"weft-x", b"weft_y")
    for name in names:
        for spelling in (name, name.upper(), name.title()):
            assert FIND_SPECIAL(b"\n" + spelling + b": \t v \r\n") == [(spelling, b"v ")]
            assert FIND_SPECIAL(b"\nX-" + spelling + b": v\r\n") == []
            assert FIND_SPECIAL(b"\n" + spelling + b"x: v\r\n") == [] or spelling.lower().startswith(b"weft")
            assert FIND_SPECIAL(b"\nA: \t" + spelling + b": v\r\n") == []


def test_sets_hold_names_in_lower_case() -> None:
    for names in (PROTECTED, FORBIDDEN_TRAILERS):
        assert all(name == name.lower() for name in names)
    assert set(HOP_BY_HOP) < FORBIDDEN_TRAILERS


@pytest.mark.parametrize("piece", [b"A:", b"a", b"A: b\r\n", b":", b" ", b"A:b\r"])
def test_matching_is_linear(piece: bytes) -> None:
    """Twenty times the bytes may cost two hundred times at most; a pattern that went back would cost four hundred."""

    def cost(count: int) -> float:
        data = piece * count
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            IS_FIELD_LINES(data)
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(20_000) < 200 * max(cost(1_000), 1e-6)


@pytest.mark.parametrize("data", [b"A: b\r\nX:", b"A: b\r\nX: y", b"A: b\r\nX: y\r", b"A: b\r\nX", b"X:"])
def test_a_line_without_its_end_is_no_field_line(data: bytes) -> None:
    """Python before 3.11.5 took the middle of a failed round of a possessive group for its end."""
    assert IS_FIELD_LINES(data) is None


@pytest.mark.parametrize("host", [b"a..", b"a.b..", b"a.:", b"a..:80"])
def test_one_dot_may_end_a_host(host: bytes) -> None:
    assert (IS_HOST(host) is not None) == (host == b"a.:")


def test_a_name_longer_than_any_is_refused_in_linear_time() -> None:
    began = time.process_time()
    assert IS_HOST(b"a." * 100_000 + b"/") is None
    assert IS_FIELD_LINES(b"a:b\r\n" * 100_000 + b"x") is None
    assert time.process_time() - began < 1.0
