"""Grammars of the texts that rules compare with, in both directions."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.objects.check import text
from weft_contract.problems import Problem

_Check = Callable[[str, str], Iterator[Problem]]


def _errors(check: _Check, value: str) -> list[Problem]:
    return [problem for problem in check(value, "$") if not problem.warning]


def _warnings(check: _Check, value: str) -> list[Problem]:
    return [problem for problem in check(value, "$") if problem.warning]


@pytest.mark.parametrize(
    ("value", "core"), [("a", "a"), ("a*", "a"), ("*a", "a"), ("*", ""), ("*a*", "a*"), ("**", "*")]
)
def test_star_core(value: str, core: str) -> None:
    assert text.star_core(value) == core


@pytest.mark.parametrize("value", ["a", "a*", "*a", "*"])
def test_stars_at_an_end_are_taken(value: str) -> None:
    assert not list(text.star_problems(value, "$"))


@pytest.mark.parametrize("value", ["a*b", "*a*", "**", "a**", "*a*b"])
def test_stars_elsewhere_are_refused(value: str) -> None:
    assert _errors(text.star_problems, value)


@pytest.mark.parametrize(
    "value",
    [
        "cluster.local/ns/shop/sa/web",
        "spiffe://cluster.local/ns/shop/sa/web",
        "cluster.local/ns/shop/*",
        "*",
        "cluster.local/*",
    ],
)
def test_principals_are_taken(value: str) -> None:
    assert not list(text.principal_problems(value, "$"))


@pytest.mark.parametrize(
    "value",
    ["ns/shop/sa/web", "shop/web", "cluster.local/ns/shop/sa/", "cluster.local/ns/*/sa/web", "Cluster.local/ns/shop/sa/web",
     "spiffe://", "cluster.local/ns/shop/sa/web/", " cluster.local/ns/shop/sa/web", "*a*"],
)  # fmt: skip
def test_what_no_principal_can_be_is_refused(value: str) -> None:
    assert _errors(text.principal_problems, value)


@pytest.mark.parametrize("value", ["*/ns/shop/sa/web", "*web", "cluster.local/ns/shop*", "cluster.local*"])
def test_principals_that_match_more_than_meant_are_warned_of(value: str) -> None:
    assert _warnings(text.principal_problems, value)
    assert not _errors(text.principal_problems, value)


def test_namespaces() -> None:
    for value in ("shop", "shop-*", "*-prod", "*", "0"):
        assert not list(text.namespace_problems(value, "$"))
    for value in ("Shop", "a.b", "a/b", "a*b", "a" * 64, "a\n"):
        assert _errors(text.namespace_problems, value)


def test_service_accounts() -> None:
    for value in ("web", "shop/web", "shop/web.v1"):
        assert not list(text.service_account_problems(value, "$"))
    for value in ("", "/web", "shop/", "a/b/c", "shop/*", "web*", "Shop/web", "spiffe://a/ns/b/sa/c"):
        assert _errors(text.service_account_problems, value)


def test_networks() -> None:
    for value in ("10.0.0.0/8", "10.1.2.3", "fd00::/8", "::1", "0.0.0.0/0"):
        assert not list(text.network_problems(value, "$"))
    for value in ("10.0.0.0/33", "example.com", "10.0.0", "fe80::1%eth0", "10.0.0.0-10.0.0.9", ""):
        assert _errors(text.network_problems, value)
    (warning,) = text.network_problems("10.1.2.3/8", "$")
    assert warning.warning
    assert warning.remedy == "write 10.0.0.0/8"


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1), (65535, 65535), ("80", 80), ("00080", 80), (0, None), (65536, None), (-1, None), ("0", None), ("", None),
     ("http", None), ("80 ", None), ("+80", None), ("٨٠", None), ("123456", None)],
)  # fmt: skip
def test_ports(value: int | str, number: int | None) -> None:
    assert text.port_number(value) == number


def test_a_port_given_twice_is_warned_of() -> None:
    assert not list(text.port_problems((80, "81"), "$"))
    (problem,) = text.port_problems((80, "080"), "$")
    assert (problem.path, problem.warning) == ("$[1]", True)
    (error,) = text.port_problems(("x", 80), "$")
    assert (error.path, error.warning) == ("$[0]", False)


def test_methods() -> None:
    for value in ("GET", "PROPFIND", "*", "P*", "*T", "x-custom"):
        assert not list(text.method_problems(value, "$"))
    for value in ("G ET", "GET\r", "a/b", "G*T", "*E*"):
        assert _errors(text.method_problems, value)
    (warning,) = text.method_problems("get", "$")
    assert warning.warning
    assert warning.remedy == "write GET"


def test_hosts() -> None:
    for value in ("web.shop.svc.cluster.local", "WEB", "*.example.com", "web.*", "*", "10.0.0.1", "[fd00::1]", "a_b"):
        assert not list(text.host_problems(value, "$"))
    for value in ("http://web", "web/path", "web ", "wéb", "a*b", "user@web", "web.", "web?x"):
        assert _errors(text.host_problems, value)
    for value in ("web:8080", "web:*", "[fd00::1]:80"):
        assert _warnings(text.host_problems, value)
        assert not _errors(text.host_problems, value)


@pytest.mark.parametrize(
    "value",
    ["/", "/foo", "/foo/", "/foo*", "*.php", "*/items", "*", "/a%20b", "/a%2Ab*", "/a%C3%BC", "/a:b@c", "/...",
     "/shops/{*}", "/shops/{*}/items", "/{**}", "/a/{*}/b/{**}", "/{**}/end", "/.*", "/a/.*", "/a%2*"],
)  # fmt: skip
def test_paths_that_can_be_canonical_are_taken(value: str) -> None:
    assert not list(text.path_problems(value, "$"))


@pytest.mark.parametrize(
    "value",
    ["foo", "foo*", "/a*b", "*a*", "/a?b=c", "/a#b", "/a b", "/ü", "/a\\b", "/a\x00", "//", "/a//b", "/a/./b", "/a/../b", "/..",
     "/a/..", "/a%", "/a%2", "/a%zz", "/a%2f", "/a%2F", "/a%5C", "/a%00", "/a%61", "/a%7E", "/a%c3",
     "/a;b=c", "/a%0A", "/a%7F", "/{*}{**}", "/a{*}", "/{*}x",
     "/{name}", "/{", "/}", "{*}", "/{**}/{*}", "/{**}/a/{**}", "/a/{*}*", "/a*/{*}", "/a b/{*}", "/a//{*}", "/a/{***}", "/{}"],
)  # fmt: skip
def test_paths_that_never_match_are_refused(value: str) -> None:
    assert _errors(text.path_problems, value)


@given(st.text(alphabet="/ab.%2Ff{}*?#\\ ", max_size=12))
def test_a_taken_path_is_its_own_canonical_form(value: str) -> None:
    if not list(text.path_problems(value, "$")) and not set(value) & set("*{}"):
        assert value.startswith("/")
        assert "//" not in value
        assert not {".", ".."} & set(value.split("/"))


def test_the_remedy_of_a_path_says_what_to_write() -> None:
    (problem,) = text.path_problems("/käse", "$")
    assert problem.remedy == "write /k%C3%A4se"
    (problem,) = text.path_problems("/a%c3", "$")
    assert problem.remedy == "write %C3"
