"""Holds a meshed pod's containers back until the agent has captured the pod, by asking as the cluster's init gate does.

Theory: a program that starts before its pod is captured would speak past the mesh. The gate's address is answered only
inside a captured namespace, by the agent's own data path, so an answer proves the whole of it. Without an answer the pod
waits: fail closed.
"""

import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from weft_contract.labels import MESH_ENABLED, MESH_LABEL
from weft_contract.ports import GATE_ADDRESS_V4, HEALTH_PORT
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.pod_runtime import PodRuntime
from weft_lab.machine.namespaces import MachineError, in_namespace
from weft_lab.model import Pod
from weft_lab.plan.view import View

_log: Final = logging.getLogger("weft_lab.gate")
_TIMEOUT_S: Final = 1.0
_FIRST_PERIOD_S: Final = 0.05
_MAX_PERIOD_S: Final = 1.0


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
            runtime.waits_for = "capture by the agent"
            self._try(runtime, then, _FIRST_PERIOD_S)

    def _try(self, runtime: PodRuntime, then: Callable[[], None], period_s: float) -> None:
        if runtime.life.ending:
            return
        namespace = runtime.namespace

        def answered(future: "Future[None]") -> None:
            if future.exception() is None:
                runtime.waits_for = ""
                then()
            else:
                again = min(_MAX_PERIOD_S, period_s * 2)
                self._lab.loop.at(self._lab.loop.now + period_s, lambda: self._try(runtime, then, again))

        self._lab.loop.in_thread(lambda: in_namespace(namespace, ask), answered)


def ask() -> None:
    """Ask the gate from inside a pod's namespace.

    Raises:
        OSError: there is no answer.
        MachineError: there is one, and it is not the gate's.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    with socket.create_connection((GATE_ADDRESS_V4, HEALTH_PORT), timeout=_TIMEOUT_S) as connection:
        connection.sendall(b"GET /healthz/ready HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")
        head = b""
        while b"\r\n" not in head:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            more = connection.recv(4096)
            if not more:
                raise MachineError("the gate closed the connection")
            head += more
    if not head.startswith(b"HTTP/1.1 200"):
        raise MachineError(f"the gate answered {head[:40]!r}")


def meshed(view: View, pod: Pod) -> bool:
    """Tell whether a pod opted in; its own label beats its namespace's."""
    own = pod.metadata.labels.get(MESH_LABEL)
    namespace = view.namespace(pod.metadata.namespace)
    inherited = namespace.metadata.labels.get(MESH_LABEL) if namespace is not None else None
    return (own if own is not None else inherited) == MESH_ENABLED
