"""Holds a meshed pod's containers back until the agent has captured the pod and has its certificate.

Theory: a program that starts before its pod is captured would speak past the mesh. On a cluster an init container waits for
that; here the daemon asks the node's agent, over its admin socket, whether this very pod (by uid) is captured and whether
its identity has a certificate. Without an answer the pod waits: fail closed.
"""

import http.client
import logging
import socket
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec

from weft_contract.labels import MESH_ENABLED, MESH_LABEL
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.pod_runtime import PodRuntime
from weft_lab.model import Pod
from weft_lab.plan.view import View

_log: Final = logging.getLogger("weft_lab.gate")
_TIMEOUT_S: Final = 2.0
_FIRST_PERIOD_S: Final = 0.05
_MAX_PERIOD_S: Final = 0.5


class NotCapturedError(Exception):
    """The agent has not captured the pod yet; the message says what is missing."""


class _CapturedPod(msgspec.Struct, frozen=True):
    uid: str
    state: str
    identity: str
    error: str = ""


class _Certificate(msgspec.Struct, frozen=True, rename="camel"):
    identity: str


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("agent", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))


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
        # the agent's own /run is a directory of the node
        admin = self._lab.node_directory(runtime.node) / "run" / "weft" / runtime.node / "admin.sock"

        def answered(future: "Future[None]") -> None:
            error = future.exception()
            if error is None:
                runtime.waits_for = ""
                then()
                return
            runtime.waits_for = f"the agent of {runtime.node}: {error}"
            again = min(_MAX_PERIOD_S, period_s * 2)
            self._lab.loop.at(self._lab.loop.now + period_s, lambda: self._try(runtime, then, again))

        self._lab.loop.in_thread(lambda: check_captured(admin, runtime.uid), answered)


def check_captured(admin: Path, uid: str) -> None:
    """Ask an agent whether a pod is captured and certified.

    Args:
        admin: the agent's admin socket.
        uid: of the pod.

    Raises:
        NotCapturedError: it is not.
        OSError: the agent does not answer.
    """
    pods = msgspec.json.decode(_get(admin, "/pods"), type=list[_CapturedPod])
    pod = next((item for item in pods if item.uid == uid), None)
    if pod is None:
        raise NotCapturedError("it does not know the pod yet")
    if pod.state != "captured":
        raise NotCapturedError(f"capture of the pod is {pod.state} {pod.error}".strip())
    certificates = msgspec.json.decode(_get(admin, "/certificates"), type=list[_Certificate])
    if pod.identity not in {item.identity for item in certificates}:
        raise NotCapturedError(f"it has no certificate for {pod.identity} yet")


def _get(admin: Path, path: str) -> bytes:
    connection = _UnixConnection(admin)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as exc:
        raise NotCapturedError(f"its answer is no HTTP: {exc}") from exc
    finally:
        connection.close()
    if response.status != 200:
        raise NotCapturedError(f"it answers {response.status} for {path}")
    return body


def meshed(view: View, pod: Pod) -> bool:
    """Tell whether a pod opted in; its own label beats its namespace's."""
    own = pod.metadata.labels.get(MESH_LABEL)
    namespace = view.namespace(pod.metadata.namespace)
    inherited = namespace.metadata.labels.get(MESH_LABEL) if namespace is not None else None
    return (own if own is not None else inherited) == MESH_ENABLED
