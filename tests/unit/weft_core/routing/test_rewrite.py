"""Edits of heads and redirects, by the tables of the Gateway API; nothing else in a head moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.resources import Backend, HttpRule
from weft_contract.resources.route import Filters, HeaderModifier, PathModifier, Redirect, Rewrite
from weft_core.routing import Forward, RedirectTo, apply_request, apply_response, compile_route, redirect_response
from weft_core.text import UncompilableError
from weft_testing.decisions import request
from weft_testing.routes import http_route, leads, match, router

BLOCK = b"Host: web\r\nX-A: 1\r\nx-b: 2\r\nX-A: 3\r\nAccept: */*\r\n"


def forward(filters: Filters, path: str = "/", backend: Filters | None = None) -> Forward:
    to = (Backend(service="shop/v1", port=80, filters=backend or Filters()),)
    outcome = router(http_route(leads(match(path), to=to, filters=filters))).route(request("GET /foo"), 0)
    assert isinstance(outcome, Forward)
    return outcome


def edited(modifier: HeaderModifier, block: bytes = BLOCK) -> bytes:
    return apply_request(forward(Filters(request_headers=modifier)), b"/foo", block, b"web")[1]


# -- header fields ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modifier", "expected"),
    [
        (HeaderModifier(set=(("x-a", "9"),)), b"Host: web\r\nx-a: 9\r\nx-b: 2\r\nAccept: */*\r\n"),
        (HeaderModifier(set=(("X-New", "9"),)), BLOCK + b"X-New: 9\r\n"),
        (HeaderModifier(add=(("x-a", "9"),)), BLOCK + b"x-a: 9\r\n"),
        (HeaderModifier(add=(("x-a", "9"), ("x-c", "8"))), BLOCK + b"x-a: 9\r\nx-c: 8\r\n"),
        (HeaderModifier(remove=("X-a",)), b"Host: web\r\nx-b: 2\r\nAccept: */*\r\n"),
        (HeaderModifier(remove=("x-missing",)), BLOCK),
        (HeaderModifier(set=(("x-a", "9"),), remove=("X-A",)), b"Host: web\r\nx-b: 2\r\nAccept: */*\r\n"),
        (HeaderModifier(add=(("x-c", "9"),), remove=("X-C",)), BLOCK),
        (HeaderModifier(set=(("x-c", "1"),), add=(("x-c", "2"),)), BLOCK + b"x-c: 1\r\nx-c: 2\r\n"),
        (HeaderModifier(set=(("x-b", "caf\u00e9"),)), BLOCK.replace(b"x-b: 2", b"x-b: caf\xc3\xa9")),
        (HeaderModifier(set=(("x-b", ""),)), BLOCK.replace(b"x-b: 2", b"x-b: ")),
    ],
)
def test_set_add_remove(modifier: HeaderModifier, expected: bytes) -> None:
    assert edited(modifier) == expected


def test_an_empty_block_stays_one() -> None:
    assert edited(HeaderModifier(remove=("x-a",)), b"") == b""
    assert edited(HeaderModifier(add=(("x-a", "1"),)), b"") == b"x-a: 1\r\n"


@given(st.lists(st.sampled_from([b"X-A: 1", b"x-b:2", b"Accept:  */*", b"x-c: a:b"]), max_size=8))
def test_other_lines_keep_their_bytes_and_order(lines: list[bytes]) -> None:
    block = b"".join(line + b"\r\n" for line in lines)
    result = edited(HeaderModifier(set=(("x-a", "9"),), remove=("x-b",)), block)
    kept = [line for line in lines if line[:3].lower() not in {b"x-a", b"x-b"}]
    assert [line for line in result.split(b"\r\n") if line and line[:3] != b"x-a"] == kept
    assert result.count(b"x-a: 9\r\n") == 1
    assert result.endswith(b"\r\n")


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "TE", "Upgrade", "weft-source"])
def test_what_frames_or_identifies_a_message_cannot_be_edited(name: str) -> None:
    for modifier in (
        HeaderModifier(set=((name, "1"),)),
        HeaderModifier(add=((name, "1"),)),
        HeaderModifier(remove=(name,)),
    ):
        with pytest.raises(UncompilableError, match="cannot be changed by a route"):
            forward(Filters(request_headers=modifier))
        with pytest.raises(UncompilableError, match="cannot be changed by a route"):
            forward(Filters(response_headers=modifier))


@pytest.mark.parametrize(
    "modifier",
    [
        HeaderModifier(set=(("x a", "1"),)),
        HeaderModifier(set=(("", "1"),)),
        HeaderModifier(set=(("x-a", "1\r\nEvil: 1"),)),
        HeaderModifier(add=(("x-a", "1\x00"),)),
        HeaderModifier(remove=("x:a",)),
        HeaderModifier(add=(("host", "a"),)),
        HeaderModifier(remove=("Host",)),
        HeaderModifier(set=(("Host", "a b"),)),
    ],
)
def test_names_and_values_that_are_none_are_refused(modifier: HeaderModifier) -> None:
    with pytest.raises(UncompilableError):
        forward(Filters(request_headers=modifier))


def test_the_rule_comes_before_the_backend() -> None:
    rule = Filters(request_headers=HeaderModifier(set=(("x-a", "rule"),)))
    backend = Filters(request_headers=HeaderModifier(set=(("x-a", "backend"),)))
    assert b"x-a: backend\r\n" in apply_request(forward(rule, backend=backend), b"/foo", BLOCK, b"web")[1]


def test_responses_are_changed_by_the_backend_and_then_by_the_rule() -> None:
    rule = Filters(response_headers=HeaderModifier(set=(("x-a", "rule"),)))
    backend = Filters(response_headers=HeaderModifier(set=(("x-a", "backend"),), add=(("Set-Cookie", "a=b; Path=/"),)))
    made = forward(rule, backend=backend)
    assert apply_response(made, b"X-A: app\r\n") == b"x-a: rule\r\nSet-Cookie: a=b; Path=/\r\n"
    assert apply_request(made, b"/foo", BLOCK, b"web") == (b"/foo", BLOCK, b"web")


def test_a_response_has_no_host() -> None:
    with pytest.raises(UncompilableError, match="no Host"):
        forward(Filters(response_headers=HeaderModifier(set=(("Host", "a"),))))


def test_without_filters_the_very_same_bytes_go_on() -> None:
    target, block, host = apply_request(forward(Filters()), b"/foo", BLOCK, b"web")
    assert block is BLOCK
    assert (target, host) == (b"/foo", b"web")
    assert apply_response(forward(Filters()), BLOCK) is BLOCK


# -- path and host ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "prefix", "new", "expected"),
    [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
    ],
)
def test_replacing_a_prefix(path: str, prefix: str, new: str, expected: str) -> None:
    made = forward(Filters(rewrite=Rewrite(path=PathModifier(kind="prefix", value=new))), prefix)
    for query in ("", "?a=1?b&c=/x"):
        target = (path + query).encode()
        assert apply_request(made, target, BLOCK, b"web")[0] == (expected + query).encode()


def test_replacing_the_whole_path_keeps_the_query() -> None:
    made = forward(Filters(rewrite=Rewrite(path=PathModifier(kind="full", value="/new"))))
    assert apply_request(made, b"/foo/bar?q=1", BLOCK, b"web")[0] == b"/new?q=1"
    assert apply_request(made, b"*", BLOCK, b"web")[0] == b"*"


def test_replacing_the_host_changes_the_field_too() -> None:
    for filters in (
        Filters(rewrite=Rewrite(hostname="one.example.org")),
        Filters(request_headers=HeaderModifier(set=(("Host", "one.example.org"),))),
    ):
        target, block, host = apply_request(forward(filters), b"/foo", BLOCK, b"web")
        assert (target, host) == (b"/foo", b"one.example.org")
        assert block == BLOCK.replace(b"Host: web", b"Host: one.example.org")


@pytest.mark.parametrize("value", ["new", "/a?b", "/a#b", "/a b", "/a\r\n", "//\u00e9", ""])
def test_a_path_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(UncompilableError, match="is not an absolute path"):
        forward(Filters(rewrite=Rewrite(path=PathModifier(kind="full", value=value))))


@pytest.mark.parametrize("path", ["=/foo", "~/foo"])
def test_a_prefix_can_only_be_replaced_where_one_was_matched(path: str) -> None:
    with pytest.raises(UncompilableError, match="path prefix"):
        compile_route(
            http_route(
                leads(match(path), filters=Filters(rewrite=Rewrite(path=PathModifier(kind="prefix", value="/x"))))
            )
        )


# -- redirects ----------------------------------------------------------------------------------------------------


def location(
    redirect: Redirect,
    *,
    prefix: str = "/",
    target: bytes = b"/foo/bar?q=1",
    host: bytes = b"web.shop",
    port: int = 80,
    scheme: str = "http",
) -> str:
    rule = HttpRule(matches=(match(prefix),), filters=Filters(redirect=redirect))
    outcome = router(http_route(rule)).route(request("GET /foo/bar"), 0)
    assert isinstance(outcome, RedirectTo)
    response = redirect_response(outcome, target=target, host=host, port=port, scheme=scheme)
    assert response.status == redirect.status
    return response.location.decode()


@pytest.mark.parametrize(
    ("redirect", "port", "scheme", "expected"),
    [
        (Redirect(), 80, "http", "http://web.shop/foo/bar?q=1"),
        (Redirect(), 8080, "http", "http://web.shop:8080/foo/bar?q=1"),
        (Redirect(), 443, "https", "https://web.shop/foo/bar?q=1"),
        (Redirect(hostname="example.org"), 80, "http", "http://example.org/foo/bar?q=1"),
        (Redirect(hostname="example.org", status=301), 8080, "http", "http://example.org:8080/foo/bar?q=1"),
        (Redirect(scheme="https"), 80, "http", "https://web.shop/foo/bar?q=1"),
        (Redirect(scheme="https"), 8080, "http", "https://web.shop/foo/bar?q=1"),
        (Redirect(scheme="http"), 8443, "https", "http://web.shop/foo/bar?q=1"),
        (Redirect(scheme="https", port=8443), 80, "http", "https://web.shop:8443/foo/bar?q=1"),
        (Redirect(scheme="https", port=443), 80, "http", "https://web.shop/foo/bar?q=1"),
        (Redirect(scheme="http", port=443), 80, "http", "http://web.shop:443/foo/bar?q=1"),
        (Redirect(port=8083), 80, "http", "http://web.shop:8083/foo/bar?q=1"),
        (Redirect(port=80), 8080, "http", "http://web.shop/foo/bar?q=1"),
        (Redirect(hostname="example.org", port=8083), 80, "http", "http://example.org:8083/foo/bar?q=1"),
    ],
)
def test_location_port_and_scheme(redirect: Redirect, port: int, scheme: str, expected: str) -> None:
    assert location(redirect, port=port, scheme=scheme) == expected


@pytest.mark.parametrize(
    ("modifier", "expected"),
    [
        (PathModifier(kind="full", value="/new"), "http://web.shop/new?q=1"),
        (PathModifier(kind="prefix", value="/x"), "http://web.shop/x/bar?q=1"),
        (PathModifier(kind="prefix", value=""), "http://web.shop/bar?q=1"),
    ],
)
def test_location_path(modifier: PathModifier, expected: str) -> None:
    assert location(Redirect(path=modifier), prefix="/foo") == expected


def test_location_of_odd_requests() -> None:
    assert location(Redirect(), target=b"*") == "http://web.shop/"
    assert location(Redirect(), host=b"fd00::1", target=b"/") == "http://[fd00::1]/"
    assert location(Redirect(), host=b"[fd00::1]", target=b"/", port=8080) == "http://[fd00::1]:8080/"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_all_redirect_statuses(status: int) -> None:
    assert location(Redirect(status=status), target=b"/") == "http://web.shop/"
