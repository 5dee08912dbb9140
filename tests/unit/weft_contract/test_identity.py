"""The grammar of identities, in both directions, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.identity import IdentityGrammarError, SpiffeId, check_trust_domain, parse_spiffe_id, spiffe_id

_GOOD = "spiffe://cluster.local/ns/shop/sa/web"


def test_an_identity_is_read_and_written_back() -> None:
    identity = parse_spiffe_id(_GOOD)
    assert identity == SpiffeId("cluster.local", "shop", "web")
    assert str(identity) == _GOOD
    assert identity.principal == "cluster.local/ns/shop/sa/web"


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://a/ns/b/sa/c",
        "spiffe://a_b-c.d/ns/0/sa/9",
        "spiffe://" + "a" * 255 + "/ns/b/sa/c",
        "spiffe://a/ns/" + "b" * 63 + "/sa/c",
        "spiffe://a/ns/b/sa/" + ".".join(["c" * 60] * 4),
        "spiffe://a/ns/b/sa/build-bot.v2",
    ],
)
def test_identities_of_the_grammar_are_taken(uri: str) -> None:
    assert str(parse_spiffe_id(uri)) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "cluster.local/ns/shop/sa/web",
        "SPIFFE://cluster.local/ns/shop/sa/web",
        "https://cluster.local/ns/shop/sa/web",
        "spiffe:/cluster.local/ns/shop/sa/web",
        "spiffe://Cluster.local/ns/shop/sa/web",
        "spiffe:///ns/shop/sa/web",
        "spiffe://cluster.local",
        "spiffe://cluster.local/",
        "spiffe://cluster.local/ns/shop/sa",
        "spiffe://cluster.local/ns/shop/sa/",
        "spiffe://cluster.local/ns/shop/sa/web/",
        "spiffe://cluster.local/ns/shop/sa/web/x",
        "spiffe://cluster.local//ns/shop/sa/web",
        "spiffe://cluster.local/sa/shop/ns/web",
        "spiffe://cluster.local/ns/shop/sa/..",
        "spiffe://cluster.local/ns/./sa/web",
        "spiffe://cluster.local/ns/shop/sa/w%65b",
        "spiffe://cluster.local/ns/shop/sa/web\x00",
        "spiffe://cluster.local/ns/shop/sa/web\n",
        "spiffe://cluster.local\n/ns/shop/sa/web",
        "spiffe://cluster.local/ns/shop/sa/wéb",
        "spiffe://cluster.local/ns/Shop/sa/web",
        "spiffe://cluster.local/ns/shop/sa/Web",
        "spiffe://cluster.local/ns/-shop/sa/web",
        "spiffe://cluster.local/ns/shop/sa/web-",
        "spiffe://cluster.local/ns/sh.op/sa/web",
        "spiffe://cluster.local/ns/shop/sa/a..b",
        "spiffe://cluster.local/ns/" + "b" * 64 + "/sa/c",
        "spiffe://" + "a" * 256 + "/ns/b/sa/c",
        "spiffe://a/ns/b/sa/" + "c" * 254,
        "spiffe://a/ns/b/sa/" + "c" * 2048,
        "spiffe://cluster.local:443/ns/shop/sa/web",
        "spiffe://user@cluster.local/ns/shop/sa/web",
        "spiffe://cluster.local/ns/shop/sa/web?x",
        "spiffe://cluster.local/ns/shop/sa/web#x",
        " spiffe://cluster.local/ns/shop/sa/web",
    ],
)
def test_everything_else_is_refused(uri: str) -> None:
    with pytest.raises(IdentityGrammarError):
        parse_spiffe_id(uri)


@given(st.text(max_size=60))
def test_any_text_parses_to_itself_or_is_refused(text: str) -> None:
    for uri in (text, "spiffe://" + text, "spiffe://a/ns/" + text, "spiffe://a/ns/b/sa/" + text):
        try:
            assert str(parse_spiffe_id(uri)) == uri
        except IdentityGrammarError:
            pass


@given(st.integers(0, len(_GOOD) - 1), st.characters())
def test_one_changed_character_is_another_identity_or_none(index: int, character: str) -> None:
    changed = _GOOD[:index] + character + _GOOD[index + 1 :]
    try:
        assert (parse_spiffe_id(changed) == parse_spiffe_id(_GOOD)) == (changed == _GOOD)
    except IdentityGrammarError:
        assert changed != _GOOD


def test_parts_are_checked_when_an_identity_is_built() -> None:
    assert str(spiffe_id("cluster.local", "shop", "web")) == _GOOD
    for parts in (("", "shop", "web"), ("A", "shop", "web"), ("a", "", "web"), ("a", "b/c", "web"), ("a", "b", "c/d")):
        with pytest.raises(IdentityGrammarError):
            spiffe_id(*parts)


def test_trust_domains() -> None:
    assert check_trust_domain("a-b_c.d0") == "a-b_c.d0"
    for text in ("", "A", "a/b", "a b", "a\n", "ü", "a" * 256):
        with pytest.raises(IdentityGrammarError):
            check_trust_domain(text)
