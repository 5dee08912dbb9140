"""Which way of writing rules is taken, given what works."""

import pytest

from weft_iptables.backends import BackendName, NoBackendError, Wanted, choose_backend
from weft_iptables.backends.choose import host_flavour

HOST: BackendName = "iptables-legacy" if host_flavour() == "legacy" else "iptables-nft"
OTHER: BackendName = "iptables-nft" if HOST == "iptables-legacy" else "iptables-legacy"


@pytest.mark.parametrize(
    ("wanted", "broken", "chosen"),
    [
        ("auto", set(), "nft"),
        ("auto", {"nft"}, HOST),
        ("auto", {"nft", HOST}, OTHER),
        ("iptables", set(), HOST),
        ("iptables", {HOST}, OTHER),
        ("nft", set(), "nft"),
        ("iptables-nft", {"nft", "iptables-legacy"}, "iptables-nft"),
        ("iptables-legacy", {"nft", "iptables-nft"}, "iptables-legacy"),
    ],
)
def test_the_first_that_works_is_taken(wanted: Wanted, broken: set[BackendName], chosen: BackendName) -> None:
    choice = choose_backend(wanted, lambda name: "broken" if name in broken else "")
    assert choice.name == chosen
    assert set(choice.rejected) <= broken


@pytest.mark.parametrize("wanted", ["auto", "iptables", "nft", "iptables-nft", "iptables-legacy"])
def test_where_nothing_works_every_reason_is_said(wanted: Wanted) -> None:
    tried: list[BackendName] = []

    def probe(name: BackendName) -> str:
        tried.append(name)
        return f"{name} lacks something"

    with pytest.raises(NoBackendError) as caught:
        choose_backend(wanted, probe)
    assert all(f"{name}: {name} lacks something" in str(caught.value) for name in tried)
    assert len(tried) == {"auto": 3, "iptables": 2}.get(wanted, 1)
