"""Services by original destination, pods by address, and changes: incremental equals from scratch."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.resources import Endpoint, Resource, Service, resource_key
from weft_core.routing import (
    Network,
    PodEntry,
    ServiceEntry,
    ServiceTable,
    UndeclaredPort,
    canonical_address,
    change_services,
    check_network,
)
from weft_core.text import UncompilableError
from weft_testing.routes import endpoint, endpoints, peers, service


def table(*resources: Network) -> ServiceTable:
    after: dict[str, Resource] = {resource_key(resource): resource for resource in resources}
    return change_services(ServiceTable(), {}, after, list(after))


WEB = service("web", "10.96.0.1", "fd96::1", ports=(80, 90))
A, B = endpoint("10.1.0.1", account="web"), endpoint("10.1.0.2", account="web")
KNOWN = table(
    WEB,
    endpoints("web", A, B),
    endpoints("web", endpoint("10.1.0.1", 9090, "web"), port=90),
    service("db", "10.96.0.2", ports=(5432,)),
    endpoints("db", endpoint("192.0.2.1", 5432), port=5432),
    service("headless", ports=(7000,)),
    endpoints("headless", endpoint("10.1.0.3", 7000, "peer"), endpoint("fd10::3", 7000, "peer"), port=7000),
    service("other", "10.96.0.3"),
    endpoints("other", B),
    peers(endpoint("10.1.0.9", 0, "job"), endpoint("fd10::9", 0, "job")),
)


def entry(address: str, port: int) -> ServiceEntry:
    found = KNOWN.lookup(address, port)
    assert isinstance(found, ServiceEntry)
    return found


def pod(address: str, port: int) -> PodEntry:
    found = KNOWN.endpoint_at(address, port)
    assert found is not None
    return found


# -- Services -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["10.96.0.1", "fd96::1"])
def test_a_cluster_ip_of_either_family_is_found(address: str) -> None:
    found = entry(address, 80)
    assert (found.key, found.port.port, found.endpoints) == ("shop/web", 80, (A, B))
    assert entry(address, 90).endpoints == (endpoint("10.1.0.1", 9090, "web"),)
    assert found.algorithm == "LEAST_REQUEST"


def test_a_port_that_is_not_declared_is_said() -> None:
    assert KNOWN.lookup("10.96.0.1", 81) == UndeclaredPort("shop/web", "10.96.0.1", 81)


def test_an_unknown_address_is_none() -> None:
    assert KNOWN.lookup("10.96.0.77", 80) is None
    assert KNOWN.lookup("10.1.0.1", 8080) is None, "a pod's address is no Service's"


def test_a_backend_is_found_by_name() -> None:
    assert KNOWN.backend("shop/web", 80) is entry("10.96.0.1", 80)
    assert KNOWN.backend("shop/headless", 7000) is not None
    assert KNOWN.backend("shop/web", 81) is None
    assert KNOWN.backend("shop/nobody", 80) is None


def test_a_service_without_endpoints_exists() -> None:
    found = table(service("empty", "10.96.0.5")).lookup("10.96.0.5", 80)
    assert isinstance(found, ServiceEntry)
    assert found.endpoints == ()


def test_two_services_on_one_address_answer_for_their_ports() -> None:
    both = table(service("b", "10.96.0.5", ports=(80,)), service("a", "10.96.0.5", ports=(81,)))
    for port, key in ((80, "shop/b"), (81, "shop/a")):
        found = both.lookup("10.96.0.5", port)
        assert isinstance(found, ServiceEntry)
        assert found.key == key
    assert both.lookup("10.96.0.5", 82) == UndeclaredPort("shop/a", "10.96.0.5", 82)


def test_addresses_are_compared_in_one_form() -> None:
    odd = table(service("web", "FD96:0::1", "::ffff:10.96.0.9"))
    assert odd.lookup("fd96::1", 80) is not None
    assert odd.lookup("10.96.0.9", 80) is not None
    assert canonical_address("::ffff:10.0.0.1") == "10.0.0.1"


# -- pods ---------------------------------------------------------------------------------------------------------


def test_a_pod_address_names_its_one_owner() -> None:
    found = pod("10.1.0.1", 8080)
    assert (found.endpoint, found.declared) == (A, True)
    assert found.owner is entry("10.96.0.1", 80)
    assert pod("10.1.0.1", 9090).owner is entry("10.96.0.1", 90)


def test_an_owner_that_is_not_clear_is_none() -> None:
    found = pod("10.1.0.2", 8080)
    assert (found.endpoint, found.owner, found.declared) == (B, None, True)


def test_a_headless_pod_is_found_in_both_families() -> None:
    for address in ("10.1.0.3", "fd10::3"):
        found = pod(address, 7000)
        assert found.owner is KNOWN.backend("shop/headless", 7000)


@pytest.mark.parametrize("port", [1, 8080, 65535])
def test_a_peer_answers_on_every_port(port: int) -> None:
    found = pod("fd10::9", port)
    assert (found.endpoint.port, found.endpoint.identity, found.owner, found.declared) == (
        port,
        "spiffe://cluster.local/ns/shop/sa/job",
        None,
        True,
    )


def test_a_known_pod_on_an_undeclared_port_keeps_its_identity() -> None:
    found = pod("10.1.0.1", 12345)
    assert found == PodEntry(msgspec.structs.replace(A, port=12345), None, declared=False)


def test_a_peer_that_a_service_leads_to_as_well_is_declared_everywhere() -> None:
    both = table(service("a"), endpoints("a", endpoint("10.1.0.5", 80, "x")), peers(endpoint("10.1.0.5", 0, "x")))
    found = both.endpoint_at("10.1.0.5", 81)
    assert found is not None
    assert (found.declared, found.endpoint.port) == (True, 81)
    assert both.endpoint_at("10.1.0.5", 80) == PodEntry(endpoint("10.1.0.5", 80, "x"), both.backend("shop/a", 80), True)


def test_somebody_without_identity_is_known_on_declared_ports_only() -> None:
    assert pod("192.0.2.1", 5432).endpoint.identity == ""
    assert KNOWN.endpoint_at("192.0.2.1", 80) is None
    assert KNOWN.endpoint_at("10.9.9.9", 80) is None


def test_who_has_an_identity_is_not_taken_for_somebody_without() -> None:
    stale = table(
        service("a"),
        endpoints("a", endpoint("10.1.0.5")),
        service("b"),
        endpoints("b", endpoint("10.1.0.5", account="b")),
    )
    found = stale.endpoint_at("10.1.0.5", 8080)
    assert found is not None
    assert found.endpoint.identity.endswith("/sa/b")


# -- what cannot go in --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        (service("a", "not an address"), "is not an IP address"),
        (service("a", ports=(0,)), "not in 1-65535"),
        (service("a", ports=(80, 80)), "there twice"),
        (service("a", policy="FASTEST"), "not a way to balance"),
        (endpoints("a", endpoint("10.0.0.300")), "is not an IP address"),
        (endpoints("a", endpoint("10.0.0.1", 0)), "not in 1-65535"),
        (peers(endpoint("10.0.0.1", 70000)), "not in 0-65535"),
        (endpoints("a", Endpoint(address="10.0.0.1", port=1, identity="spiffe://x/y")), "is not of the form"),
    ],
)
def test_what_cannot_go_in_is_refused(resource: Network, why: str) -> None:
    with pytest.raises(UncompilableError, match=why):
        check_network(resource)


@pytest.mark.parametrize("policy", ["LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", None])
def test_every_way_to_balance_goes_in(policy: str | None) -> None:
    check_network(service("a", "10.0.0.1", policy=policy))
    check_network(peers(endpoint("fd00::1", 0, "a")))


# -- changes ------------------------------------------------------------------------------------------------------

_services = st.builds(
    lambda name, addresses, ports: service(name, *addresses, ports=tuple(ports)),
    st.sampled_from("abc"),
    st.lists(st.sampled_from(("10.96.0.1", "10.96.0.2", "fd96::1")), max_size=2, unique=True),
    st.lists(st.sampled_from((80, 90)), max_size=2, unique=True),
)
_members = st.lists(
    st.builds(
        endpoint,
        st.sampled_from(("10.1.0.1", "10.1.0.2")),
        st.sampled_from((8080, 9090)),
        st.sampled_from(("", "a", "b")),
    ),
    max_size=3,
)
_endpoints = st.builds(
    lambda name, port, members: endpoints(name, *members, port=port),
    st.sampled_from("abc"),
    st.sampled_from((80, 90)),
    _members,
)
_peers = st.builds(
    lambda namespace, account: peers(endpoint("10.1.0.1", 0, account), namespace=namespace),
    st.sampled_from(("x", "y")),
    st.sampled_from(("a", "b")),
)
_batches = st.lists(st.lists(st.tuples(_services | _endpoints | _peers, st.booleans()), max_size=4), max_size=5)


def described(one: ServiceTable) -> object:
    return (
        {
            key: {port: (e.service, e.port, e.endpoints) for port, e in ports.items()}
            for key, ports in one.services.items()
        },
        dict(one.addresses),
        dict(one.claims),
    )


@settings(max_examples=200, deadline=None)
@given(_batches)
def test_changes_lead_where_starting_anew_leads(batches: list[list[tuple[Network, bool]]]) -> None:
    current, resources = ServiceTable(), dict[str, Resource]()
    for batch in batches:
        after = dict(resources)
        for resource, gone in batch:
            if gone:
                after.pop(resource_key(resource), None)
            else:
                after[resource_key(resource)] = resource
        changed = {resource_key(resource) for resource, _ in batch}
        before = described(current)
        following = change_services(current, resources, after, changed)
        assert described(current) == before, "the old table stays as it was"
        current, resources = following, after
    fresh = change_services(ServiceTable(), {}, resources, resources)
    assert described(current) == described(fresh)


def test_what_did_not_change_is_the_same_object() -> None:
    resources: dict[str, Resource] = {
        resource_key(r): r for r in (WEB, endpoints("web", A), endpoints("web", B, port=90), service("db", "10.96.0.2"))
    }
    one = change_services(ServiceTable(), {}, resources, resources)
    after = {**resources, "Endpoints/shop/web:80": endpoints("web", A, B)}
    two = change_services(one, resources, after, ["Endpoints/shop/web:80"])
    assert two.backend("shop/web", 80) is not one.backend("shop/web", 80)
    assert two.backend("shop/web", 90) is one.backend("shop/web", 90)
    assert two.backend("shop/db", 80) is one.backend("shop/db", 80)


def test_a_service_that_comes_after_its_endpoints_has_them() -> None:
    early: dict[str, Resource] = {"Endpoints/shop/web:80": endpoints("web", A)}
    one = change_services(ServiceTable(), {}, early, early)
    assert one.backend("shop/web", 80) is None
    later = {**early, "Service/shop/web": WEB}
    found = change_services(one, early, later, ["Service/shop/web"]).backend("shop/web", 80)
    assert found is not None
    assert found.endpoints == (A,)
    assert isinstance(found.service, Service)
