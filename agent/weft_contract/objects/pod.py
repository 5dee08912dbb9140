"""Pods: what capture, identity, readiness and probe recognition need of them."""

import re
from typing import Final, Literal

import msgspec

from weft_contract.objects.metadata import Metadata
from weft_contract.objects.shape import Foreign

_CRON_SUFFIX: Final = re.compile(r"-[0-9]{8,10}$")
"""What a CronJob appends to the names of its Jobs (minutes since 1970; once seconds)."""

PortReference = int | str
"""A number, or the name of a container port."""


class ContainerPort(Foreign, frozen=True, kw_only=True):
    """A port that a container says it listens on."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


class HttpGetAction(Foreign, frozen=True, kw_only=True):
    """A probe by HTTP."""

    port: PortReference
    path: str = ""
    scheme: str = "HTTP"
    host: str = ""


class TcpSocketAction(Foreign, frozen=True, kw_only=True):
    """A probe by connecting."""

    port: PortReference
    host: str = ""


class GrpcAction(Foreign, frozen=True, kw_only=True):
    """A probe by the gRPC health service."""

    port: int
    service: str = ""


class Probe(Foreign, frozen=True, kw_only=True):
    """One probe; exec probes have none of these and never cross the network."""

    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: GrpcAction | None = None


class Container(Foreign, frozen=True, kw_only=True):
    """A container of a pod."""

    name: str = ""
    ports: tuple[ContainerPort, ...] = ()
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None


class PodSpec(Foreign, frozen=True, kw_only=True):
    """What a pod is to be."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    """Those with `restartPolicy: Always` run on beside the others and have ports and probes too."""
    node_name: str = ""
    host_network: bool = False
    service_account_name: str = ""
    service_account: str = ""
    """The deprecated twin of `serviceAccountName`."""


class PodCondition(Foreign, frozen=True, kw_only=True):
    """One condition of a pod."""

    type: str
    status: str


class PodAddress(Foreign, frozen=True, kw_only=True):
    """One of a pod's addresses."""

    ip: str


class PodStatus(Foreign, frozen=True, kw_only=True):
    """What a pod is now."""

    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: tuple[PodAddress, ...] = msgspec.field(default=(), name="podIPs")
    conditions: tuple[PodCondition, ...] = ()


class Pod(Foreign, frozen=True, kw_only=True):
    """A pod."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Pod"] = "Pod"
    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


def owner_name(pod: Pod) -> str:
    """Return the name of what made a pod, as people know it, by the pod's object alone: of a ReplicaSet the Deployment's.

    Source: Istio derives workload names the same way, which its dashboards rely on.
    """
    owner = pod.metadata.controller
    if owner is None:
        return pod.metadata.name
    if owner.kind == "ReplicaSet":
        template_hash = pod.metadata.labels.get("pod-template-hash", "")
        return owner.name.removesuffix(f"-{template_hash}") if template_hash else owner.name
    return _CRON_SUFFIX.sub("", owner.name) if owner.kind == "Job" else owner.name
