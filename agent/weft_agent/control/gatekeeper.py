"""What a pod's gate still has to wait for: everything that must be in place on this node before the pod may speak.

Theory: a pod is ready when its rules and listeners are in force, its certificate is valid, and every worker decides by a
configuration that knows the pod. It is asked for one pod at one moment and answers with the first thing that is missing, for
people; nothing is remembered but since when the configuration has known each pod.
"""

import time
from collections.abc import Callable, Iterable, Mapping

from weft_agent.capture.pod import Pod
from weft_agent.control.fleet import Fleet
from weft_contract.resources import Workload


class Gatekeeper:
    """Answers for all pods.

    Args:
        fleet: the workers, and what they should know.
        pods: by uid, as they are captured.
        clock: wall clock, unix seconds.
    """

    def __init__(self, fleet: Fleet, pods: Mapping[str, Pod], clock: Callable[[], float] = time.time) -> None:
        self._fleet = fleet
        self._pods = pods
        self._clock = clock
        self._since: dict[str, int] = {}
        """Generation of the first configuration that knew a pod and every one since, by uid."""

    def configured(self, workloads: Iterable[Workload]) -> None:
        """Note which pods the configuration of the present generation knows."""
        generation = self._fleet.desired.generation
        self._since = {workload.uid: self._since.get(workload.uid, generation) for workload in workloads}

    def waiting(self, uid: str) -> str:
        """Return what a pod has to wait for; empty: it is ready."""
        pod = self._pods.get(uid)
        if pod is None:
            return "the agent does not know this pod (any more)"
        if pod.state != "captured":
            return f"its capture is {pod.state}" + (f": {pod.error}" if pod.error else "")
        since = self._since.get(uid)
        if since is None:
            return "no configuration for it has come yet"
        return self._certificate(pod.workload.identity) or self._workers(since)

    def _certificate(self, identity: str) -> str:
        certificate = self._fleet.desired.certificates.get(identity)
        if certificate is None:
            return f"there is no certificate of {identity} yet"
        if certificate.not_after_unix_s <= self._clock():
            return f"the certificate of {identity} has expired"
        return ""

    def _workers(self, since: int) -> str:
        workers = self._fleet.workers
        if not workers:
            return "no worker is running"
        for worker in workers:
            if worker.applied_generation < since:
                return f"worker {worker.slot} has applied configuration {worker.applied_generation} of {since}"
        return ""
