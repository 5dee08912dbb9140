"""Where a connection that leaves a pod wants to go: a Service, one known pod, or somewhere outside. By address, never by name.

Source: GEP-1294 and the conformance suite (`MeshClusterIPMatching`, `MeshFrontend`): the original destination decides, a
Host header that says otherwise changes nothing, and a pod's own address bypasses the routes of its Services.
"""

from dataclasses import dataclass
from typing import TypeAlias

from weft_contract.resources import Endpoint
from weft_core.errors import NoRouteError
from weft_core.routing import PodEntry, ServiceEntry, UndeclaredPort
from weft_core.snapshot.table import Snapshot


@dataclass(frozen=True, slots=True)
class ToService:
    """A Service's port."""

    entry: ServiceEntry

    @property
    def protocol(self) -> str:
        """What the port is declared to speak."""
        return self.entry.port.protocol

    @property
    def service(self) -> str:
        """`namespace/name`."""
        return self.entry.key


@dataclass(frozen=True, slots=True)
class ToPod:
    """One pod, named by its address: no routes, no balancing, its identity all the same."""

    endpoint: Endpoint
    owner: ServiceEntry | None

    @property
    def protocol(self) -> str:
        """What the owning Service says of the port."""
        return self.owner.port.protocol if self.owner is not None else "auto"

    @property
    def service(self) -> str:
        """`namespace/name` of the Service that leads there, for telemetry; empty where none or several do."""
        return self.owner.key if self.owner is not None else ""


@dataclass(frozen=True, slots=True)
class Outside:
    """Nobody the mesh knows: passed on as it is."""

    endpoint: Endpoint

    protocol = "tcp"
    service = ""


Destination: TypeAlias = ToService | ToPod | Outside


def classify(snapshot: Snapshot, address: str, port: int) -> Destination:
    """Read an original destination.

    Raises:
        NoRouteError: the address is a Service's, the port is none of its own.
    """
    found = snapshot.services.lookup(address, port)
    match found:
        case ServiceEntry():
            return ToService(found)
        case UndeclaredPort():
            raise NoRouteError(f"Service {found.service} has no port {port}")
        case None:
            return _pod_or_outside(snapshot, address, port)


def _pod_or_outside(snapshot: Snapshot, address: str, port: int) -> Destination:
    known: PodEntry | None = snapshot.services.endpoint_at(address, port)
    if known is not None:
        return ToPod(known.endpoint, known.owner)
    table = snapshot.local(address)
    if table is not None:
        workload = table.workload
        name = f"{workload.namespace}/{workload.workload or workload.name}"
        return ToPod(Endpoint(address=address, port=port, identity=workload.identity, workload=name), None)
    return Outside(Endpoint(address=address, port=port))
