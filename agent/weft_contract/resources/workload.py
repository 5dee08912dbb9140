"""A pod of this node that opted in: who it is, how it is captured, what applies to what arrives at it."""

from typing import Literal

from weft_contract.resources.shape import Shape

Protocol = Literal["auto", "http", "http2", "grpc", "tcp", "tls"]
"""`auto` is detected from the first bytes; `tls` is the application's own TLS, passed on as it is; `grpc` implies HTTP/2."""

MtlsMode = Literal["STRICT", "PERMISSIVE", "DISABLE"]


class Capture(Shape, frozen=True, kw_only=True):
    """What of this pod's traffic is left alone. Ports are inclusive ranges `(first, last)`."""

    exclude_inbound_ports: tuple[tuple[int, int], ...] = ()
    exclude_outbound_ports: tuple[tuple[int, int], ...] = ()
    exclude_outbound_networks: tuple[str, ...] = ()
    """CIDR, both families."""
    preserve_source: bool = True
    """Whether application-facing sockets carry the client's own address."""
    netns: str | None = None
    """Name below /run/netns on plain hosts; None where the agent finds the namespace by the pod's uid."""

    def takes_inbound(self, port: int) -> bool:
        """Whether what comes to a port is captured."""
        return not any(first <= port <= last for first, last in self.exclude_inbound_ports)


class InboundPort(Shape, frozen=True, kw_only=True):
    """A port of the pod that something declares: a container port or the target of a Service port."""

    port: int
    protocol: Protocol = "auto"
    services: tuple[str, ...] = ()
    """Keys of the Services (`namespace/name`) that lead to this port, sorted."""


class Probe(Shape, frozen=True, kw_only=True):
    """A kubelet probe of the pod's spec; a plaintext connection from the node that equals one is let through."""

    kind: Literal["http", "tcp", "grpc"]
    port: int
    path: str = ""
    """For `http`: the target, query included; for `grpc`: the service name asked for."""


class PortScope(Shape, frozen=True, kw_only=True):
    """A policy that was attached to a Service: on this pod it exists only for the ports that the Service leads to.

    On any other port it is as if the policy were not listed: it neither denies nor makes an ALLOW rule necessary.
    """

    kind: Literal["AuthorizationPolicy", "RateLimitPolicy"]
    policy: str
    """Key of the policy (`namespace/name`)."""
    ports: tuple[int, ...]
    """Ports of the pod, sorted; empty where the Service leads to no port of it, so that the policy holds nowhere."""


class Workload(Shape, frozen=True, kw_only=True, tag_field="kind", tag="Workload"):
    """One enrolled pod of this node. Key: `namespace/name`."""

    namespace: str
    name: str
    uid: str
    service_account: str
    identity: str
    """`spiffe://…`, of the grammar in `weft_contract.identity`."""
    addresses: tuple[str, ...]
    """Pod IPs, one or two, as the canonical text of `ipaddress`."""
    workload: str = ""
    """Owner's name (Deployment, StatefulSet …) for telemetry; the pod's own where there is none."""
    app: str = ""
    version: str = ""
    capture: Capture = Capture()
    mtls: MtlsMode = "PERMISSIVE"
    mtls_ports: tuple[tuple[int, MtlsMode], ...] = ()
    """Exceptions from `mtls` by pod port, sorted."""
    ports: tuple[InboundPort, ...] = ()
    """Sorted by port."""
    probes: tuple[Probe, ...] = ()
    policies: tuple[str, ...] = ()
    """Keys of the AuthorizationPolicy resources that apply, sorted; the order of evaluation is by action."""
    rate_limits: tuple[str, ...] = ()
    """Keys of the RateLimitPolicy resources that apply, sorted."""
    port_scopes: tuple[PortScope, ...] = ()
    """Policies of the two lists above that hold on some ports of this pod only (those attached to a Service), sorted."""
