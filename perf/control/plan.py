"""How large a run is, as both processes are told."""

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    services: int = 5000
    replicas: int = 4
    """Endpoints of each Service."""
    nodes: int = 200
    seconds: float = 30.0
    """Of changes."""
    rate: float = 100.0
    """Endpoints per second that are replaced: a pod goes, another comes, the EndpointSlice changes."""
