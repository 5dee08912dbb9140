"""Talking to a lab's daemon: one request, one answer, and what to tell people when there is nobody to talk to."""

import os
import socket
import time
from typing import Final, TypeVar

import msgspec

from weft_lab.machine.records import known_labs, read_daemon, read_lab, socket_path
from weft_lab.names import check_lab_name
from weft_lab.protocol import (
    AnyRequest,
    Applied,
    Apply,
    Changed,
    Delete,
    Enter,
    FindPod,
    Get,
    Join,
    LabStatus,
    LogFound,
    Logs,
    Objects,
    OrderFound,
    PodFound,
    Reference,
    Reply,
    Source,
    Status,
    Watch,
)

T = TypeVar("T")

_ANSWER_TIMEOUT_S: Final = 90.0
"""Longer than any watch; a daemon that needs more is stuck."""


class UnreachableError(Exception):
    """There is no lab to talk to; the message says what to do."""


class LabRequestError(Exception):
    """The lab refused a request; `missing` where what was named does not exist."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class Client:
    """A lab, as the command line sees it. Every method raises `UnreachableError` and `LabRequestError`."""

    def __init__(self, name: str) -> None:
        self.name = check_lab_name(name)

    def apply(self, documents: tuple[Source, ...], namespace: str) -> Applied:
        """Make the lab have these objects."""
        return self._call(Apply(documents=documents, namespace=namespace), Applied)

    def delete(self, references: tuple[Reference, ...], grace_s: float | None) -> Applied:
        """Begin the end of objects."""
        return self._call(Delete(references=references, grace_s=grace_s), Applied)

    def get(self, reference: Reference) -> Objects:
        """Return objects as documents."""
        return self._call(Get(reference=reference), Objects)

    def find_pod(self, word: str, namespace: str) -> PodFound:
        """Return the pod that a word means."""
        return self._call(FindPod(word=word, namespace=namespace), PodFound)

    def join(self, pod: PodFound, container: str | None, command: tuple[str, ...]) -> OrderFound:
        """Return the order that runs a command in a container."""
        terminal = os.environ.get("TERM") if os.isatty(0) else None
        request = Join(namespace=pod.namespace, pod=pod.name, container=container, command=command, terminal=terminal)
        return self._call(request, OrderFound)

    def enter(self, node: str, command: tuple[str, ...]) -> OrderFound:
        """Return the order that runs a command on a node."""
        return self._call(Enter(node=node, command=command), OrderFound)

    def logs(self, pod: PodFound, container: str | None, *, previous: bool) -> LogFound:
        """Return where a container's log is."""
        return self._call(Logs(namespace=pod.namespace, pod=pod.name, container=container, previous=previous), LogFound)

    def watch(self, after: int, timeout_s: float) -> int:
        """Wait until the objects are newer than a revision, or the time is over; return the revision."""
        return self._call(Watch(after=after, timeout_s=timeout_s), Changed).revision

    def status(self) -> LabStatus:
        """Return how the lab is."""
        return self._call(Status(), LabStatus)

    def _call(self, request: AnyRequest, result_type: type[T]) -> T:
        reply = msgspec.json.decode(self._exchange(msgspec.json.encode(request)), type=Reply)
        if reply.failure is not None:
            raise LabRequestError(reply.failure.error, missing=reply.failure.missing)
        return msgspec.json.decode(reply.result, type=result_type)

    def _exchange(self, request: bytes) -> bytes:
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.settimeout(_ANSWER_TIMEOUT_S)
                connection.connect(str(socket_path(self.name)))
                connection.sendall(request + b"\n")
                return _line(connection, deadline)
            except PermissionError as exc:
                raise UnreachableError("a lab belongs to root; try again with sudo") from exc
            except OSError as exc:
                raise UnreachableError(why_unreachable(self.name)) from exc


def _line(connection: socket.socket, deadline: float) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        more = connection.recv(256 * 1024)
        if not more:
            raise ConnectionResetError("the daemon closed the connection")
        data += more
    return bytes(data)


def why_unreachable(name: str) -> str:
    """Return a sentence on why a lab does not answer, with a remedy."""
    others = [other for other in known_labs() if other != name]
    daemon = read_daemon(name)
    if name not in known_labs():
        hint = (
            f"labs that are up: {', '.join(others)} (choose one with --name)" if others else "bring it up: weft lab up"
        )
        return f"lab {name} is not up; {hint}"
    if read_lab(name) is None or daemon is None:
        return f"lab {name} was never quite up; take away what is there: weft lab down --name {name}"
    if not daemon.alive():
        return f"the daemon of lab {name} is dead; take the rest away: weft lab down --name {name}"
    return f"the daemon of lab {name} (pid {daemon.pid}) does not answer; see {socket_path(name).parent}/daemon.log"
