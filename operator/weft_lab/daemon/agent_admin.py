"""Asking a node's agent, over its admin socket, what it does: the same socket that `weft-agent status` reads. Blocking."""

import http.client
import socket
from pathlib import Path
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

_TIMEOUT_S: Final = 3.0
"""An agent's status includes its self-tests, which take a second at most."""


class AgentAnswerError(Exception):
    """The agent answers, but not what it should; the message says what."""


class NotCapturedError(Exception):
    """The agent has not captured the pod yet; the message says what is missing."""


class ConfigSummary(msgspec.Struct, frozen=True):
    """What the agent was told."""

    digest: str
    """Content hash of the document; empty where there is none."""
    generation: int


class WorkerSummary(msgspec.Struct, frozen=True, rename="camel"):
    """One worker."""

    state: str
    applied_generation: int


class AgentReport(msgspec.Struct, frozen=True):
    """What an agent says of itself."""

    ready: bool
    missing: tuple[str, ...]
    config: ConfigSummary
    workers: tuple[WorkerSummary, ...]

    def enforces(self, digest: str) -> bool:
        """Tell whether every worker enforces the document with this content hash."""
        applied = all(
            worker.state == "serving" and worker.applied_generation == self.config.generation for worker in self.workers
        )
        return bool(self.workers) and self.config.digest == digest and applied


class _CapturedPod(msgspec.Struct, frozen=True):
    uid: str
    state: str
    identity: str
    error: str = ""


class _Certificate(msgspec.Struct, frozen=True):
    identity: str


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("agent", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))


def report(admin: Path) -> AgentReport:
    """Return what an agent says of itself.

    Raises:
        AgentAnswerError: its answer cannot be understood.
        OSError: it does not answer.
    """
    return _get(admin, "/status", AgentReport)


def check_captured(admin: Path, uid: str) -> None:
    """See whether a pod is captured and certified.

    Args:
        admin: the agent's admin socket.
        uid: of the pod.

    Raises:
        NotCapturedError: it is not.
        AgentAnswerError: the answer cannot be understood.
        OSError: the agent does not answer.
    """
    pods = _get(admin, "/pods", tuple[_CapturedPod, ...])
    pod = next((item for item in pods if item.uid == uid), None)
    if pod is None:
        raise NotCapturedError("does not know the pod yet")
    if pod.state != "captured":
        raise NotCapturedError(f"has the pod's capture {pod.state} {pod.error}".strip())
    certificates = _get(admin, "/certificates", tuple[_Certificate, ...])
    if pod.identity not in {item.identity for item in certificates}:
        raise NotCapturedError(f"has no certificate for {pod.identity} yet")


def _get(admin: Path, path: str, answer_type: type[T]) -> T:
    connection = _UnixConnection(admin)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as exc:
        raise AgentAnswerError(f"does not speak HTTP: {exc}") from exc
    finally:
        connection.close()
    if response.status != 200:
        raise AgentAnswerError(f"answers {response.status} for {path}")
    try:
        return msgspec.json.decode(body, type=answer_type)
    except msgspec.DecodeError as exc:
        raise AgentAnswerError(f"answers something else for {path}: {exc}") from exc
