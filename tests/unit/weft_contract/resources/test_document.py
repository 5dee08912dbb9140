"""Resources: keys are unique and readable, values are frozen, shapes are strict."""

import msgspec
import pytest

from weft_contract import resources
from weft_contract.codec import convert
from weft_contract.problems import ContractError
from weft_contract.resources import (
    AuthorizationPolicy,
    Endpoints,
    Node,
    Peers,
    RateLimitPolicy,
    Resource,
    Route,
    Service,
    Telemetry,
    TrustBundle,
    Workload,
    resource_key,
)

_WORKLOAD = Workload(
    namespace="a", name="b", uid="u", service_account="s", identity="spiffe://d/ns/a/sa/s", addresses=("10.0.0.1",)
)


@pytest.mark.parametrize(
    ("resource", "key"),
    [
        (Node(name="n1", trust_domain="d"), "Node/n1"),
        (_WORKLOAD, "Workload/a/b"),
        (Service(namespace="a", name="b"), "Service/a/b"),
        (Endpoints(namespace="a", service="b", port=80), "Endpoints/a/b:80"),
        (Peers(namespace="a"), "Peers/a"),
        (Route(origin="HTTPRoute", namespace="a", name="b", parents=()), "Route/httproute/a/b"),
        (Route(origin="GRPCRoute", namespace="a", name="b", parents=()), "Route/grpcroute/a/b"),
        (AuthorizationPolicy(namespace="a", name="b"), "AuthorizationPolicy/a/b"),
        (RateLimitPolicy(namespace="a", name="b"), "RateLimitPolicy/a/b"),
        (TrustBundle(trust_domain="d", roots=("pem",)), "TrustBundle/d"),
        (Telemetry(), "Telemetry/default"),
    ],
)
def test_every_kind_has_its_key(resource: Resource, key: str) -> None:
    assert resource_key(resource) == key


def test_resources_are_frozen_and_hashable() -> None:
    assert hash(_WORKLOAD) == hash(msgspec.structs.replace(_WORKLOAD))
    with pytest.raises(AttributeError):
        _WORKLOAD.name = "other"  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    "change",
    [
        {"mtls": "strict"},
        {"addresses": "10.0.0.1"},
        {"capture": {"excludeInboundPorts": [[1]]}},
        {"ports": [{"port": "80"}]},
        {"probes": [{"kind": "exec", "port": 1}]},
        {"portScopes": [{"kind": "Mesh", "policy": "a/b", "ports": []}]},
        {"somethingNew": 1},
    ],
)
def test_a_workload_that_is_not_of_the_shape_is_refused(change: dict[str, object]) -> None:
    plain = msgspec.to_builtins(_WORKLOAD)
    convert(plain, Workload)
    with pytest.raises(ContractError):
        convert(plain | change, Workload)


def test_the_door_is_complete() -> None:
    assert all(hasattr(resources, name) for name in resources.__all__)
    assert sorted(resources.__all__) == sorted(set(resources.__all__))
