"""Brings the lab to what its objects say: controllers, scheduler, endpoints, then everybody who acts on them.

Theory: every change of an object asks for one round soon; a round looks at everything and changes objects in turn, which
asks for the next, until a round changes nothing. Rounds are cheap and idempotent, so nothing has to be remembered.
"""

import itertools
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from weft_lab.daemon.kubelet import Kubelet
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.store import timestamp
from weft_lab.daemon.translator import Translator
from weft_lab.model import Condition, EndpointSlice, Key, Namespace, Pod, PodStatus
from weft_lab.names import short_hash
from weft_lab.plan.controllers import CreatePod, DeletePod, SetStatus, reconcile
from weft_lab.plan.endpoints import MANAGED_LABEL, MANAGER, slices
from weft_lab.plan.hostnames import service_entries
from weft_lab.plan.schedule import Scheduled, Unschedulable, schedule
from weft_lab.plan.view import View, pod_key

_GATHER_S: Final = 0.01
"""Changes of so short a time are answered by one round."""


class Reconciler:
    """Rounds. All methods run on the loop's thread."""

    def __init__(self, lab: Lab, kubelet: Kubelet, translator: Translator, publish: Callable[[View], None]) -> None:
        self._lab = lab
        self._kubelet = kubelet
        self._translator = translator
        self._publish = publish
        self._serials = itertools.count()
        self._asked = False

    def ask(self) -> None:
        """Have a round soon."""
        if not self._asked:
            self._asked = True
            self._lab.loop.at(self._lab.loop.now + _GATHER_S, self._round)

    def delete(self, key: Key, grace_s: float | None) -> None:
        """Begin the end of an object; a pod's takes its grace period, a namespace's until it is empty."""
        found = self._lab.store.get(key)
        if isinstance(found, Pod) and found.spec.node_name:
            self._mark_pod(key, found, grace_s)
        elif isinstance(found, Namespace):
            metadata = replace(found.metadata, deletion_timestamp=timestamp())
            self._lab.store.update(key, replace(found, metadata=metadata))
            for inner in [item for item in self._lab.store.view().objects if item.namespace == key.name]:
                self.delete(inner, grace_s)
        else:
            self._lab.store.delete(key)

    def _mark_pod(self, key: Key, pod: Pod, grace_s: float | None) -> None:
        metadata = pod.metadata
        wished = pod.spec.termination_grace_period_seconds if grace_s is None else int(grace_s)
        earlier = metadata.deletion_grace_period_seconds
        grace = wished if earlier is None else min(earlier, wished)
        if metadata.deletion_timestamp is None or grace != earlier:
            marked = replace(
                metadata,
                deletion_timestamp=metadata.deletion_timestamp or timestamp(),
                deletion_grace_period_seconds=grace,
            )
            self._lab.store.update(key, replace(pod, metadata=marked))

    def _round(self) -> None:
        self._asked = False
        self._control()
        self._schedule()
        self._endpoints()
        self._finish_namespaces()
        view = self._lab.store.view()
        self._kubelet.sync(view)
        self._kubelet.set_services(service_entries(view))
        self._translator.sync(view)
        self._publish(view)

    def _control(self) -> None:
        store = self._lab.store
        for step in reconcile(store.view(), self._fresh):
            match step:
                case CreatePod(pod):
                    if store.get(pod_key(pod)) is None and not self._closing(pod.metadata.namespace):
                        store.create(pod_key(pod), pod)
                case DeletePod(key):
                    self.delete(key, None)
                case SetStatus(key, found):
                    store.update(key, found)

    def _fresh(self, uid: str) -> str:
        """Return a suffix for a pod's name; no two pods of a lab's life get the same by design."""
        return short_hash(f"{uid} {next(self._serials)}", 5)

    def _schedule(self) -> None:
        view = self._lab.store.view()
        nodes = view.nodes()
        placed = [pod for pod in view.pods() if pod.spec.node_name and not pod.finished]
        known = {node.metadata.name for node in nodes}
        for pod in view.pods():
            if pod.spec.node_name in known or pod.finished:
                continue
            others = [other for other in placed if other.spec.node_name in known]
            match schedule(pod, nodes, others):
                case Scheduled(node):
                    bound = replace(pod, spec=replace(pod.spec, node_name=node))
                    self._lab.store.update(pod_key(pod), bound)
                    placed.append(bound)
                case Unschedulable(message):
                    self._wait(pod, message)

    def _wait(self, pod: Pod, message: str) -> None:
        if all(item.message != message for item in pod.status.conditions):
            condition = Condition(
                type="PodScheduled",
                status="False",
                reason="Unschedulable",
                message=message,
                last_transition_time=timestamp(),
            )
            self._lab.store.update(pod_key(pod), replace(pod, status=PodStatus(conditions=(condition,))))

    def _endpoints(self) -> None:
        store = self._lab.store
        view = store.view()
        wanted = slices(view)
        present = {
            key: item for key, item in view.of(EndpointSlice) if item.metadata.labels.get(MANAGED_LABEL) == MANAGER
        }
        for key, item in wanted.items():
            known = present.get(key)
            if known is None:
                store.create(key, item)
            elif (known.endpoints, known.ports) != (item.endpoints, item.ports):
                store.update(key, item)
        for key in present.keys() - wanted.keys():
            store.delete(key)

    def _closing(self, namespace: str) -> bool:
        found = self._lab.store.get(Key("Namespace", "", namespace))
        return found is None or found.metadata.deletion_timestamp is not None

    def _finish_namespaces(self) -> None:
        objects = self._lab.store.view().objects
        for key, found in objects.items():
            closing = isinstance(found, Namespace) and found.metadata.deletion_timestamp is not None
            if closing and not any(item.namespace == key.name for item in objects):
                self._lab.store.delete(key)
