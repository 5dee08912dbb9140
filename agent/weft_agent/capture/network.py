"""One pod's network namespace, as blocking calls: found, checked, captured, looked at, left. Called from threads only.

Theory: a namespace is trusted to be the pod's only if it holds one of the pod's addresses, because paths are reused. It is
kept open for the pod's life and known by its identity, so that nothing is ever done to another pod's by accident.
"""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from weft_agent.channel.messages import Direction, Family, Role
from weft_contract.resources import Workload
from weft_iptables.backends import Backend, BackendName, Count, Drift, open_backend
from weft_iptables.errors import NamespaceError
from weft_iptables.namespaces import Namespace, NamespaceId, open_namespace
from weft_iptables.plan import CapturePlan, Tally, plan
from weft_iptables.sockets import make_listeners, make_stock

Listeners = dict[tuple[Direction, Family], socket.socket]

NAMED_NAMESPACES: Final = Path("/run/netns")
PROC_ROOTS: Final = (Path("/proc"), Path("/host/proc"))
"""A container's own has read-only settings; the node's is mounted as the second."""


class NamespaceFinder(Protocol):
    """How the namespace of a pod is found."""

    def find(self, workload: Workload) -> Path:
        """Return a path that opens it.

        Raises:
            NamespaceError: there is none (yet).
        """


class NamedNamespaces:
    """Namespaces that the pod's annotation `weft.dev/netns` names, as on plain hosts and in the lab."""

    def __init__(self, directory: Path = NAMED_NAMESPACES) -> None:
        self._directory = directory

    def find(self, workload: Workload) -> Path:
        """Return the path below /run/netns."""
        name = workload.capture.netns
        if not name:
            raise NamespaceError("no network namespace is known; annotate the pod with weft.dev/netns")
        if "/" in name or name in {".", ".."}:
            raise NamespaceError(f"weft.dev/netns {name!r:.80} is not a name below {self._directory}")
        return self._directory / name


class PodNetwork:
    """A pod's namespace, open.

    Args:
        workload: the pod.
        path: of its namespace.
        backend: how rules are written on this node.

    Raises:
        NamespaceError: it cannot be opened, is the node's own, or is not the pod's.
    """

    def __init__(self, workload: Workload, path: Path, backend: BackendName) -> None:
        self._namespace: Namespace = open_namespace(path)
        try:
            if not any(self._namespace.run(lambda: [_holds(address) for address in workload.addresses])):
                wanted = ", ".join(workload.addresses) or "none given"
                raise NamespaceError(f"{path} does not hold the pod's address ({wanted}); it is another pod's")
        except BaseException:
            self._namespace.close()
            raise
        self._backend: Backend = open_backend(backend, self._namespace, PROC_ROOTS)
        self._plan: CapturePlan | None = None

    @property
    def identity(self) -> NamespaceId:
        """What the namespace is known by."""
        return self._namespace.identity

    def families(self) -> Sequence[Family]:
        """Return the address families that can be captured there."""
        return self._backend.survey().captured

    def listeners(self, families: Sequence[Family]) -> Listeners:
        """Make listeners, outbound and inbound of each family."""
        return {(made.direction, made.family): made.socket for made in make_listeners(self._namespace.fd, families)}

    def stock(self, role: Role, family: Family, count: int) -> list[socket.socket]:
        """Make sockets to connect with."""
        return make_stock(self._namespace.fd, role, family, count)

    def capture(self, workload: Workload) -> bool:
        """Put the pod's rules in force, whole or not at all; True: something was changed."""
        found = self._backend.survey()
        keep = self._backend.connections_to_keep() if self._backend.can_keep else ()
        wanted = plan(workload.capture, captured=found.captured, refused=found.refused, keep=keep)
        applied = self._backend.apply(wanted)
        self._plan = wanted
        return applied.changed

    def heal(self) -> Sequence[Drift]:
        """Compare the rules with the plan and repair them; return what was repaired."""
        return self._backend.repair(self._plan) if self._plan is not None else ()

    def counters(self) -> Mapping[Tally, Count]:
        """Return what the kernel counted since the rules were last written."""
        return self._backend.counters(self._plan) if self._plan is not None else {}

    def prune(self) -> None:
        """Forget connections older than the capture that have ended meanwhile."""
        if self._backend.can_keep and self._plan is not None and self._plan.keep:
            self._backend.prune_keep()

    def release(self) -> None:
        """Take the rules away and leave nothing behind."""
        self._backend.remove()
        self._plan = None

    def close(self) -> None:
        """Let go of the namespace; its rules stay."""
        self._namespace.close()


def release_left_behind(path: Path, identity: NamespaceId, backend: BackendName) -> None:
    """Take away rules that a former control put into a namespace whose pod has left the mesh since.

    Args:
        path: where the namespace was.
        identity: what it was known by; another one at the same path is left alone.
        backend: how rules are written on this node.

    Raises:
        NamespaceError: it is gone, and its rules with it.
    """
    with open_namespace(path) as namespace:
        if namespace.identity == identity:
            open_backend(backend, namespace, PROC_ROOTS).remove()


def _holds(address: str) -> bool:
    """Tell whether the address belongs to the namespace of the calling thread: an ordinary socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
