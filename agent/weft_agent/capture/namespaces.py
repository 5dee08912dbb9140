"""Which network namespace is a pod's: by the name its annotation gives, or by the processes of its uid. Blocking.

Theory of operation. A namespace is trusted to be a pod's when three things hold at once: a process of the pod's cgroup is in
it (or the pod's annotation names it), it holds one of the pod's addresses, and it is not the node's. An address alone proves
nothing, because the next pod may have it within a second; a process alone does not either, since one that is privileged may
be on a visit in another namespace. The oldest process is asked first: that is the sandbox's own. What is found is open, and
is known by its identity from then on; the next look compares identities, so a pod whose sandbox was made anew is noticed.

Files below /run/netns are only another name for a namespace that was found: they say nothing about whose it is, and finding
a pod by its address among them is what gives the next owner of an address the identity of the last. The runtime's own socket
(CRI) would tell as much as the processes do, for a privilege over all containers of the node; it is not asked.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, Protocol

from weft_agent.capture.processes import Processes
from weft_contract.labels import NETNS
from weft_contract.resources import Workload
from weft_iptables.errors import NamespaceError
from weft_iptables.kernel.addresses import addresses as present_addresses
from weft_iptables.namespaces import Namespace, NamespaceId, open_namespace

PROC: Final = Path("/proc")
NAMED_NAMESPACES: Final = Path("/run/netns")


class PodAbsentError(NamespaceError):
    """No process of the pod is on this node (yet, or any more)."""


class NamespaceFinder(Protocol):
    """How the namespace of a pod is found."""

    def open(self, workload: Workload) -> Namespace:
        """Return the pod's namespace, open; the caller closes it.

        Raises:
            PodAbsentError: there is none (yet).
            NamespaceError: what was found is not the pod's, or cannot be opened.
        """


class NodeNamespaces:
    """Namespaces of one node's pods.

    Args:
        proc: where the node's proc filesystem is mounted.
        named: directory of named namespaces.
    """

    def __init__(self, proc: Path = PROC, named: Path = NAMED_NAMESPACES) -> None:
        self._proc = proc
        self._named = named
        self._processes = Processes(proc)

    def open(self, workload: Workload) -> Namespace:
        """Find, open and check; see the protocol."""
        if workload.capture.netns:
            namespace = self._open_named(workload.capture.netns)
        else:
            namespace = self._open_by_processes(workload)
        try:
            check_addresses(namespace, workload.addresses)
        except BaseException:
            namespace.close()
            raise
        return namespace

    # -- by name ----------------------------------------------------------------------------------------------------

    def _open_named(self, name: str) -> Namespace:
        if "/" in name or name in {".", ".."}:
            raise NamespaceError(f"{NETNS} {name!r:.80} is not a name below {self._named}")
        return open_namespace(self._named / name, forbidden=self._forbidden())

    # -- by processes -----------------------------------------------------------------------------------------------

    def _open_by_processes(self, workload: Workload) -> Namespace:
        try:
            pids = self._processes.of_pod(workload.uid)
        except OSError as exc:
            raise NamespaceError(f"processes cannot be looked for in {self._proc}: {exc.strerror}; see --proc") from exc
        wrong = ""
        for found in self._candidates(workload.uid, pids):
            try:
                check_addresses(found, workload.addresses)
            except NamespaceError as exc:
                wrong = wrong or str(exc)
                found.close()
            else:
                return found
        if wrong:
            raise NamespaceError(wrong)
        raise PodAbsentError(
            f"no process of pod {workload.uid} is in {self._proc}; where the kubelet does not run this pod, annotate it "
            f"with {NETNS}"
        )

    def _candidates(self, uid: str, pids: Collection[int]) -> Iterator[Namespace]:
        """Yield the different namespaces of a pod's processes, each open; who takes one closes it."""
        forbidden = self._forbidden() if pids else ()
        seen: set[NamespaceId] = set()
        for pid in pids:
            try:
                with self._processes.hold(pid, uid) as directory:
                    found = open_namespace(directory / "ns/net", forbidden=forbidden)
            except ProcessLookupError:
                continue
            if found.identity in seen:
                found.close()
                continue
            seen.add(found.identity)
            found.path = self._lasting_name(found.identity) or str(self._proc / str(pid) / "ns/net")
            yield found

    def _forbidden(self) -> Collection[NamespaceId]:
        """Return the namespaces that no pod has: the node's, which process 1 of its proc filesystem is in.

        Raises:
            NamespaceError: it cannot be told, though this process is not in it: then nothing may be captured.
        """
        try:
            status = os.stat(self._proc / "1/ns/net")
        except OSError as exc:
            if self._proc == PROC:
                return ()  # outside a container the node's is our own, which is refused anyway
            raise NamespaceError(
                f"the node's own network namespace cannot be told ({self._proc}/1/ns/net: {exc.strerror}); mount the "
                "node's /proc there and give the agent CAP_SYS_PTRACE"
            ) from exc
        return (NamespaceId(status.st_dev, status.st_ino),)

    def _lasting_name(self, identity: NamespaceId) -> str:
        """Return the file below /run/netns that is this namespace; it outlives the process. Empty where there is none."""
        try:
            names = os.listdir(self._named)
        except OSError:
            return ""
        for path in (self._named / name for name in names):
            try:
                status = path.stat()
            except OSError:
                continue  # it went meanwhile
            if (status.st_dev, status.st_ino) == identity:
                return str(path)
        return ""


def check_addresses(namespace: Namespace, addresses: Collection[str]) -> None:
    """See that a namespace holds one of a pod's addresses.

    Raises:
        NamespaceError: it does not, or cannot be entered.
    """
    if namespace.run(present_addresses).isdisjoint(addresses):
        wanted = ", ".join(addresses) or "none given"
        raise NamespaceError(f"{namespace.path} does not hold the pod's address ({wanted}); it is another pod's")
