"""Services and their endpoint slices. Fields as in core/v1 and discovery.k8s.io/v1."""

from typing import Literal

import msgspec

from weft_lab.model.meta import Metadata, Model

TransportProtocol = Literal["TCP", "UDP", "SCTP"]


class ServicePort(Model, frozen=True, kw_only=True):
    """A port of a Service."""

    port: int
    name: str = ""
    protocol: TransportProtocol = "TCP"
    target_port: int | str | None = None
    app_protocol: str | None = None
    node_port: int | None = None


class ServiceSpec(Model, frozen=True, kw_only=True):
    """What a Service is to be."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    selector: dict[str, str] = msgspec.field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = msgspec.field(name="clusterIPs", default=())
    ip_families: tuple[Literal["IPv4", "IPv6"], ...] = ()
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    publish_not_ready_addresses: bool = False


class Service(Model, frozen=True, kw_only=True):
    """A Service."""

    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()

    @property
    def headless(self) -> bool:
        """Whether its name stands for the pods themselves."""
        return self.spec.cluster_ip == "None"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Cluster IPs; none for a headless Service."""
        return () if self.headless else self.spec.cluster_ips


class EndpointConditions(Model, frozen=True, kw_only=True):
    """Whether an endpoint may be used; None means unknown and is taken as yes."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(Model, frozen=True, kw_only=True):
    """The pod behind an endpoint."""

    kind: str = "Pod"
    namespace: str = ""
    name: str = ""
    uid: str = ""


class SliceEndpoint(Model, frozen=True, kw_only=True):
    """One endpoint."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    target_ref: TargetRef | None = None


class SlicePort(Model, frozen=True, kw_only=True):
    """A port that all endpoints of the slice have; `name` is the Service port's."""

    port: int
    name: str = ""
    protocol: TransportProtocol = "TCP"
    app_protocol: str | None = None


class EndpointSlice(Model, frozen=True, kw_only=True):
    """Endpoints of one Service with one set of ports and one address family."""

    metadata: Metadata
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()
