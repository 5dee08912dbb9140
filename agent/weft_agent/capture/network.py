"""One pod's network namespace, as blocking calls: captured, looked at, left. Called from threads only.

Theory: the namespace was found and checked (`capture.namespaces`). It is kept open for the pod's life and known by its
identity, so that nothing is ever done to another pod's by accident; each look sees that the pod's address is still there.
"""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from weft_agent.capture.namespaces import check_addresses
from weft_agent.channel.messages import Direction, Family, Role
from weft_contract.resources import Capture, Workload
from weft_iptables.backends import Backend, BackendName, Count, Drift, open_backend
from weft_iptables.errors import NamespaceError
from weft_iptables.namespaces import Namespace, NamespaceId, open_namespace
from weft_iptables.plan import CapturePlan, Tally, plan
from weft_iptables.sockets import make_listeners, make_stock

Listeners = dict[tuple[Direction, Family], socket.socket]


class Captured(NamedTuple):
    """What putting rules in force did."""

    changed: bool
    kept: int
    """Connections older than the capture that go on around the agent."""


EVERYTHING: Final = Capture(
    exclude_inbound_ports=((0, 65535),), exclude_outbound_networks=("0.0.0.0/0", "::/0")
)  # fmt: skip
"""What a pod that has left the mesh excludes."""


class PodNetwork:
    """A pod's namespace, open.

    Args:
        namespace: of the pod; owned from now on.
        backend: how rules are written on this node.
        proc_roots: where proc filesystems are mounted; a container's own has read-only settings, so the node's is another.
    """

    def __init__(self, namespace: Namespace, backend: BackendName, proc_roots: Sequence[Path]) -> None:
        self._namespace = namespace
        self._backend: Backend = open_backend(backend, self._namespace, proc_roots)
        self._plan: CapturePlan | None = None

    @property
    def path(self) -> str:
        """A path that led to the namespace."""
        return self._namespace.path

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

    def capture(self, workload: Workload) -> Captured:
        """Put the pod's rules in force, whole or not at all."""
        found = self._backend.survey()
        keep = self._backend.connections_to_keep() if self._backend.can_keep else ()
        wanted = plan(workload.capture, captured=found.captured, refused=found.refused, keep=keep)
        applied = self._backend.apply(wanted)
        self._plan = wanted
        return Captured(applied.changed, len(wanted.keep))

    def heal(self, addresses: Sequence[str]) -> Sequence[Drift]:
        """Compare the rules with the plan and repair them; return what was repaired.

        Args:
            addresses: the pod's.

        Raises:
            NamespaceError: none of them is there any more: the pod's sandbox is gone, and somebody else may have them.
        """
        check_addresses(self._namespace, addresses)
        return self._backend.repair(self._plan) if self._plan is not None else ()

    def counters(self) -> Mapping[Tally, Count]:
        """Return what the kernel counted since the rules were last written."""
        return self._backend.counters(self._plan) if self._plan is not None else {}

    def prune(self) -> None:
        """Forget connections older than the capture that have ended meanwhile."""
        if self._backend.can_keep and self._plan is not None and self._plan.keep:
            self._backend.prune_keep()

    def let_pass(self) -> None:
        """Capture no new connection; those that the agent carries go on through it.

        Raises:
            IptablesError: such rules cannot be had here; what was in force stays.
        """
        found = self._backend.survey()
        keep = self._backend.connections_to_keep() if self._backend.can_keep else ()
        passing = plan(EVERYTHING, captured=found.captured, refused=found.refused, keep=keep)
        self._backend.apply(passing)
        self._plan = passing

    def carried(self, addresses: Sequence[str]) -> int:
        """Return how many open connections lead through the agent; none where the pod's addresses have left."""
        try:
            check_addresses(self._namespace, addresses)
        except NamespaceError:
            return 0
        return self._backend.carried()

    def release(self) -> None:
        """Take the rules away and leave nothing behind."""
        self._backend.remove()
        self._plan = None

    def close(self) -> None:
        """Let go of the namespace; its rules stay."""
        self._namespace.close()


def release_left_behind(path: Path, identity: NamespaceId, backend: BackendName, proc_roots: Sequence[Path]) -> None:
    """Take away rules that a former control put into a namespace whose pod has left the mesh since.

    Args:
        path: where the namespace was.
        identity: what it was known by; another one at the same path is left alone.
        backend: how rules are written on this node.
        proc_roots: where proc filesystems are mounted.

    Raises:
        NamespaceError: it is gone, and its rules with it.
    """
    with open_namespace(path) as namespace:
        if namespace.identity == identity:
            open_backend(backend, namespace, proc_roots).remove()
