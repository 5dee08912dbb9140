"""The pods that are really there, by node and service account: what decides who may have which certificate.

Theory: this is the operator's own view, fed by the same changes as the compiler, and changed in the event loop before the
compiler sees them. It is asked at the moment of a request. What is not here is refused: a pod that was just made is here
within the delay of a watch, and agents ask again; a pod that is gone must never have its identity signed again.
"""

from collections.abc import Mapping
from types import MappingProxyType

from weft_contract import labels
from weft_contract.objects import Namespace, Pod
from weft_operator.compile import ClusterView, Held
from weft_operator.compile.members import ENDED, service_account_of, wants_in
from weft_operator.compile.view import ObjectKey

Place = tuple[str, str, str]
"""Node, namespace, service account."""


class PodIndex:
    """Pods and what enrols them. Not safe for threads."""

    def __init__(self) -> None:
        self._pods: dict[str, Pod] = {}
        self._at: dict[Place, set[str]] = {}
        self._by_uid: dict[str, str] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._view = ClusterView(namespaces=MappingProxyType(self._namespaces))

    def __len__(self) -> int:
        """Pods known."""
        return len(self._pods)

    def apply(self, changes: Mapping[ObjectKey, Held | None]) -> None:
        """Take over changes of objects; those of other kinds are passed over."""
        for (kind, key), held in changes.items():
            item = held.item if held is not None else None
            if kind == "Pod":
                self._replace(key, item if isinstance(item, Pod) else None)
            elif kind == "Namespace":
                if isinstance(item, Namespace):
                    self._namespaces[key] = item
                else:
                    self._namespaces.pop(key, None)

    def _replace(self, key: str, pod: Pod | None) -> None:
        old = self._pods.pop(key, None)
        if old is not None:
            place = _place(old)
            self._at[place].discard(key)
            if not self._at[place]:
                del self._at[place]
            if self._by_uid.get(old.metadata.uid) == key:
                del self._by_uid[old.metadata.uid]
        if pod is not None:
            self._pods[key] = pod
            self._at.setdefault(_place(pod), set()).add(key)
            if pod.metadata.uid:
                self._by_uid[pod.metadata.uid] = key

    def runs(self, uid: str, node: str, key: str) -> bool:
        """Whether exactly this pod is on this node.

        Args:
            uid: the pod's.
            node: its node.
            key: its `namespace/name`.
        """
        pod = self._pods.get(key)
        return pod is not None and pod.metadata.uid == uid and pod.spec.node_name == node and _is_alive(pod)

    def objection(self, node: str, namespace: str, service_account: str) -> str | None:
        """Say why a node may not have the identity of a service account; None: it may.

        It may while a pod of that account is there, is in the mesh, has a network of its own and has not finished; a pod
        that is being deleted is there until its object is gone.
        """
        keys = self._at.get((node, namespace, service_account), ())
        account = f"service account {namespace}/{service_account}"
        if not keys:
            return (
                f"no pod of {account} is on node {node}, as far as this replica knows; if one was just made, ask again in a "
                f"second (kubectl get pods -n {namespace} --field-selector spec.nodeName={node})"
            )
        reasons = [(key, self._objection_to(self._pods[key])) for key in sorted(keys)]
        if any(reason is None for _, reason in reasons):
            return None
        key, reason = reasons[0]
        return f"no pod of {account} on node {node} is in the mesh; pod {key} {reason}"

    def _objection_to(self, pod: Pod) -> str | None:
        if not _is_alive(pod):
            return "has finished"
        if not wants_in(self._view, pod):
            return f"did not opt in: label it or its namespace {labels.MESH_LABEL}: {labels.MESH_ENABLED}"
        if pod.spec.host_network:
            return "uses the node's network and can have no identity of its own"
        return None


def _place(pod: Pod) -> Place:
    return pod.spec.node_name, pod.metadata.namespace, service_account_of(pod)


def _is_alive(pod: Pod) -> bool:
    return pod.status.phase not in ENDED
