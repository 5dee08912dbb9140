"""Names of identity files: one for each identity, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.identity import IdentityGrammarError, spiffe_id
from weft_contract.identity_layout import (
    identity_of_file_name,
    key_pair_file_name,
    roots_file_name,
    trust_domain_of_file_name,
)

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
SUBDOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


@given(LABEL, SUBDOMAIN)
def test_names_of_key_pairs_come_back(namespace: str, service_account: str) -> None:
    identity = spiffe_id("cluster.local", namespace, service_account)
    name = key_pair_file_name(identity)
    assert identity_of_file_name(name, "cluster.local") == identity
    assert "/" not in name
    assert not name.startswith(".")


def test_the_first_dot_ends_the_namespace() -> None:
    assert key_pair_file_name(spiffe_id("td", "shop", "api.v2")) == "shop.api.v2.pem"
    assert identity_of_file_name("shop.api.v2.pem", "td") == spiffe_id("td", "shop", "api.v2")


@pytest.mark.parametrize(
    "name", ["", ".pem", "shop.pem", "Shop.web.pem", "shop..web.pem", ".shop.web.pem", "shop/a.b.pem"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(IdentityGrammarError):
        identity_of_file_name(name, "td")


def test_names_of_bundles_come_back() -> None:
    assert roots_file_name("cluster.local") == "roots/cluster.local.pem"
    assert trust_domain_of_file_name("cluster.local.pem") == "cluster.local"
    for name in (".pem", "", "Cluster.pem", "a b.pem", "x" * 256 + ".pem"):
        with pytest.raises(IdentityGrammarError):
            trust_domain_of_file_name(name)
