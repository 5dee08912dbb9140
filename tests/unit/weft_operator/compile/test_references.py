"""Do parents and backends exist, and may they be referred to."""

from typing import Any

import pytest

from weft_contract.objects import HTTPRoute, ReferenceGrant, decode_object
from weft_contract.objects.route import BackendReference, ParentReference
from weft_contract.resources import Service, ServicePort
from weft_operator.compile.references import BackendResolver, ResolvedParent, resolve_parent, service_parents
from weft_operator.compile.results import Verdict
from weft_testing import objects as o

_SERVICES = {
    key: Service(
        namespace=key.partition("/")[0],
        name=key.partition("/")[2],
        addresses=("10.96.0.1",),
        ports=(ServicePort(port=80, name="http"), ServicePort(port=81, name="admin")),
    )
    for key in ("shop/web", "other/api", "other/db")
}


def _parent(**reference: Any) -> ResolvedParent | Verdict:
    return resolve_parent(ParentReference(kind="Service", group="", **reference), "shop", _SERVICES)


@pytest.mark.parametrize(
    ("reference", "ports", "every_port"),
    [
        ({"name": "web"}, (80, 81), True),
        ({"name": "web", "port": 81}, (81,), False),
        ({"name": "web", "section_name": "http"}, (80,), False),
        ({"name": "web", "section_name": "http", "port": 80}, (80,), False),
    ],
)
def test_parents(reference: dict[str, Any], ports: tuple[int, ...], every_port: bool) -> None:
    found = _parent(**reference)
    assert isinstance(found, ResolvedParent)
    assert (found.service, found.ports, found.every_port, found.consumer_namespace) == (
        "shop/web",
        ports,
        every_port,
        None,
    )


def test_a_parent_elsewhere_makes_a_consumer_route() -> None:
    found = _parent(name="api", namespace="other")
    assert isinstance(found, ResolvedParent)
    assert (found.service, found.consumer_namespace) == ("other/api", "shop")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"name": "gone"}, "Service shop/gone is not there"),
        ({"name": "api"}, "Service shop/api is not there"),
        ({"name": "web", "port": 82}, "no TCP port 82"),
        ({"name": "web", "section_name": "nope"}, "no TCP port name 'nope'"),
        ({"name": "web", "section_name": "http", "port": 81}, "no TCP port 81"),
    ],
)
def test_parents_that_are_not_there(reference: dict[str, Any], words: str) -> None:
    found = _parent(**reference)
    assert isinstance(found, Verdict)
    assert (found.holds, found.reason) == (False, "NoMatchingParent")
    assert words in found.message


def _route(*parents: o.Doc) -> HTTPRoute:
    item = decode_object(o.route("r", parents, []), "x")
    assert isinstance(item, HTTPRoute)
    return item


def _grant(from_: list[dict[str, str]], to: list[dict[str, str]], namespace: str = "other") -> ReferenceGrant:
    doc = {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": namespace},
        "spec": {"from": from_, "to": to},
    }
    item = decode_object(doc, "x")
    assert isinstance(item, ReferenceGrant)
    return item


_FROM = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}
_TO = {"group": "", "kind": "Service"}


def _backend(reference: dict[str, Any], *grants: ReferenceGrant, route: HTTPRoute | None = None) -> str | None:
    resolver = BackendResolver(
        route=route or _route(o.parent("web")),
        services=_SERVICES,
        grants={str(n): grant for n, grant in enumerate(grants)},
    )
    verdict = resolver.resolve(BackendReference(**reference))
    return verdict.reason if verdict is not None else None


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ({"name": "web", "port": 80}, None),
        ({"name": "web", "port": 80, "group": "", "kind": "Service", "namespace": "shop"}, None),
        ({"name": "gone", "port": 80}, "BackendNotFound"),
        ({"name": "web", "port": 82}, "BackendNotFound"),
        ({"name": "web", "port": 80, "kind": "Import", "group": "x.io"}, "InvalidKind"),
        ({"name": "web", "port": 80, "kind": "Pod"}, "InvalidKind"),
        ({"name": "api", "port": 80, "namespace": "other"}, "RefNotPermitted"),
        ({"name": "gone", "port": 80, "namespace": "other"}, "RefNotPermitted"),
    ],
)
def test_backends(reference: dict[str, Any], reason: str | None) -> None:
    assert _backend(reference) == reason


@pytest.mark.parametrize(
    ("grant", "reason"),
    [
        (_grant([_FROM], [_TO]), None),
        (_grant([_FROM], [{**_TO, "name": "api"}]), None),
        (_grant([{**_FROM, "kind": "TCPRoute"}, _FROM], [{"group": "", "kind": "Secret"}, _TO]), None),
        (_grant([_FROM], [{**_TO, "name": "db"}]), "RefNotPermitted"),
        (_grant([_FROM], [{"group": "", "kind": "Secret"}]), "RefNotPermitted"),
        (_grant([{**_FROM, "namespace": "third"}], [_TO]), "RefNotPermitted"),
        (_grant([{**_FROM, "kind": "TCPRoute"}], [_TO]), "RefNotPermitted"),
        (_grant([{**_FROM, "group": ""}], [_TO]), "RefNotPermitted"),
        (_grant([_FROM], [_TO], namespace="shop"), "RefNotPermitted"),
    ],
)
def test_grants(grant: ReferenceGrant, reason: str | None) -> None:
    assert _backend({"name": "api", "port": 80, "namespace": "other"}, grant) == reason


def test_a_route_may_always_send_to_its_own_parents() -> None:
    consumer = _route(o.parent("api", namespace="other"))
    assert _backend({"name": "api", "port": 80, "namespace": "other"}, route=consumer) is None
    assert _backend({"name": "db", "port": 80, "namespace": "other"}, route=consumer) == "RefNotPermitted"


def test_only_services_are_the_meshs_parents() -> None:
    gateway: o.Doc = {"name": "gw"}
    bare: o.Doc = {"kind": "Service", "name": "web"}
    foreign: o.Doc = {"group": "x.io", "kind": "Service", "name": "web"}
    assert [parent.name for parent in service_parents(_route(gateway, bare, foreign, o.parent("api")))] == [
        "web",
        "api",
    ]
