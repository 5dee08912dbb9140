"""Holds a meshed pod's containers back until the agent has captured the pod and has its certificate.

Theory: a program that starts before its pod is captured would speak past the mesh. On a cluster an init container waits for
that; here the daemon asks the node's agent, over its admin socket, whether this very pod (by uid) is captured and whether
its identity has a certificate. Without an answer the pod waits: fail closed.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from weft_contract.labels import MESH_ENABLED, MESH_LABEL
from weft_lab.daemon.agent_admin import check_captured
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.pod_runtime import PodRuntime
from weft_lab.model import Pod
from weft_lab.plan.view import View

_FIRST_PERIOD_S: Final = 0.05
_MAX_PERIOD_S: Final = 0.5


class OpenGate:
    """For labs without agents: every pod may start."""

    def open_for(self, runtime: PodRuntime, then: Callable[[], None]) -> None:
        """Call `then` now."""
        then()


class CaptureGate:
    """For labs with agents."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def open_for(self, runtime: PodRuntime, then: Callable[[], None]) -> None:
        """Call `then` now for a pod outside the mesh, and once it is captured for one inside."""
        if runtime.addresses is None or not meshed(self._lab.store.view(), runtime.pod):
            then()
        else:
            runtime.waits_for = "its capture by the agent"
            self._try(runtime, then, _FIRST_PERIOD_S)

    def _try(self, runtime: PodRuntime, then: Callable[[], None], period_s: float) -> None:
        if runtime.life.ending:
            return
        admin = self._lab.admin_socket(runtime.node)

        def answered(future: "Future[None]") -> None:
            error = future.exception()
            if error is None:
                runtime.waits_for = ""
                then()
                return
            runtime.waits_for = f"its capture: the agent of {runtime.node} {error}"
            again = min(_MAX_PERIOD_S, period_s * 2)
            self._lab.loop.at(self._lab.loop.now + period_s, lambda: self._try(runtime, then, again))

        self._lab.loop.in_thread(lambda: check_captured(admin, runtime.uid), answered)


def meshed(view: View, pod: Pod) -> bool:
    """Tell whether a pod opted in; its own label beats its namespace's."""
    own = pod.metadata.labels.get(MESH_LABEL)
    namespace = view.namespace(pod.metadata.namespace)
    inherited = namespace.metadata.labels.get(MESH_LABEL) if namespace is not None else None
    return (own if own is not None else inherited) == MESH_ENABLED
