"""Names of identity files: one for each identity, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.identity import IdentityGrammarError, SpiffeId, spiffe_id
from weft_contract.identity_layout import (
    key_pair_file_name,
    roots_file_name,
    trust_domain_of_file_name,
)

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
SUBDOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


IDENTITY = st.builds(spiffe_id, st.just("cluster.local"), LABEL, SUBDOMAIN)


@given(IDENTITY, IDENTITY)
def test_every_identity_has_a_name_of_its_own(one: SpiffeId, other: SpiffeId) -> None:
    assert (key_pair_file_name(one) == key_pair_file_name(other)) == (one == other)
    assert "/" not in key_pair_file_name(one)
    assert not key_pair_file_name(one).startswith(".")


def test_the_first_dot_ends_the_namespace() -> None:
    assert key_pair_file_name(spiffe_id("td", "shop", "api.v2")) == "shop.api.v2.pem"


def test_names_of_bundles_come_back() -> None:
    assert roots_file_name("cluster.local") == "roots/cluster.local.pem"
    assert trust_domain_of_file_name("cluster.local.pem") == "cluster.local"
    for name in (".pem", "", "Cluster.pem", "a b.pem", "x" * 256 + ".pem"):
        with pytest.raises(IdentityGrammarError):
            trust_domain_of_file_name(name)
