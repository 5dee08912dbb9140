"""The remaining objects, and the union of all."""

from typing import TypeAlias

import msgspec

from weft_lab.model.meta import Metadata, Model
from weft_lab.model.pod import Pod
from weft_lab.model.service import EndpointSlice, Service
from weft_lab.model.workload import DaemonSet, Deployment, Job, ReplicaSet, StatefulSet


class Namespace(Model, frozen=True, kw_only=True):
    """A namespace; its labels opt pods in."""

    metadata: Metadata


class ServiceAccount(Model, frozen=True, kw_only=True):
    """Who pods are."""

    metadata: Metadata


class NodeAddress(Model, frozen=True, kw_only=True):
    """An address of a node."""

    type: str
    address: str


class NodeStatus(Model, frozen=True, kw_only=True):
    """What a node is."""

    addresses: tuple[NodeAddress, ...] = ()


class NodeSpec(Model, frozen=True, kw_only=True):
    """Where a node's pods live."""

    pod_cidrs: tuple[str, ...] = msgspec.field(name="podCIDRs", default=())


class Node(Model, frozen=True, kw_only=True):
    """A node of the lab; made by the lab, labelled by users."""

    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ConfigMap(Model, frozen=True, kw_only=True):
    """Configuration for pods."""

    metadata: Metadata
    data: dict[str, str] = msgspec.field(default_factory=dict)
    binary_data: dict[str, str] = msgspec.field(default_factory=dict)


class Secret(Model, frozen=True, kw_only=True):
    """Configuration for pods that is not shown; values of `data` are base64."""

    metadata: Metadata
    data: dict[str, str] = msgspec.field(default_factory=dict)
    string_data: dict[str, str] = msgspec.field(default_factory=dict)
    type: str = "Opaque"


class Foreign(Model, frozen=True, kw_only=True):
    """An object that the lab only keeps and hands to the compiler: mesh objects and Gateway API routes."""

    metadata: Metadata
    document: dict[str, object]
    """The whole document as it was given, with its namespace filled in."""


Workload: TypeAlias = Deployment | ReplicaSet | StatefulSet | DaemonSet | Job
LabObject: TypeAlias = (
    Namespace | ServiceAccount | Node | ConfigMap | Secret | Service | EndpointSlice | Pod | Workload | Foreign
)
