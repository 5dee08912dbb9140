"""The document of one node: schema version and all its resources with their content hashes. One file, replaced whole."""

from typing import Final, Literal, TypeAlias

import msgspec

from weft_contract.resources.node import Node, Telemetry, TrustBundle
from weft_contract.resources.policy import AuthorizationPolicy, RateLimitPolicy
from weft_contract.resources.route import Route
from weft_contract.resources.service import Endpoints, Peers, Service
from weft_contract.resources.workload import Workload

SCHEMA: Final = "weft.dev/node/v1"

Resource: TypeAlias = (
    Node
    | Workload
    | Service
    | Endpoints
    | Peers
    | Route
    | AuthorizationPolicy
    | RateLimitPolicy
    | TrustBundle
    | Telemetry
)
"""Everything that is distributed, told apart by `kind`."""


def resource_key(resource: Resource) -> str:
    """Return `<kind>/<name>`, unique in a document: `Service/shop/web`, `Endpoints/shop/web:80`."""
    match resource:
        case Node(name=name):
            return f"Node/{name}"
        case Endpoints(namespace=namespace, service=service, port=port):
            return f"Endpoints/{namespace}/{service}:{port}"
        case Peers(namespace=namespace):
            return f"Peers/{namespace}"
        case Route(origin=origin, namespace=namespace, name=name):
            return f"Route/{origin.lower()}/{namespace}/{name}"
        case TrustBundle(trust_domain=trust_domain):
            return f"TrustBundle/{trust_domain}"
        case Telemetry():
            return "Telemetry/default"
        case _:
            return f"{type(resource).__name__}/{resource.namespace}/{resource.name}"


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One resource with its key and the hash of its canonical bytes."""

    key: str
    hash: str
    spec: Resource


class NodeDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What `weft compile` writes and `weft-agent run --config` reads: `<dir>/<node>.json`."""

    schema: Literal["weft.dev/node/v1"]
    node: str
    resources: tuple[Entry, ...]
    """Sorted by key."""
