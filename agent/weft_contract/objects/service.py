"""Service and EndpointSlice: names, addresses and what stands behind them."""

from typing import Literal

import msgspec

from weft_contract.objects.metadata import Metadata
from weft_contract.objects.pod import PortReference
from weft_contract.objects.shape import Foreign, Labels, Port

HEADLESS = "None"
"""What `clusterIP` says where a Service has no address of its own."""


class ServicePort(Foreign, frozen=True, kw_only=True):
    """One port of a Service."""

    port: Port
    name: str = ""
    protocol: str = "TCP"
    target_port: PortReference | None = None
    """Number or container port name; None: the same as `port`."""
    app_protocol: str = ""


class ServiceSpec(Foreign, frozen=True, kw_only=True):
    """What a Service is to be."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    selector: Labels = msgspec.field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    publish_not_ready_addresses: bool = False


class Service(Foreign, frozen=True, kw_only=True):
    """A Service."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Service"] = "Service"
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()


class EndpointConditions(Foreign, frozen=True, kw_only=True):
    """Readiness of one endpoint; None means unknown, which the API says to read as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None

    @property
    def usable(self) -> bool | None:
        """How to use the endpoint: True ready, False serving while it terminates, None not at all.

        Source: Kubernetes API, EndpointConditions: unknown `ready` is ready, unknown `serving` is what `ready` says.
        """
        if self.ready is None or self.ready:
            return True
        return False if self.serving and self.terminating else None


class SliceEndpoint(Foreign, frozen=True, kw_only=True):
    """One endpoint; only its first address counts, as the API says."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    node_name: str = ""
    zone: str = ""


class SlicePort(Foreign, frozen=True, kw_only=True):
    """One port of all endpoints of the slice."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"


class EndpointSlice(Foreign, frozen=True, kw_only=True):
    """Endpoints of a Service, of one address family.

    Source: Kubernetes API, discovery.k8s.io/v1.
    """

    api_version: Literal["discovery.k8s.io/v1"] = "discovery.k8s.io/v1"
    kind: Literal["EndpointSlice"] = "EndpointSlice"
    metadata: Metadata
    address_type: str = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()
