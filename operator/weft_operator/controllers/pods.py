"""Events on pods that opted in and are not as they should be: on the node's network, without a possible identity, without
their gate. Pods have no condition that we may write, so an Event is how their owners learn of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from weft_contract.gate import GATE_CONTAINER
from weft_contract.objects import Pod
from weft_operator.compile import ClusterView
from weft_operator.compile.members import ENDED, Member, member_of, wants_in
from weft_operator.conditions import Notice
from weft_operator.controllers.events import Recorder

_NO_GATE: Final = (
    "created without the capture gate (the webhook was away, or did not apply to it): it may have spoken before it was "
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


@dataclass(slots=True)
class PodTeller:
    """Tells each pod's owner once.

    Args:
        recorder: writes Events.
        told: pods by uid, and what was said about them.
    """

    recorder: Recorder
    told: dict[str, str] = field(default_factory=dict)

    async def tell(self, found: Iterable[tuple[Pod, Notice]]) -> int:
        """Write Events for what was not told before; forget pods that are right again or gone. Returns how many."""
        now = {pod.metadata.uid: (pod, notice) for pod, notice in found}
        self.told = {uid: reason for uid, reason in self.told.items() if uid in now}
        count = 0
        for uid, (pod, notice) in now.items():
            if self.told.get(uid) != notice.reason:
                self.told[uid] = notice.reason
                await self.recorder.tell(uid, _item(pod), notice)
                self.recorder.forget(uid)
                count += 1
        return count


def _item(pod: Pod) -> dict[str, object]:
    metadata = {"name": pod.metadata.name, "namespace": pod.metadata.namespace, "uid": pod.metadata.uid}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
