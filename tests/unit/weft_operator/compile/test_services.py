"""Services, endpoints and peers."""

from typing import Any

import pytest

from weft_contract.objects.service import EndpointConditions
from weft_contract.resources import Endpoint, Endpoints, Service
from weft_operator.compile.members import find_members
from weft_operator.compile.pod_index import PodIndex
from weft_operator.compile.services import Lead, Services, find_peers, node_zones, resolve_services
from weft_testing import objects as o

_WEB = "spiffe://cluster.local/ns/shop/sa/web"


def _services(*bodies: o.Doc) -> Services:
    view = o.view_of(o.namespace("shop"), *bodies)
    return resolve_services(view, find_members(view, "cluster.local"), PodIndex(view.pods.values()))


def _endpoints(services: Services, key: str = "shop/web", index: int = 0) -> tuple[Endpoint, ...]:
    return services.endpoints[key][index].endpoints


def _peers(*bodies: o.Doc) -> dict[str, list[str]]:
    view = o.view_of(o.namespace("shop"), *bodies)
    members = find_members(view, "cluster.local")
    services = resolve_services(view, members, PodIndex(view.pods.values()))
    told: list[Endpoints] = [item for items in services.endpoints.values() for item in items]
    found = find_peers(members, told, node_zones(view))
    return {name: [endpoint.address for endpoint in item.endpoints] for name, item in found.items()}


def test_timeouts_come_from_annotations_and_a_broken_one_counts_for_nothing() -> None:
    annotations = {"timeout.weft.dev/request": "1m30s", "timeout.weft.dev/backendRequest": "soon"}
    found = _services(o.service("web", 80, annotations=annotations)).services["shop/web"]
    assert (found.request_timeout_s, found.backend_timeout_s) == (90.0, None)


def test_a_service_with_its_ports_and_addresses() -> None:
    services = _services(
        o.service(
            "web", {"port": 443, "name": "https"}, {"port": 80, "name": "http"}, addresses=["FD96::1", "10.96.0.1"]
        )
    )
    assert services.services["shop/web"] == Service(
        namespace="shop",
        name="web",
        addresses=("10.96.0.1", "fd96::1"),
        ports=services.services["shop/web"].ports,
    )
    assert [(port.port, port.protocol) for port in services.services["shop/web"].ports] == [(80, "http"), (443, "tls")]


def test_ports_that_are_not_tcp_and_aliases_of_dns_are_left_out() -> None:
    services = _services(
        o.service("dns", {"port": 53, "name": "udp", "protocol": "UDP"}, {"port": 53, "name": "tcp-dns"}),
        o.service("outside", 80, spec={"type": "ExternalName", "externalName": "example.com"}),
    )
    assert [port.name for port in services.services["shop/dns"].ports] == ["tcp-dns"]
    assert "shop/outside" not in services.services


def test_endpoints_from_pods() -> None:
    services = _services(
        o.node("n1", "172.16.0.1", zone="z1"),
        o.pod("web", "10.0.0.1", account="web", ports=[{"containerPort": 8080, "name": "http"}]),
        o.service("web", {"port": 80, "targetPort": "http"}),
    )
    assert _endpoints(services) == (
        Endpoint(address="10.0.0.1", port=8080, identity=_WEB, node="n1", workload="shop/web", zone="z1"),
    )
    lead = Lead(service="shop/web", service_port=80, port_name="", pod_port=8080, protocol="auto")
    assert services.leads == {"shop/web": (lead,)}
    assert services.behind == {"shop/web": (("shop/web", lead),)}


def test_only_ready_pods_are_endpoints_and_terminating_ones_come_last() -> None:
    bodies = [
        o.pod("a", "10.0.0.1", labels={"app": "web"}),
        o.pod("b", "10.0.0.2", labels={"app": "web"}, ready=False),
        o.pod("c", "10.0.0.3", labels={"app": "web"}, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        o.pod("d", "10.0.0.4", labels={"app": "web"}) | {"status": {"phase": "Succeeded", "podIP": "10.0.0.4"}},
        o.pod("e", labels={"app": "web"}),
        o.pod("f", "10.0.0.6", labels={"app": "other"}),
        o.pod("g", "10.0.0.7", labels={"app": "web"}, namespace="elsewhere"),
    ]
    found = [(item.address, item.ready) for item in _endpoints(_services(*bodies, o.service("web", 80)))]
    assert found == [("10.0.0.1", True), ("10.0.0.3", False)]
    everybody = o.service("web", 80, spec={"publishNotReadyAddresses": True})
    found = [(item.address, item.ready) for item in _endpoints(_services(*bodies, everybody))]
    assert found == [("10.0.0.1", True), ("10.0.0.2", True), ("10.0.0.3", True)]


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["10.96.0.1"], ["10.0.0.1"]),
        (["fd96::1"], ["fd00::1"]),
        (["10.96.0.1", "fd96::1"], ["10.0.0.1", "fd00::1"]),
        ([], ["10.0.0.1", "fd00::1"]),
    ],
)
def test_endpoints_are_of_the_services_families(addresses: list[str], expected: list[str]) -> None:
    services = _services(o.pod("web", "10.0.0.1", "fd00::1"), o.service("web", 80, addresses=addresses))
    assert [item.address for item in _endpoints(services)] == expected


def test_pods_outside_the_mesh_have_no_identity() -> None:
    services = _services(
        o.pod("web", "10.0.0.1", labels={"app": "web", "weft.dev/mesh": "disabled"}),
        o.pod("host", "172.16.0.9", labels={"app": "web"}, spec={"hostNetwork": True}),
        o.service("web", 80),
    )
    assert [(item.address, item.identity) for item in _endpoints(services)] == [("10.0.0.1", ""), ("172.16.0.9", "")]
    assert services.leads == {}


def test_a_pod_on_the_node_s_network_never_has_the_identity_of_another_pod_with_its_address() -> None:
    services = _services(
        o.pod("host", "10.0.0.1", labels={"app": "web"}, spec={"hostNetwork": True}),
        o.pod("db", "10.0.0.1", labels={"app": "db"}),
        o.service("web", 80),
    )
    assert [(item.address, item.identity) for item in _endpoints(services)] == [("10.0.0.1", "")]


def test_a_target_port_that_no_pod_has_is_warned_of() -> None:
    services = _services(o.pod("web", "10.0.0.1"), o.service("web", {"port": 80, "targetPort": "http"}))
    assert _endpoints(services) == ()
    (problem,) = services.problems
    assert problem.warning
    assert "'http'" in problem.message


def test_a_named_target_port_may_differ_from_pod_to_pod() -> None:
    services = _services(
        o.pod("a", "10.0.0.1", labels={"app": "web"}, ports=[{"containerPort": 8080, "name": "http"}]),
        o.pod("b", "10.0.0.2", labels={"app": "web"}, ports=[{"containerPort": 9090, "name": "http"}]),
        o.service("web", {"port": 80, "targetPort": "http"}),
    )
    assert [(item.address, item.port) for item in _endpoints(services)] == [("10.0.0.1", 8080), ("10.0.0.2", 9090)]
    assert not services.problems


def _entry(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions, "nodeName": "n9", "zone": "z9"}


def test_slices_decide_where_there_are_any() -> None:
    services = _services(
        o.pod("web", "10.0.0.1", account="web"),
        o.pod("late", "10.0.0.5", labels={"app": "web"}),
        o.service("web", {"port": 80, "name": "http", "targetPort": 8080}, {"port": 81, "name": "other"}),
        o.endpoint_slice(
            "web",
            [
                _entry("10.0.0.1", ready=True),
                _entry("10.0.0.2"),
                _entry("10.0.0.3", ready=False, serving=True, terminating=True),
                _entry("10.0.0.4", ready=False),
                {"addresses": []},
                {"addresses": ["nonsense"]},
            ],
            [
                {"name": "http", "port": 8080},
                {"name": "else", "port": 1},
                {"name": "http", "port": 1, "protocol": "UDP"},
                {"name": "http"},
            ],
        ),
    )
    assert _endpoints(services) == (
        Endpoint(address="10.0.0.1", port=8080, identity=_WEB, node="n1", workload="shop/web"),
        Endpoint(address="10.0.0.2", port=8080, node="n9", zone="z9"),
        Endpoint(address="10.0.0.3", port=8080, node="n9", zone="z9", ready=False),
    )
    assert _endpoints(services, index=1) == ()


def test_slices_of_a_service_without_selector_lead_to_members_too() -> None:
    services = _services(
        o.pod("web", "10.0.0.1"),
        o.service("manual", {"port": 80, "name": "http"}, selector={}),
        o.endpoint_slice("manual", [_entry("10.0.0.1")], [{"name": "http", "port": 8080}]),
    )
    assert [lead.service for lead in services.leads["shop/web"]] == ["shop/manual"]


def test_an_endpoint_in_two_slices_is_one_and_ready_if_either_says_so() -> None:
    ports = [{"name": "p80", "port": 80}]
    services = _services(
        o.service("web", 80),
        o.endpoint_slice("web", [_entry("10.0.0.9", ready=True)], ports, name="a"),
        o.endpoint_slice("web", [_entry("10.0.0.9", ready=False, serving=True, terminating=True)], ports, name="b"),
    )
    assert [(item.address, item.ready) for item in _endpoints(services)] == [("10.0.0.9", True)]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (EndpointConditions(), True),
        (EndpointConditions(ready=True), True),
        (EndpointConditions(ready=False), None),
        (EndpointConditions(ready=False, serving=True), None),
        (EndpointConditions(ready=False, serving=True, terminating=True), False),
        (EndpointConditions(ready=False, serving=False, terminating=True), None),
    ],
)
def test_conditions(conditions: EndpointConditions, expected: bool | None) -> None:
    assert conditions.usable is expected


def test_endpoints_are_sorted_by_number_not_by_text() -> None:
    bodies = [
        o.pod(f"p{n}", f"10.0.0.{n}", "fd00::1" if n == 9 else f"fd00::{n + 100}", labels={"app": "web"})
        for n in (10, 9, 100)
    ]
    services = _services(*bodies, o.service("web", 80, addresses=["10.96.0.1", "fd96::1"]))
    addresses = [item.address for item in _endpoints(services)]
    assert addresses[:3] == ["10.0.0.9", "10.0.0.10", "10.0.0.100"]
    assert addresses[3] == "fd00::1"


def test_members_that_no_endpoints_lead_to_are_peers() -> None:
    bodies = [
        o.pod("web", "10.0.0.1", "fd00::1"),
        o.pod("sick", "10.0.0.2", labels={"app": "web"}, ready=False),
        o.pod("job", "10.0.0.3"),
        o.pod("out", "10.0.0.4", labels={"app": "x", "weft.dev/mesh": "disabled"}),
        o.pod("lone", "10.0.0.5", namespace="other", labels={"weft.dev/mesh": "enabled"}),
        o.service("web", 80, addresses=["10.96.0.1"]),
    ]
    assert _peers(*bodies) == {"other": ["10.0.0.5"], "shop": ["10.0.0.2", "10.0.0.3", "fd00::1"]}


def test_a_port_that_is_not_captured_is_nobodys_and_the_pod_is_a_peer() -> None:
    bodies = [
        o.pod("web", "10.0.0.1", annotations={"weft.dev/excludeInboundPorts": "9000-9099"}),
        o.service("web", {"port": 80, "name": "metrics", "targetPort": 9090}),
    ]
    assert [(item.port, item.identity) for item in _endpoints(_services(*bodies))] == [(9090, "")]
    assert _peers(*bodies) == {"shop": ["10.0.0.1"]}
    both = o.service("web", {"port": 80, "name": "metrics", "targetPort": 9090}, {"port": 81, "name": "http"})
    services = _services(bodies[0], both)
    assert [bool(_endpoints(services, index=index)[0].identity) for index in (0, 1)] == [False, True]
    assert _peers(bodies[0], both) == {}
