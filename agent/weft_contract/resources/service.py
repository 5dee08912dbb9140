"""Services, the endpoints behind each of their ports, and enrolled pods that no Service leads to."""

from weft_contract.resources.shape import Shape
from weft_contract.resources.workload import Protocol


class ServicePort(Shape, frozen=True, kw_only=True):
    """One port of a Service."""

    port: int
    name: str = ""
    protocol: Protocol = "auto"
    """From `appProtocol`, else from the port name's prefix, else `auto`."""


class Service(Shape, frozen=True, kw_only=True, tag_field="kind", tag="Service"):
    """A Service that this node's pods may call. Key: `namespace/name`."""

    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    """Cluster IPs of both families; empty for a headless Service."""
    ports: tuple[ServicePort, ...] = ()
    """Sorted by port."""
    traffic_policy: str | None = None
    """Load balancing of this Service: `ROUND_ROBIN`, `LEAST_REQUEST` or `RANDOM`; None takes the default, LEAST_REQUEST."""
    request_timeout_s: float | None = None
    """Of requests to this Service that no route takes, retries included; None: no limit."""
    backend_timeout_s: float | None = None
    """The same, one attempt."""


class Endpoint(Shape, frozen=True, kw_only=True):
    """One address behind a Service port."""

    address: str
    port: int
    identity: str = ""
    """SPIFFE ID of the pod when it is enrolled; empty: outside the mesh, reached in plain TCP."""
    node: str = ""
    workload: str = ""
    """`namespace/owner` for telemetry."""
    zone: str = ""
    ready: bool = True
    """False while the endpoint terminates but still serves; used only when no endpoint is ready."""


class Endpoints(Shape, frozen=True, kw_only=True, tag_field="kind", tag="Endpoints"):
    """The endpoints of one Service port. Key: `namespace/service:port`."""

    namespace: str
    service: str
    port: int
    endpoints: tuple[Endpoint, ...] = ()
    """Sorted by address and port."""


class Peers(Shape, frozen=True, kw_only=True, tag_field="kind", tag="Peers"):
    """Enrolled pods of a namespace that no Service leads to, so that a call by pod IP is authenticated too.

    Key: the namespace. `port` of each endpoint is 0: any.
    """

    namespace: str
    endpoints: tuple[Endpoint, ...] = ()
