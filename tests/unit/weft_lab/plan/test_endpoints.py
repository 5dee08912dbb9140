"""Endpoints: who is behind a Service, on which port, ready or not; and what nodes have to translate."""

import pytest

from weft_lab.model import Container, LabObject, Pod, PodSpec, Service
from weft_lab.model.pod import ContainerPort
from weft_lab.plan.endpoints import Backend, service_rules, slices
from weft_lab.plan.view import View
from weft_testing.lab import key_of, node, one, pod, view

WEB = {"app": "web"}


def service(spec: str, families: str = "[IPv4, IPv6]", addresses: str = "[10.128.0.10, 'fd57::a']") -> Service:
    found = one(
        f"{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: shop}}, spec: {{ipFamilies: {families}, "
        f"clusterIP: 10.128.0.10, clusterIPs: {addresses}, {spec}}}}}"
    )
    assert isinstance(found, Service)
    return found


def web(name: str, address: str, **words: object) -> Pod:
    return pod(name, labels=WEB, node="node-1", addresses=(address, f"fd57::{address.rpartition('.')[2]}"), **words)  # type: ignore[arg-type]  # words of `pod`


def with_slices(*objects: LabObject) -> View:
    first = view(objects)
    return View({**first.objects, **slices(first)})


def test_both_families_have_a_slice_with_the_pods_address_and_port() -> None:
    found = slices(
        view([service("selector: {app: web}, ports: [{port: 80, targetPort: 8080}]"), web("a", "10.0.0.1", ready=True)])
    )
    assert {(item.address_type, item.endpoints[0].addresses, item.ports[0].port) for item in found.values()} == {
        ("IPv4", ("10.0.0.1",), 8080),
        ("IPv6", ("fd57::1",), 8080),
    }
    assert {key.namespace for key in found} == {"shop"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"ready": True}, (True, True, False)),
        ({"ready": False}, (False, False, False)),
        ({"ready": True, "deleted": True}, (False, True, True)),
    ],
)
def test_conditions(words: dict[str, object], expected: tuple[bool, bool, bool]) -> None:
    text = "selector: {app: web}, ports: [{port: 80}]"
    (found,) = slices(view([service(text, "[IPv4]"), web("a", "10.0.0.1", **words)])).values()
    conditions = found.endpoints[0].conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == expected


def test_unready_addresses_are_published_where_asked() -> None:
    text = "publishNotReadyAddresses: true, selector: {app: web}, ports: [{port: 80}]"
    (found,) = slices(view([service(text, "[IPv4]"), web("a", "10.0.0.1", ready=False)])).values()
    assert found.endpoints[0].conditions.ready


def test_pods_that_are_finished_elsewhere_or_other_have_no_endpoint() -> None:
    others = [
        web("done", "10.0.0.2", phase="Succeeded"),
        pod("other", labels={"app": "db"}, addresses=("10.0.0.3",)),
        pod("away", namespace="else", labels=WEB, addresses=("10.0.0.4",)),
        pod("new", labels=WEB),
    ]
    (found,) = slices(view([service("selector: {app: web}, ports: [{port: 80}]", "[IPv4]"), *others])).values()
    assert found.endpoints == ()


def test_named_ports_are_each_pods_own() -> None:
    def named(name: str, address: str, number: int) -> Pod:
        ports = (ContainerPort(container_port=number, name="http"),)
        spec = PodSpec(containers=(Container(name="m", command=("x",), ports=ports),), node_name="node-1")
        return pod(name, labels=WEB, addresses=(address,), ready=True, spec=spec)

    objects: list[LabObject] = [
        service("selector: {app: web}, ports: [{port: 80, targetPort: http}]", "[IPv4]", "[10.128.0.10]"),
        named("a", "10.0.0.1", 8080),
        named("b", "10.0.0.2", 9090),
        web("without", "10.0.0.3", ready=True),
    ]
    (rule,) = service_rules(with_slices(*objects))
    assert rule.backends == (Backend("10.0.0.1", 8080), Backend("10.0.0.2", 9090))


def test_rules_take_ready_endpoints_and_serving_ones_in_need() -> None:
    text = "selector: {app: web}, ports: [{port: 80}]"
    terminating = web("old", "10.0.0.1", ready=True, deleted=True)
    fresh = web("new", "10.0.0.2", ready=True)
    only = service_rules(with_slices(service(text, "[IPv4]", "[10.128.0.10]"), terminating))
    both = service_rules(with_slices(service(text, "[IPv4]", "[10.128.0.10]"), terminating, fresh))
    assert only[0].backends == (Backend("10.0.0.1", 80),)
    assert both[0].backends == (Backend("10.0.0.2", 80),)


def test_rules_keep_families_and_protocols_apart() -> None:
    text = "selector: {app: web}, ports: [{port: 53, name: t}, {port: 53, name: u, protocol: UDP}]"
    found = service_rules(with_slices(service(text), web("a", "10.0.0.1", ready=True)))
    assert {(rule.address, rule.protocol, rule.backends[0].address) for rule in found} == {
        ("10.128.0.10", "TCP", "10.0.0.1"),
        ("10.128.0.10", "UDP", "10.0.0.1"),
        ("fd57::a", "TCP", "fd57::1"),
        ("fd57::a", "UDP", "fd57::1"),
    }


def test_a_headless_service_has_slices_and_no_rules() -> None:
    headless = one(
        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, "
        "spec: {clusterIP: None, ipFamilies: [IPv4], selector: {app: web}}}"
    )
    found = with_slices(headless, web("a", "10.0.0.1", ready=True))
    assert service_rules(found) == ()
    assert [key.kind for key in found.objects].count("EndpointSlice") == 1


def test_slices_of_users_serve_services_without_selector() -> None:
    given = one(
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: x, namespace: shop, labels: "
        "{kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{port: 5432}], endpoints: [{addresses: [10.9.9.9]}]}"
    )
    bare = service("ports: [{port: 5432}]", "[IPv4]", "[10.128.0.10]")
    (rule,) = service_rules(View({key_of(bare): bare, key_of(given): given}))
    assert rule.backends == (Backend("10.9.9.9", 5432),)


def test_zone_and_node_are_told() -> None:
    zone = node("node-1", **{"topology.kubernetes.io/zone": "zone-1"})
    objects: list[LabObject] = [
        zone,
        service("selector: {app: web}, ports: [{port: 80}]", "[IPv4]"),
        web("a", "10.0.0.1", ready=True),
    ]
    (found,) = slices(view(objects)).values()
    assert (found.endpoints[0].node_name, found.endpoints[0].zone) == ("node-1", "zone-1")
