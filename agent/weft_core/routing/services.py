"""Services by address: what an original destination means, what stands behind it, and whose pod an address is.

Theory: the table is immutable; `service_changes` makes the next one. An address that is known is never treated as unknown:
a Service's address on a port it does not declare, and a pod of the mesh on a port that no Service leads to, are values that
say so. Otherwise traffic to something with an identity could leave as plain TCP because a port was not listed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from weft_contract.resources.service import Endpoint, Service, ServicePort

DEFAULT_ALGORITHM: Final = "LEAST_REQUEST"


@dataclass(frozen=True, slots=True, eq=False)
class ServiceEntry:
    """One port of a Service and what stands behind it. Compared by identity: the same object means nothing changed."""

    key: str
    """`namespace/name`."""
    service: Service
    port: ServicePort
    endpoints: tuple[Endpoint, ...]

    @property
    def algorithm(self) -> str:
        """How endpoints are chosen: `LEAST_REQUEST`, `ROUND_ROBIN` or `RANDOM`."""
        return self.service.traffic_policy or DEFAULT_ALGORITHM


@dataclass(frozen=True, slots=True)
class UndeclaredPort:
    """The address is a Service's, the port is none of its own: nothing can be said, so nothing goes there."""

    service: str
    """`namespace/name`."""
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class PodEntry:
    """Who lives at a pod's address."""

    endpoint: Endpoint
    """With the port that was asked for."""
    owner: ServiceEntry | None
    """The one Service port that leads here; None: none does, or several do."""
    declared: bool
    """False: no Service leads to this port, but the address and its identity are known all the same."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An endpoint, and which resource says so."""

    origin: str
    """Resource key."""
    endpoint: Endpoint
    service: str = ""
    """`namespace/name` of the Service that leads here; empty: a peer without Service."""
    port: int = 0
    """Port of that Service."""


@dataclass(frozen=True, slots=True, eq=False)
class ServiceTable:
    """All Services, endpoints and peers that a node knows."""

    services: Mapping[str, Mapping[int, ServiceEntry]] = field(default_factory=dict)
    """Entries by Service key and port."""
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys of the Services that claim an address, sorted."""
    claims: Mapping[str, tuple[Claim, ...]] = field(default_factory=dict)
    """Endpoints by address."""

    def lookup(self, address: str, port: int) -> ServiceEntry | UndeclaredPort | None:
        """Return what an original destination means as a Service.

        Args:
            address: canonical text of the address; IPv4-mapped ones as IPv4.
            port: destination port.

        Returns:
            The Service port, or that the Service has no such port, or None: no Service has this address.
        """
        keys = self.addresses.get(address)
        if keys is None:
            return None
        for key in keys:
            entry = self.services[key].get(port)
            if entry is not None:
                return entry
        return UndeclaredPort(keys[0], address, port)

    def backend(self, service: str, port: int) -> ServiceEntry | None:
        """Return a Service port by name; None: there is none."""
        ports = self.services.get(service)
        return ports.get(port) if ports is not None else None

    def entries(self) -> Iterator[ServiceEntry]:
        """Iterate over every Service port, for views."""
        for ports in self.services.values():
            yield from ports.values()

    def endpoint_at(self, address: str, port: int) -> PodEntry | None:
        """Return who lives at a pod's address.

        Args:
            address: canonical text of the address; IPv4-mapped ones as IPv4.
            port: destination port.

        Returns:
            The endpoint; None: nobody known lives there, or somebody without identity does on other ports.
        """
        claims = self.claims.get(address)
        if claims is None:
            return None
        exact = [claim for claim in claims if claim.endpoint.port == port]
        if exact:
            return self._declared(exact)
        known = next((claim.endpoint for claim in claims if claim.endpoint.identity), None)
        if known is None:
            return None
        # Claims are sorted by port, so a peer (port 0: any) comes first.
        return PodEntry(msgspec.structs.replace(known, port=port), None, declared=known.port == 0)

    def _declared(self, claims: list[Claim]) -> PodEntry:
        """Choose among claims on one address and port: who has an identity is not taken for somebody without."""
        chosen = next((claim for claim in claims if claim.endpoint.identity), claims[0])
        leading = {(claim.service, claim.port) for claim in claims if claim.service}
        owner = self.backend(*leading.pop()) if len(leading) == 1 else None
        return PodEntry(chosen.endpoint, owner, declared=True)
