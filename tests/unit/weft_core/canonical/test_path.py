"""Canonical paths: decoding once, dots, slashes, parameters; each CVE by its id."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_core.canonical import RuleName
from weft_core.canonical.path import canonical_path
from weft_core.errors import RemoteProtocolError
from weft_testing.http1_mutations import TARGET_SEEDS, mutated
from weft_testing.http1_properties import check_target

SAME = [
    b"/",
    b"/a",
    b"/a/",
    b"/a/b.c/d",
    b"/.well-known/x",
    b"/...",
    b"/..a",
    b"/a..",
    b"/A/b",
    b"/a*b",
    b"/a!$&'()*+,=:@b",
    b"/%20",
    b"/%25",
    b"/%C3%A9",
    b"/%E9",
    b"/%23%3F",
    b"/~a/_-.",
]
CHANGED = [
    (b"/a/./b", b"/a/b"),
    (b"/./a", b"/a"),
    (b"/a/.", b"/a/"),
    (b"/a/..", b"/"),
    (b"/a/../b", b"/b"),
    (b"/a/b/../../c", b"/c"),
    (b"/..", b"/"),
    (b"/../../a", b"/a"),
    (b"//", b"/"),
    (b"//a", b"/a"),
    (b"/a///b//", b"/a/b/"),
    (b"/a//../b", b"/a/b"),
    (b"//..//a", b"/a"),
    (b"/%2e/a", b"/a"),
    (b"/%2E%2e/a", b"/a"),
    (b"/a/.%2e/b", b"/b"),
    (b"/%61%2D%7e", b"/a-~"),
    (b"/%c3%a9", b"/%C3%A9"),
    (b"/%3a", b"/%3A"),
    (b'/"<>[]^`{|}', b"/%22%3C%3E%5B%5D%5E%60%7B%7C%7D"),
]


@pytest.mark.parametrize("path", SAME)
def test_canonical_paths_stay(path: bytes) -> None:
    assert canonical_path(path, keep_escaped_slashes=False) == (path, path)


@pytest.mark.parametrize(("path", "expected"), CHANGED)
def test_other_spellings_become_canonical(path: bytes, expected: bytes) -> None:
    assert canonical_path(path, keep_escaped_slashes=False) == (expected, expected)


@pytest.mark.parametrize(
    ("path", "seen", "forward"),
    [
        (b"/a;b", b"/a", b"/a;b"),
        (b"/a;b=c/d;e", b"/a/d", b"/a;b=c/d;e"),
        (b"/a;/b", b"/a/b", b"/a;/b"),
        (b"/a/;jsessionid=1", b"/a/", b"/a/;jsessionid=1"),
        (b"/;jsessionid=1", b"/", b"/;jsessionid=1"),
        (b"/a;x/../b", b"/b", b"/b"),
        (b"/a;%41", b"/a", b"/a;A"),
        (b"/a%3bb", b"/a%3Bb", b"/a%3Bb"),
    ],
)
def test_parameters_go_on_and_are_not_seen(path: bytes, seen: bytes, forward: bytes) -> None:
    assert canonical_path(path, keep_escaped_slashes=False) == (seen, forward)


REFUSED: list[tuple[bytes, RuleName]] = [
    (b"/a#b", "fragment"),
    (b"/a\\b", "backslash"),
    (b"/..\\a", "backslash"),
    (b"/a b", "bad_target"),
    (b"/\x00", "bad_target"),
    (b"/\xc3\xa9", "bad_target"),
    (b"/%", "bad_escape"),
    (b"/%4", "bad_escape"),
    (b"/%zz", "bad_escape"),
    (b"/%u002e", "bad_escape"),
    (b"/%%32%65", "bad_escape"),
    (b"/%00", "escaped_control"),
    (b"/a%0d%0ab", "escaped_control"),
    (b"/%7f", "escaped_control"),
    (b"/a%2fb", "escaped_slash"),
    (b"/a%5Cb", "escaped_slash"),
    (b"/..;/a", "dot_segment_parameters"),
    (b"/a/.;x=y/b", "dot_segment_parameters"),
    (b"/%2e%2e;/a", "dot_segment_parameters"),
    (b"/..%3b/a", "dot_segment_parameters"),
    (b"/;x/a", "empty_segment_parameters"),
    (b"/a/;/b", "empty_segment_parameters"),
    (b"/%c0%af", "overlong_utf8"),
    (b"/%C1%81", "overlong_utf8"),
    (b"/%e0%80%af", "overlong_utf8"),
    (b"/%F0%8F%BF%BF", "overlong_utf8"),
    (b"/%f8%80%80%80%af", "overlong_utf8"),
    (b"/%fc%80%80%80%80%af", "overlong_utf8"),
]


@pytest.mark.parametrize(("path", "rule"), REFUSED)
def test_refused(path: bytes, rule: RuleName) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        canonical_path(path, keep_escaped_slashes=False)
    assert (caught.value.detail, caught.value.status) == (rule, 400)


def test_latin_1_and_ordinary_utf_8_are_not_overlong() -> None:
    for path in (b"/%C3%80", b"/%C0a", b"/%E0%A0%80", b"/%F0%9F%98%80", b"/%C0"):
        assert canonical_path(path, keep_escaped_slashes=False) == (path, path)


def test_escaped_slashes_can_be_kept_as_data() -> None:
    assert canonical_path(b"/a%2fb/%2e%2e/c%5c", keep_escaped_slashes=True) == (b"/c%5C", b"/c%5C")
    assert canonical_path(b"/..%2fa", keep_escaped_slashes=True) == (b"/..%2Fa", b"/..%2Fa")


CVES: list[tuple[str, bytes, bytes | RuleName]] = [
    ("CVE-2021-31920-slashes", b"//admin", b"/admin"),
    ("CVE-2021-31920-escaped-slash", b"/x%2Fadmin", "escaped_slash"),
    ("CVE-2021-31920-escaped-backslash", b"/x%5Cadmin", "escaped_slash"),
    ("CVE-2021-29492", b"/something%2F..%2Fadmin", "escaped_slash"),
    ("CVE-2021-39156", b"/admin#x", "fragment"),
    ("CVE-2019-9901", b"/public/../admin", b"/admin"),
    ("CVE-2019-9901-escaped", b"/public/%2e%2e/admin", b"/admin"),
    ("CVE-2026-73551", b"/user/..;foo=bar/admin", "dot_segment_parameters"),
    ("CVE-2026-73553", b"/admin;x=y/action;foo=bar", b"/admin/action"),
    ("CVE-2026-73511", b"/x;y/admin", b"/x/admin"),
    ("CVE-2025-46821", b"/a*b", b"/a*b"),
    ("percent-00", b"/a%00", "escaped_control"),
    ("overlong-dots", b"/%c0%ae%c0%ae/a", "overlong_utf8"),
    ("double-encoding", b"/%252e%252e/admin", b"/%252e%252e/admin"),
    ("double-encoding-in-pieces", b"/%25%32%65", b"/%252e"),
    ("percent-u", b"/%u002e%u002e/admin", "bad_escape"),
]


@pytest.mark.parametrize(("path", "expected"), [case[1:] for case in CVES], ids=[case[0] for case in CVES])
def test_cve(path: bytes, expected: bytes | str) -> None:
    found: bytes | str
    try:
        found = canonical_path(path, keep_escaped_slashes=False)[0]
    except RemoteProtocolError as exc:
        found = exc.detail
    assert found == expected


@settings(max_examples=500, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_target(rng: Random) -> None:
    check_target(mutated(TARGET_SEEDS, rng))


SEGMENTS = st.sampled_from(
    [b"a", b"", b".", b"..", b"%2e", b"%2E.", b"a;b", b"..a", b"%41", b"%25", b"b.c", b"~", b"[x]"]
)


@given(st.lists(SEGMENTS, max_size=8))
def test_any_segments(segments: list[bytes]) -> None:
    check_target(b"/" + b"/".join(segments))


@given(st.lists(st.sampled_from([b"a", b"b", b".", b".."]), min_size=1, max_size=8))
def test_dots_are_removed_as_the_rfc_does_it(segments: list[bytes]) -> None:
    """RFC 3986 §5.2.4, word for word, as the reference."""
    rest, out = b"/" + b"/".join(segments), b""
    while rest:
        if rest.startswith(b"/./"):
            rest = rest[2:]
        elif rest == b"/.":
            rest = b"/"
        elif rest.startswith(b"/../"):
            rest, out = rest[3:], out.rpartition(b"/")[0]
        elif rest == b"/..":
            rest, out = b"/", out.rpartition(b"/")[0]
        else:
            end = rest.find(b"/", 1) if b"/" in rest[1:] else len(rest)
            out, rest = out + rest[:end], rest[end:]
    assert canonical_path(b"/" + b"/".join(segments), keep_escaped_slashes=False)[1] == out
