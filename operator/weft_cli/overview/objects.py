"""Mesh objects, routes and Gateway API policies whose conditions do not hold, as the controllers wrote them."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from weft_cli.cluster.session import Body
from weft_cli.overview.facts import Facts
from weft_cli.overview.nodes import Shape
from weft_contract.objects.check.route import is_service_parent
from weft_contract.objects.route import ParentReference

_OWN = ("Mesh", "AuthorizationPolicy", "PeerAuthentication", "RateLimitPolicy")
_ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")
_POLICIES = ("XBackendTrafficPolicy",)
CONTROLLER_NAME = "weft.dev/mesh"
PATIENCE_S: Final = 10.0
"""How long a controller may take to say something about a new object."""
_HOLDS = {"Accepted": "True", "ResolvedRefs": "True", "Programmed": "True"}


class ObjectState(Shape, frozen=True, kw_only=True):
    """An object that is not in force as written."""

    kind: str
    namespace: str
    name: str
    condition: str
    reason: str
    message: str


def troubled(facts: Facts, now_unix_s: float | None = None) -> list[ObjectState]:
    """Return every object with a condition that does not hold, or without any although a controller should have seen it."""
    now = time.time() if now_unix_s is None else now_unix_s
    return [
        state for kind in (*_OWN, *_ROUTES, *_POLICIES) for body in facts.bodies(kind) for state in _of(kind, body, now)
    ]


def _of(kind: str, body: Body, now_unix_s: float) -> Iterator[ObjectState]:
    metadata = body["metadata"]
    about = {"kind": kind, "namespace": metadata.get("namespace", ""), "name": metadata["name"]}
    generation = metadata.get("generation", 0)
    if kind in _ROUTES and not _is_ours(body):
        return
    lists = list(_conditions(kind, body))
    may_be_silent = kind in _POLICIES  # one whose targets are not in the mesh is told nothing
    if not any(lists) and not may_be_silent and now_unix_s - _created_unix_s(metadata) > PATIENCE_S:
        message = "no controller has seen it yet; is an operator running?"
        yield ObjectState(**about, condition="Accepted", reason="Pending", message=message)
    for item in (item for conditions in lists for item in conditions):
        name = str(item.get("type"))
        if item.get("observedGeneration", generation) < generation:
            message = "says something about an older version of the object; is an operator running?"
            yield ObjectState(**about, condition=name, reason="Outdated", message=message)
        elif name in _HOLDS and item.get("status") != _HOLDS[name]:
            reason, message = str(item.get("reason", "")), str(item.get("message", ""))
            yield ObjectState(**about, condition=name, reason=reason, message=message)


def _created_unix_s(metadata: Body) -> float:
    try:
        return datetime.fromisoformat(str(metadata.get("creationTimestamp", ""))).timestamp()
    except ValueError:
        return 0.0


def _conditions(kind: str, body: Body) -> Iterator[list[Body]]:
    status = body.get("status") or {}
    if kind in _OWN:
        yield status.get("conditions") or []
        return
    for entry in status.get("parents" if kind in _ROUTES else "ancestors") or ():
        if entry.get("controllerName") == CONTROLLER_NAME:
            yield entry.get("conditions") or []


def _is_ours(body: Body) -> bool:
    references = (body.get("spec") or {}).get("parentRefs") or ()
    return any(
        is_service_parent(ParentReference(group=item.get("group"), kind=item.get("kind"), name=str(item.get("name"))))
        for item in references
    )
