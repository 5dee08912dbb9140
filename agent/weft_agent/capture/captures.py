"""The captures of all pods on this node: one task per pod enters, captures, notices change, and leaves.

Theory: a pod is *pending* until its listeners exist in every worker and its rules are in force, then *captured*; *failed*
says why and is tried again; *absent* runs nowhere on this node (yet, or any more), so there is nothing to guard; *leaving*
lets new connections pass, waits a while for those that the agent still carries, and takes the rules away first and the
listeners after, so that at no moment traffic goes to a listener that nobody serves. Listeners come before rules for the
same reason. A pod whose sandbox was made anew has another namespace: all that was made in the old one is given up before the
new one is captured.

Rules are taken away only when a configuration without the pod says so, or when the agent is told to at its end. Whatever
else ends a task, a bug included, leaves them in force. What a control had captured is recorded, so that the next one
releases pods that left the mesh while nobody looked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from weft_agent.capture.caretaker import Caretaker
from weft_agent.capture.namespaces import NamespaceFinder, PodAbsentError
from weft_agent.capture.network import Listeners, PodNetwork, release_left_behind
from weft_agent.capture.pod import CaptureState, Pod
from weft_agent.channel.messages import PodListeners
from weft_agent.control.desired import PodSockets
from weft_agent.control.fleet import Fleet
from weft_agent.control.state_directory import StateDirectory
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.resources import Workload
from weft_iptables.backends import BackendName, Wanted, choose_backend
from weft_iptables.errors import IptablesError
from weft_iptables.namespaces import NamespaceId, namespace_of

T = TypeVar("T")

FIRST_RETRY_S: Final = 0.25
LONGEST_RETRY_S: Final = 4.0
LONGEST_ABSENCE_S: Final = 1.0
"""A pod that is being started is looked for this often at least; its gate waits."""
LEAVE_S: Final = 10.0
FINISH_LOOK_S: Final = 0.25
THREADS: Final = 4
RECORD: Final = "captured.json"

Recorded = tuple[str, str, int, int]
"""Pod uid, path of its namespace, device and inode that the namespace is known by."""


@dataclass(frozen=True, slots=True)
class Means:
    """How namespaces are found and captured on this node."""

    finder: NamespaceFinder
    backend: Wanted
    """How rules shall be written."""
    proc_roots: Sequence[Path]
    """Where proc filesystems are mounted, the preferred one first."""
    patience_s: float
    """How long a pod that leaves the mesh may keep connections that the agent carries."""


class Captures:
    """All pods.

    Args:
        fleet: told of pods and their listeners.
        means: how namespaces are found and captured.
        state: where captures are recorded.
        log: told of every change.
        metrics: counts them.
    """

    def __init__(self, fleet: Fleet, means: Means, state: StateDirectory, log: Log, metrics: Metrics) -> None:
        self._fleet = fleet
        self._finder = means.finder
        self._wanted = means.backend
        self._proc_roots = means.proc_roots
        self._patience_s = means.patience_s
        self._state = state
        self._log = log
        self._metrics = metrics
        self.pods: dict[str, Pod] = {}
        """By uid."""
        self.backend: BackendName | None = None
        """How rules are written; None until that had to be decided."""
        self.opened: Callable[[str], None] = lambda uid: None
        """Told of each pod whose namespace is open now and whose listeners the workers have."""
        self.left: Callable[[], None] = lambda: None
        """Told whenever a pod has left for good."""
        self.shown: Callable[[], None] = lambda: None
        """Told of each change of a pod's state."""
        self._choosing = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._limiter = trio.CapacityLimiter(THREADS)
        self._workloads: Mapping[str, Workload] | None = None
        self._complete = True
        self._adopted: dict[str, Listeners] = {}
        recorded = state.read(RECORD, list[Recorded]) or []
        self._remembered = {uid: (Path(path), NamespaceId(device, inode)) for uid, path, device, inode in recorded}
        """Namespaces in which a former control's rules are, by pod uid, until it is known what became of the pod."""
        self._ending = False
        self._care = trio.CancelScope()
        self._empty = trio.Event()

    # -- what others ask ------------------------------------------------------------------------------------------

    def missing(self) -> Iterable[str]:
        """Say which pods should be captured and are not."""
        for pod in self.pods.values():
            comes_back = pod.state == "leaving" and pod.workload.uid in (self._workloads or ())
            if pod.state in {"pending", "failed"} or comes_back:
                yield f"pod {pod.key}: {pod.state}" + (f": {pod.error}" if pod.error else "")

    def remembered(self) -> list[str]:
        """Return the uids of the pods that a former control had captured."""
        return list(self._remembered)

    def leaving(self) -> list[Workload]:
        """Return the pods that left the mesh and whose last connections the agent still carries."""
        return [pod.workload for pod in self.pods.values() if pod.release]

    def adopt(self, listeners: PodListeners, sockets: Listeners) -> None:
        """Take over the listeners that orphans share; the pod stays as it is until a configuration says otherwise."""
        self._adopted[listeners.uid] = sockets
        self._fleet.desired.pods[listeners.uid] = PodSockets(listeners, tuple(sockets.values()))

    def want(self, workloads: Iterable[Workload], *, complete: bool = True) -> None:
        """Capture exactly these pods.

        Args:
            workloads: the pods.
            complete: False leaves alone for now what a former control had captured beside them.
        """
        self._workloads = {workload.uid: workload for workload in workloads}
        self._complete = complete
        if self._nursery is not None and not self._ending:
            self._reconcile(self._workloads)

    def look_again(self) -> None:
        """Look at once for pods that were not there: something changed on this node."""
        for pod in self.pods.values():
            if pod.state == "absent":
                pod.again.set()

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep all captures until cancelled; rules stay in force then."""
        caretaker = Caretaker(self.pods, self._fail, self._log, self._metrics)
        try:
            async with trio.open_nursery() as self._nursery:
                if self._workloads is not None:
                    self._reconcile(self._workloads)
                with self._care:
                    async with trio.open_nursery() as care:
                        care.start_soon(caretaker.heal)
                        care.start_soon(caretaker.count)
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def stop_accepting(self) -> None:
        """Close control's copies of all listeners, when the workers drain."""
        for pod in self.pods.values():
            pod.close_listeners()

    def let_go(self) -> None:
        """Look after no pod any more, because a successor does; what pods have stays open for what still runs."""
        self._ending = True
        self._care.cancel()

    async def leave_all(self, *, release: bool) -> None:
        """Leave every pod, when the agent ends.

        Args:
            release: True takes the rules away; False leaves them, so that nothing passes unguarded.
        """
        self._ending = True
        for pod in self.pods.values():
            pod.release = release
            pod.scope.cancel()
        if self.pods:
            with trio.move_on_after(LEAVE_S):
                await self._empty.wait()

    def _reconcile(self, wanted: Mapping[str, Workload]) -> None:
        for uid, workload in wanted.items():
            pod = self.pods.get(uid)
            if pod is None:
                self._join(workload)
            elif pod.workload != workload or pod.release:
                pod.workload = workload
                pod.again.set()
        for uid, pod in self.pods.items():
            if uid not in wanted and not pod.release:
                pod.release = True
                pod.scope.cancel()
        if self._complete:
            for uid in self._adopted.keys() - self.pods.keys():
                self._withdraw(uid, self._adopted.pop(uid))
            self._release_left_behind()
        self._show()

    def _join(self, workload: Workload) -> None:
        if self._nursery is not None and not self._ending:
            pod = Pod(workload)
            self.pods[workload.uid] = pod
            self._nursery.start_soon(self._keep, pod)

    async def _keep(self, pod: Pod) -> None:
        """Hold one pod's capture from its coming to its going."""
        retry_s = FIRST_RETRY_S
        try:
            with pod.scope:
                while True:
                    pod.again = trio.Event()
                    wait_s = float("inf")
                    try:
                        await self._capture(pod)
                        retry_s = FIRST_RETRY_S
                    except PodAbsentError as exc:
                        self._set(pod, "absent", str(exc))
                        wait_s, retry_s = retry_s, min(retry_s * 2, LONGEST_ABSENCE_S)
                    except (IptablesError, OSError) as exc:
                        self._fail(pod, exc)
                        wait_s, retry_s = retry_s, min(retry_s * 2, LONGEST_RETRY_S)
                    with trio.move_on_after(wait_s):
                        await pod.again.wait()
        finally:
            if pod.release and not self._ending:
                with trio.move_on_after(self._patience_s, shield=True):
                    await self._finish_connections(pod)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LEAVE_S):
                await self._leave(pod)

    # -- coming -----------------------------------------------------------------------------------------------------

    async def _capture(self, pod: Pod) -> None:
        backend = await self._chosen_backend()
        async with pod.busy:
            network = await self._network(pod, backend)
            await self._give_listeners(pod, network)
            if not pod.open:
                pod.open = True
                self.opened(pod.workload.uid)
            done = await self._in_thread(partial(network.capture, pod.workload))
        if pod.state != "captured" or done.changed:
            self._log.info(
                "pod-captured", pod=pod.key, backend=backend, changed=done.changed, kept=done.kept, netns=network.path
            )
        self._set(pod, "captured")

    async def _network(self, pod: Pod, backend: BackendName) -> PodNetwork:
        """Return the pod's namespace as it is now: the one that is held, or a new one where the sandbox was made anew."""
        try:
            found = await self._in_thread(partial(self._finder.open, pod.workload))
        except PodAbsentError:
            await self._give_up_network(pod, "the pod's sandbox is gone")
            await self._forget_sandbox(pod.workload.uid)
            raise
        if self._remembered.get(pod.workload.uid, (None, found.identity))[1] != found.identity:
            await self._forget_sandbox(pod.workload.uid)
        self._remembered.pop(pod.workload.uid, None)
        if pod.network is not None and pod.network.identity == found.identity:
            found.close()
            return pod.network
        await self._give_up_network(pod, "the pod has another namespace now")
        pod.network = PodNetwork(found, backend, self._proc_roots)
        self._record()
        return pod.network

    async def _give_up_network(self, pod: Pod, reason: str) -> None:
        """Let go of a namespace that is no longer the pod's, with everything that was made in it."""
        network, pod.network = pod.network, None
        if network is None:
            return
        pod.open = False
        self._withdraw(pod.workload.uid, pod.listeners)
        pod.listeners = {}
        try:
            await self._in_thread(network.release)
        except (IptablesError, OSError) as exc:
            self._log.info("namespace-not-released", pod=pod.key, netns=network.path, error=str(exc))
        network.close()
        self._log.info("namespace-left", pod=pod.key, netns=network.path, reason=reason)

    async def _give_listeners(self, pod: Pod, network: PodNetwork) -> None:
        """See to it that the pod has listeners and every worker has them."""
        uid = pod.workload.uid
        families = await self._in_thread(network.families)
        if uid in self._adopted:
            pod.listeners = self._adopted.pop(uid)
            if any(namespace_of(sock) != network.identity for sock in pod.listeners.values()):
                self._withdraw(uid, pod.listeners)  # the pod's sandbox was made anew while no control was there
                pod.listeners = {}
        if pod.listeners and {family for _, family in pod.listeners} != set(families):
            self._withdraw(uid, pod.listeners)  # a family came or went: a new set, the same for every worker
            pod.listeners = {}
        if not pod.listeners:
            pod.listeners = await self._in_thread(partial(network.listeners, families))
        if uid not in self._fleet.desired.pods:
            message = PodListeners(pod=pod.key, uid=uid, listeners=tuple(pod.listeners))
            self._fleet.desired.pods[uid] = PodSockets(message, tuple(pod.listeners.values()))
            self._fleet.changed()

    # -- going ------------------------------------------------------------------------------------------------------

    async def _finish_connections(self, pod: Pod) -> None:
        """Let new connections pass, and those that the agent carries come to their end, until the pod is wanted again."""
        self._set(pod, "leaving")
        pod.again = trio.Event()
        try:
            while not pod.again.is_set() and not self._ending and pod.network is not None:
                if self._is_anothers(pod, pod.network):
                    return
                async with pod.busy:
                    carried = await self._in_thread(partial(pod.network.carried, pod.workload.addresses))
                    if not carried:
                        return
                    await self._in_thread(pod.network.let_pass)
                self._tell_leaving(pod.workload.uid)
                with trio.move_on_after(FINISH_LOOK_S):
                    await pod.again.wait()
        except (IptablesError, OSError) as exc:
            self._log.warning("pod-leaves-at-once", pod=pod.key, error=str(exc), consequence="its connections break")

    def _tell_leaving(self, uid: str) -> None:
        """Have the workers let go of what only rests: tunnels and kept connections would be open for minutes."""
        desired = self._fleet.desired
        if uid in desired.pods and uid not in desired.leaving:
            desired.leaving.add(uid)
            self._fleet.changed()

    async def _leave(self, pod: Pod) -> None:
        self._set(pod, "leaving")
        async with pod.busy:
            if pod.network is not None:
                if pod.release and not self._is_anothers(pod, pod.network):
                    await self._release(pod, pod.network)
                pod.network.close()
                pod.network = None
        uid = pod.workload.uid
        if pod.release:
            self._withdraw(uid, pod.listeners)
            self._metrics.forget(**pod.labels)
        del self.pods[uid]
        if pod.release:
            self._record()
        if pod.scope.cancel_called and self._workloads and uid in self._workloads:
            self._join(self._workloads[uid])  # it came back while it was leaving; not where everything is cancelled
        if not self.pods:
            self._empty.set()
        self._show()
        self.left()

    def _is_anothers(self, pod: Pod, network: PodNetwork) -> bool:
        """Tell whether the namespace is held for another pod by now: on plain hosts a name may be given a new uid."""
        return any(
            other is not pod and other.network is not None and other.network.identity == network.identity
            for other in self.pods.values()
        )

    async def _release(self, pod: Pod, network: PodNetwork) -> None:
        try:
            await self._in_thread(network.release)
            self._log.info("pod-released", pod=pod.key)
        except (IptablesError, OSError) as exc:
            self._log.error("pod-not-released", pod=pod.key, error=str(exc))

    def _withdraw(self, uid: str, listeners: Listeners) -> None:
        self._fleet.desired.leaving.discard(uid)
        if self._fleet.desired.pods.pop(uid, None) is not None:
            self._fleet.changed()
        for sock in listeners.values():
            sock.close()

    def _release_left_behind(self) -> None:
        for uid in self._remembered.keys() - self.pods.keys():
            if self._nursery is not None:
                reason = "it left the mesh while no control was there"
                self._nursery.start_soon(self._release_one, *self._remembered.pop(uid), reason)

    async def _forget_sandbox(self, uid: str) -> None:
        """Leave nothing of a former control in a sandbox that the pod no longer has."""
        if uid in self._adopted:
            self._withdraw(uid, self._adopted.pop(uid))
        if uid in self._remembered:
            await self._release_one(*self._remembered.pop(uid), "it is no longer this pod's")

    async def _release_one(self, path: Path, identity: NamespaceId, reason: str) -> None:
        try:
            backend = await self._chosen_backend()
            await self._in_thread(partial(release_left_behind, path, identity, backend, self._proc_roots))
            self._log.info("pod-released", netns=str(path), reason=reason)
        except (IptablesError, OSError) as exc:
            self._log.info("pod-gone", netns=str(path), error=str(exc))

    # -- small things ---------------------------------------------------------------------------------------------

    async def _chosen_backend(self) -> BackendName:
        async with self._choosing:
            if self.backend is None:
                choice = await self._in_thread(partial(choose_backend, self._wanted))
                self.backend = choice.name
                rejected = [f"{name}: {reason}" for name, reason in choice.rejected.items()]
                self._log.info("capture-backend", chosen=choice.name, rejected=rejected)
            return self.backend

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self._limiter)

    def _record(self) -> None:
        """Write down where rules are, those of a former control included whose pods are not decided about yet."""
        places = self._remembered | {
            pod.workload.uid: (Path(pod.network.path), pod.network.identity)
            for pod in self.pods.values()
            if pod.network is not None
        }
        self._state.write(RECORD, [(uid, str(path), *identity) for uid, (path, identity) in places.items()])

    def _fail(self, pod: Pod, error: Exception) -> None:
        self._metrics.add("weft_capture_errors_total", **pod.labels)
        if pod.error != str(error):
            self._log.error("pod-not-captured", pod=pod.key, error=str(error))
        self._set(pod, "failed", str(error))

    def _set(self, pod: Pod, state: CaptureState, error: str = "") -> None:
        pod.state = state
        pod.error = error
        self._show()

    def _show(self) -> None:
        states: dict[tuple[str, ...], float] = {
            (pod.workload.namespace, pod.workload.name, pod.state): 1.0 for pod in self.pods.values()
        }
        self._metrics.replace("weft_capture_state", states)
        self.shown()
