"""Namespace, Node and ServiceAccount: the parts of a cluster that identities and enrolment hang on."""

from typing import Literal

from weft_contract.objects.metadata import Metadata
from weft_contract.objects.shape import Foreign


class Namespace(Foreign, frozen=True, kw_only=True):
    """A namespace; its label may enrol all its pods."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Namespace"] = "Namespace"
    metadata: Metadata


class NodeAddress(Foreign, frozen=True, kw_only=True):
    """One address of a node."""

    type: str
    address: str


class NodeStatus(Foreign, frozen=True, kw_only=True):
    """What is known of a node."""

    addresses: tuple[NodeAddress, ...] = ()


class Node(Foreign, frozen=True, kw_only=True):
    """A machine that pods run on."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Node"] = "Node"
    metadata: Metadata
    status: NodeStatus = NodeStatus()


class ServiceAccount(Foreign, frozen=True, kw_only=True):
    """The name that a pod's identity is made of."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["ServiceAccount"] = "ServiceAccount"
    metadata: Metadata
