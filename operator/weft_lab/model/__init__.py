"""What the lab reads and shows: Kubernetes objects, as far as one machine can mean them.

Belongs here: frozen structs in Kubernetes' own field names, and reading them from documents with every surprise reported.
Does not belong here: what is done about an object (`weft_lab.plan`), and mesh objects, which only the compiler reads.
"""

from weft_lab.model.decode import Decoded, decode
from weft_lab.model.kinds import KINDS, Kind, kind_for
from weft_lab.model.meta import Condition, Key, Metadata, OwnerReference
from weft_lab.model.objects import ConfigMap, Foreign, LabObject, Namespace, Node, Secret, ServiceAccount
from weft_lab.model.pod import Container, ContainerStatus, Pod, PodSpec, PodStatus, Probe
from weft_lab.model.service import EndpointSlice, Service, ServicePort
from weft_lab.model.workload import DaemonSet, Deployment, Job, PodTemplate, ReplicaSet, StatefulSet

__all__ = [
    "KINDS",
    "Condition",
    "ConfigMap",
    "Container",
    "ContainerStatus",
    "DaemonSet",
    "Decoded",
    "Deployment",
    "EndpointSlice",
    "Foreign",
    "Job",
    "Key",
    "Kind",
    "LabObject",
    "Metadata",
    "Namespace",
    "Node",
    "OwnerReference",
    "Pod",
    "PodSpec",
    "PodStatus",
    "PodTemplate",
    "Probe",
    "ReplicaSet",
    "Secret",
    "Service",
    "ServiceAccount",
    "ServicePort",
    "StatefulSet",
    "decode",
    "kind_for",
]
