"""Events on pods that opted in and are not as they should be: on the node's network, without a possible identity, without
their gate. Pods have no condition that we may write, so an Event is how their owners learn of it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from weft_contract.gate import GATE_CONTAINER
from weft_contract.objects import Pod
from weft_operator.compile import ClusterView
from weft_operator.compile.members import ENDED, Member, member_of, wants_in
from weft_operator.conditions import Notice

_NO_GATE: Final = (
    "created without the capture gate (what puts it in was away, or did not apply to it): it may have spoken before it was "
    "captured; delete it, so that it is made anew with the gate"
)


def pod_notices(view: ClusterView, pods: Iterable[tuple[str, Pod]], trust_domain: str) -> Iterator[tuple[Pod, Notice]]:
    """Yield what is wrong with pods that opted in.

    Args:
        view: the namespaces around them.
        pods: by key.
        trust_domain: of their identities.
    """
    for key, pod in pods:
        if pod.status.phase in ENDED or pod.metadata.deletion_timestamp or not wants_in(view, pod):
            continue
        found = member_of(view, key, pod, trust_domain)
        if found is not None and not isinstance(found, Member):
            yield pod, Notice(type="Warning", reason="NotInMesh", note=f"{found.message}; {found.remedy}")
        elif not pod.spec.host_network and GATE_CONTAINER not in {item.name for item in pod.spec.init_containers}:
            yield pod, Notice(type="Warning", reason="NoCaptureGate", note=_NO_GATE)
