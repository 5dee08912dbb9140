"""Comparisons of bytes: each kind in both directions, whatever the bytes are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.resources.text import TextKind, TextMatch
from weft_core.text import (
    SHOWN_CHARACTERS,
    TextSet,
    UncompilableError,
    compile_pattern,
    show_bytes,
    show_list,
    show_match,
    template_pattern,
)


@pytest.mark.parametrize(
    ("kind", "value", "yes", "no"),
    [
        ("exact", "/a", [b"/a"], [b"/A", b"/a/", b"", b"x/a"]),
        ("prefix", "/a", [b"/a", b"/ab", b"/a/b"], [b"x/a", b"", b"/A"]),
        ("suffix", ".com", [b".com", b"a.com"], [b".com/", b"com", b""]),
        ("present", "", [b"x", b"\xff"], [b""]),
        ("regex", "a.c", [b"abc", b"a\xffc", b"a\nc"], [b"abcd", b"xabc", b"ac"]),
        ("regex", "é+", ["é".encode()], [b"\xe9", b"e"]),
        ("template", "/foo/{*}", [b"/foo/bar", b"/foo/*", b"/foo/\xff"], [b"/foo", b"/foo/", b"/foo/a/b", b"/x/foo/a"]),
        ("template", "/foo/{**}", [b"/foo/", b"/foo/a", b"/foo/a/b"], [b"/foo", b"/foobar"]),
        ("template", "/foo/{**}/", [b"/foo/bar/", b"/foo//"], [b"/foo/bar", b"/foo/"]),
        ("template", "/foo/{*}/bar/{**}", [b"/foo/x/bar/", b"/foo/x/bar/y/z"], [b"/foo//bar/", b"/foo/x/bar"]),
        ("template", "/a.c/{*}", [b"/a.c/x"], [b"/abc/x"]),
    ],
)
def test_each_kind_matches_what_it_says(kind: TextKind, value: str, yes: list[bytes], no: list[bytes]) -> None:
    compiled = TextSet([TextMatch(kind=kind, value=value)])
    assert [text for text in yes if not compiled.matches(text)] == []
    assert [text for text in no if compiled.matches(text)] == []


def test_one_alternative_suffices() -> None:
    compiled = TextSet([TextMatch(value="a"), TextMatch(kind="prefix", value="b"), TextMatch(kind="regex", value="c+")])
    assert [compiled.matches(text) for text in (b"a", b"bx", b"ccc", b"ab")] == [True, True, True, False]


def test_case_is_folded_only_where_asked() -> None:
    for kind in ("exact", "prefix", "suffix", "regex"):
        match = TextMatch(kind=kind, value="Web")
        assert TextSet([match], fold_case=True).matches(b"web")
        assert not TextSet([match]).matches(b"web")


@pytest.mark.parametrize(
    "template",
    [
        "foo/{*}", "/*/baz/{*}", "/**/baz/{*}", "/{**}/foo/{*}", "/{**}/{**}", "/foo/{*}.txt", "/foo/x{*}", "/{a}",
        "/foo/}", "/foo/{***}", "/fo*o",
    ],
)  # fmt: skip
def test_a_broken_template_is_refused(template: str) -> None:
    with pytest.raises(UncompilableError, match="path template"):
        template_pattern(template)


@pytest.mark.parametrize("kind", ["prefix", "suffix", "regex"])
def test_an_empty_value_does_not_become_everything(kind: TextKind) -> None:
    with pytest.raises(UncompilableError, match="would match everything"):
        TextSet([TextMatch(kind=kind, value="")])


@pytest.mark.parametrize("pattern", ["(a", "(?=a)", r"\1", "a**", "((a{100}){100}){100}", r"(\w+ ?){1000}" * 60])
def test_what_is_not_re2_or_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(UncompilableError, match="is not RE2"):
        compile_pattern(pattern)


def test_a_pattern_that_blows_up_elsewhere_is_linear_here() -> None:
    assert compile_pattern("(a+)+").fullmatch(b"a" * 100_000 + b"!") is None


@given(st.binary(max_size=300))
def test_cve_2026_73552_every_byte_is_matched_by_a_dot(data: bytes) -> None:
    assert TextSet([TextMatch(kind="regex", value=".*")]).matches(data)


@given(st.binary(max_size=40), st.sampled_from(["exact", "prefix", "suffix"]), st.text(min_size=1, max_size=10))
def test_matching_is_total(data: bytes, kind: TextKind, value: str) -> None:
    expected = {
        "exact": data == value.encode(errors="surrogatepass"),
        "prefix": data.startswith(value.encode(errors="surrogatepass")),
        "suffix": data.endswith(value.encode(errors="surrogatepass")),
    }
    assert TextSet([TextMatch(kind=kind, value=value)]).matches(data) is expected[kind]


@given(st.binary(max_size=1000))
def test_shown_bytes_are_printable_ascii_of_bounded_length(data: bytes) -> None:
    shown = show_bytes(data)
    assert shown.isascii()
    assert shown == "" or shown.isprintable()
    assert len(shown) <= 4 * SHOWN_CHARACTERS + 3


def test_texts_are_shown_as_users_write_them() -> None:
    kinds: list[TextKind] = ["exact", "prefix", "suffix", "present", "template", "regex"]
    shown = [show_match(TextMatch(kind=kind, value="/a")) for kind in kinds]
    assert shown == ["/a", "/a*", "*/a", "*", "/a", "regex /a"]
    assert show_list(["a", "b", "c", "d", "e"]) == "a or b or c or 2 more"
    assert show_bytes(b"/a\r\n\xff b") == "/a\\x0d\\x0a\\xff b"
