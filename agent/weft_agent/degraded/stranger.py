"""Who answers at an endpoint that no configuration knows, by the pod object behind it. Pure.

Theory. The operator says who a pod is by its object at the API server: namespace, service account, what it opted into. The
same object is read here, of the very pod (uid) that a slice names, at the address and on the node that the slice shows.
What comes of it is an *expectation*: the tunnel fails unless the pod's certificate proves it, so a mistake is refused, never
weaker. A pod that is not certainly in the mesh, and a port that it keeps out of the capture, stay unknown and get no traffic:
plain TCP goes only where the operator said so.

Whether it is in the mesh: its own label says so, or it has a gate, which admission gave it because its namespace opted in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weft_agent.control.roster import ENDED, has_gate, pod_addresses, stranger
from weft_agent.degraded.place import Place
from weft_contract import labels
from weft_contract.objects import Pod
from weft_contract.objects.annotations import AnnotationError, enrolled
from weft_contract.objects.pod import owner_name
from weft_contract.resources import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Pods that the API server was asked for."""

    trust_domain: str = ""
    pods: Mapping[str, Pod] = field(default_factory=dict)
    """By uid."""


def stranger_there(place: Place, asked: Asked) -> Endpoint | None:
    """Return who answers at a place; None: that is not known, or it is nobody of the mesh for certain."""
    pod = asked.pods.get(place.pod.uid) if place.pod is not None else None
    if pod is None or not asked.trust_domain or not _is_at(pod, place) or not _opted_in(pod):
        return None
    workload = stranger(pod, (place.address,), asked.trust_domain)
    if workload is None or not workload.capture.takes_inbound(place.port):
        return None
    return Endpoint(
        address=place.address,
        port=place.port,
        identity=workload.identity,
        node=pod.spec.node_name,
        workload=f"{workload.namespace}/{owner_name(pod)}",
        zone=place.zone,
        ready=place.ready,
    )


def _is_at(pod: Pod, place: Place) -> bool:
    runs = pod.status.phase not in ENDED and not pod.spec.host_network and bool(pod.spec.node_name)
    return runs and place.node in ("", pod.spec.node_name) and place.address in pod_addresses(pod)


def _opted_in(pod: Pod) -> bool:
    try:
        return enrolled(pod.metadata.labels[labels.MESH_LABEL])
    except (KeyError, AnnotationError):
        return has_gate(pod)
