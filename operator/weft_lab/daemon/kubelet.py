"""Runs the pods of all nodes: gives them networks, carries out their lives' orders, writes their statuses. No decisions."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from msgspec.structs import replace

from weft_contract.labels import NETNS
from weft_lab.addressing import AddressesExhaustedError, Pair, Pool
from weft_lab.daemon import probing
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.loop import Timer
from weft_lab.daemon.pod_runtime import PodRuntime
from weft_lab.daemon.store import timestamp
from weft_lab.machine.namespaces import namespace_path
from weft_lab.model import ConfigMap, Pod, PodStatus, Secret
from weft_lab.plan.container_life import FIRST_BACKOFF_S, MAX_BACKOFF_S
from weft_lab.plan.environment import Sources
from weft_lab.plan.hostnames import HostEntry, entries_for
from weft_lab.plan.pod_status import StatusWriter
from weft_lab.plan.view import View, pod_key

_log: Final = logging.getLogger("weft_lab.kubelet")


class Gate(Protocol):
    """Says when the containers of a pod may start: for a meshed pod, once the agent has captured it."""

    def open_for(self, runtime: PodRuntime, then: Callable[[], None]) -> None:
        """Call `then` on the loop's thread when the pod's containers may start."""


class Kubelet:
    """The pods that run. All methods run on the loop's thread."""

    def __init__(self, lab: Lab, gate: Gate, clock: Callable[[float], str]) -> None:
        self._lab = lab
        self._gate = gate
        self._clock = clock
        self._pools: dict[str, Pool] = {
            node: lab.plan.node_pods(number) for number, node in enumerate(lab.record.nodes, start=1)
        }
        self._probers: dict[str, ThreadPoolExecutor] = {
            node: probing.node_threads(namespace_path(lab.node_namespace(node))) for node in lab.record.nodes
        }
        self._timers: dict[str, Timer] = {}
        self._later: dict[str, Timer] = {}
        """Pods that could not be given a network, with the date of the next attempt; by uid."""
        self._failures: dict[str, int] = {}
        self._services: list[tuple[str, HostEntry]] = []
        self.pods: dict[str, PodRuntime] = {}
        """By uid."""

    def sync(self, view: View) -> None:
        """Start the pods that are new on a node, and end those that are being deleted."""
        for pod in view.pods():
            runtime = self.pods.get(pod.metadata.uid)
            if runtime is None and pod.spec.node_name:
                if pod.metadata.deletion_timestamp is not None:
                    self._lab.store.delete(pod_key(pod))
                elif pod.metadata.uid not in self._later and not pod.finished and pod.spec.node_name in self._pools:
                    self._admit(pod)
            elif runtime is not None:
                runtime.pod = pod
                if pod.metadata.deletion_timestamp is not None:
                    self._delete(runtime, pod)

    def set_services(self, services: list[tuple[str, HostEntry]]) -> None:
        """Bring all pods' hosts files up to date."""
        if services != self._services:
            self._services = services
            for runtime in self.pods.values():
                if runtime.networked:
                    self._write_hosts(runtime)

    def find(self, namespace: str, name: str) -> PodRuntime | None:
        """Return a running pod by its name."""
        for runtime in self.pods.values():
            metadata = runtime.pod.metadata
            if (metadata.namespace, metadata.name) == (namespace, name):
                return runtime
        return None

    def close(self) -> None:
        """Give up the threads; the process is about to end."""
        for prober in self._probers.values():
            prober.shutdown(wait=False, cancel_futures=True)

    # -- a pod's beginning ----------------------------------------------------------------------------------------

    def _admit(self, pod: Pod) -> None:
        addresses: Pair | None = None
        if not pod.spec.host_network:
            try:
                addresses = self._pools[pod.spec.node_name].take()
            except AddressesExhaustedError as exc:
                self._try_later(pod, "OutOfPodAddresses", str(exc))
                return
        writer = StatusWriter(self._clock, timestamp())
        runtime = PodRuntime(self._lab, pod, addresses, self._probers[pod.spec.node_name], writer)
        runtime.sources = lambda: self._sources(pod.metadata.namespace)
        runtime.on_news = lambda: self._pump(runtime)
        self.pods[runtime.uid] = runtime
        self._lab.loop.in_thread(runtime.build, lambda future: self._built(runtime, future))

    def _built(self, runtime: PodRuntime, future: "Future[None]") -> None:
        error = future.exception()
        if error is not None:
            _log.error("pod %s has no network: %s", runtime.uid, error)
            self._forget(runtime)
            self._try_later(runtime.pod, "FailedCreatePodSandBox", str(error))
            return
        self._failures.pop(runtime.uid, None)
        runtime.networked = True
        self._annotate(runtime)
        self._write_hosts(runtime)
        self._publish(runtime)
        self._gate.open_for(runtime, lambda: self._prepared(runtime))
        self._pump(runtime)

    def _prepared(self, runtime: PodRuntime) -> None:
        runtime.life.prepared()
        self._pump(runtime)

    def _annotate(self, runtime: PodRuntime) -> None:
        """Tell the agent where the pod's network is, as on any plain host."""
        found = self._lab.store.get(pod_key(runtime.pod))
        if isinstance(found, Pod) and runtime.addresses is not None:
            annotations = found.metadata.annotations | {NETNS: runtime.namespace}
            metadata = replace(found.metadata, annotations=annotations)
            self._lab.store.update(pod_key(found), replace(found, metadata=metadata))

    def _try_later(self, pod: Pod, reason: str, message: str) -> None:
        """Say why a pod cannot run yet, and try again with growing patience."""
        failures = self._failures.get(pod.metadata.uid, 0) + 1
        self._failures[pod.metadata.uid] = failures
        delay_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (failures - 1))
        self._later[pod.metadata.uid] = self._lab.loop.at(
            self._lab.loop.now + delay_s, lambda: self._try_again(pod.metadata.uid)
        )
        found = self._lab.store.get(pod_key(pod))
        if isinstance(found, Pod):
            status = PodStatus(phase="Pending", reason=reason, message=message)
            self._lab.store.update(pod_key(found), replace(found, status=status))

    def _try_again(self, uid: str) -> None:
        del self._later[uid]
        self.sync(self._lab.store.view())

    def _write_hosts(self, runtime: PodRuntime) -> None:
        status = runtime.status()
        runtime.pod = replace(runtime.pod, status=status)
        runtime.write_hosts(entries_for(runtime.pod.metadata.namespace, self._services))

    def _sources(self, namespace: str) -> Sources:
        view = self._lab.store.view()
        return Sources(
            {key.name: item for key, item in view.of(ConfigMap) if key.namespace == namespace},
            {key.name: item for key, item in view.of(Secret) if key.namespace == namespace},
        )

    # -- a pod's life ---------------------------------------------------------------------------------------------

    def _pump(self, runtime: PodRuntime) -> None:
        if runtime.uid not in self.pods:
            return
        for order in runtime.life.advance(self._lab.loop.now):
            runtime.carry_out(order)
        self._publish(runtime)
        timer = self._timers.pop(runtime.uid, None)
        if timer is not None:
            timer.cancel()
        if runtime.life.gone:
            self._end(runtime)
            return
        wake_at = runtime.life.wake_at()
        if wake_at is not None:
            self._timers[runtime.uid] = self._lab.loop.at(wake_at, lambda: self._pump(runtime))

    def _publish(self, runtime: PodRuntime) -> None:
        found = self._lab.store.get(pod_key(runtime.pod))
        if isinstance(found, Pod) and found.metadata.uid == runtime.uid:
            status = runtime.status()
            if status != found.status:
                found = self._lab.store.update(pod_key(found), replace(found, status=status))
            if isinstance(found, Pod):
                runtime.pod = found

    # -- a pod's end ----------------------------------------------------------------------------------------------

    def _delete(self, runtime: PodRuntime, pod: Pod) -> None:
        grace = pod.metadata.deletion_grace_period_seconds
        grace_s = pod.spec.termination_grace_period_seconds if grace is None else grace
        runtime.life.delete(float(grace_s), self._lab.loop.now)
        self._pump(runtime)

    def _end(self, runtime: PodRuntime) -> None:
        if not runtime.networked:
            return  # its network is being made; `_built` comes back here by way of `_pump`
        runtime.networked = False
        self._lab.loop.in_thread(runtime.demolish, lambda future: self._demolished(runtime, future))

    def _demolished(self, runtime: PodRuntime, future: "Future[None]") -> None:
        if (error := future.exception()) is not None:
            _log.error("pod %s leaves something behind: %s", runtime.uid, error)
        self._forget(runtime)
        self._lab.store.delete(pod_key(runtime.pod))

    def _forget(self, runtime: PodRuntime) -> None:
        self.pods.pop(runtime.uid, None)
        if runtime.addresses is not None:
            self._pools[runtime.node].free(runtime.addresses)
