"""Texts to comparisons, and that what the checks let through is what the data plane can meet and compile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.objects.check.text import host_problems, path_problems
from weft_contract.resources import TextMatch
from weft_core.canonical import canonical_target
from weft_core.errors import RemoteProtocolError
from weft_core.text import TextSet
from weft_operator.compile import text


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("a", TextMatch(value="a")),
        ("a*", TextMatch(kind="prefix", value="a")),
        ("*a", TextMatch(kind="suffix", value="a")),
        ("*", TextMatch(kind="present")),
    ],
)
def test_star_forms(value: str, match: TextMatch) -> None:
    assert text.star_form(value) == match


def test_the_other_forms() -> None:
    assert text.principals(["spiffe://a/*", "a/ns/b/sa/c"]) == (
        TextMatch(kind="prefix", value="a/"),
        TextMatch(value="a/ns/b/sa/c"),
    )
    assert text.hosts(["*.A.example"]) == (TextMatch(kind="suffix", value=".a.example"),)
    assert text.paths(["/a/{*}", "/b*"]) == (
        TextMatch(kind="template", value="/a/{*}"),
        TextMatch(kind="prefix", value="/b"),
    )
    assert text.networks(["10.1.2.3/8", "::1"]) == ("10.0.0.0/8", "::1/128")
    assert text.accounts(["web", "other/api"], "shop") == ("shop/web", "other/api")


_PATHS = st.text(alphabet="/aZ.~%2Fe4;:@&=+$,!'()", max_size=14).map(lambda tail: "/" + tail)


@given(_PATHS)
def test_an_exact_path_that_is_taken_is_one_that_requests_can_have(value: str) -> None:
    # A rule on a path that no canonical request has would be a rule that never matches: for a DENY, a hole.
    if not list(path_problems(value, "$")):
        assert canonical_target(value.encode(), b"GET").path == value.encode()


@given(_PATHS)
def test_an_exact_path_that_is_refused_is_one_that_no_request_can_have(value: str) -> None:
    if list(path_problems(value, "$")):
        try:
            target = canonical_target(value.encode(), b"GET")
        except RemoteProtocolError:
            return
        assert target.path != value.encode()


@given(st.text(alphabet="/a{}*.", max_size=10))
def test_a_path_that_is_taken_compiles(value: str) -> None:
    if not list(path_problems(value, "$")):
        TextSet(text.paths([value]))


@given(st.text(alphabet="aA.*:8[]-", min_size=1, max_size=8))
def test_a_host_that_is_taken_compiles(value: str) -> None:
    if not list(host_problems(value, "$")):
        TextSet(text.hosts([value]), fold_case=True)
