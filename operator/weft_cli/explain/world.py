"""What every node would know if the objects given were all there are: the compiler's documents as the agents' snapshots."""

import difflib
from collections.abc import Iterable, Mapping

from weft_cli.explain.question import Named
from weft_cli.output import CommandError
from weft_contract.objects import Pod
from weft_contract.problems import Problem
from weft_contract.resources import AuthorizationPolicy, Node, RateLimitPolicy, Workload
from weft_core.routing import ServiceEntry
from weft_core.snapshot import Snapshot, SnapshotBuilder, WorkloadTable
from weft_operator.compile import Document, compile_cluster, read_view
from weft_operator.compile.members import wants_in


class World:
    """A cluster, compiled.

    Args:
        documents: all its objects.
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        view = read_view(documents)
        compiled = compile_cluster(view)
        self.pods: Mapping[str, Pod] = view.pods
        self.services = view.services
        self.problems: tuple[Problem, ...] = compiled.problems
        self._view = view
        self._documents = compiled.nodes
        self._snapshots: dict[str, Snapshot] = {}
        self._inbound: dict[str, Snapshot] = {}
        self._owners: dict[str, str] = {}
        self.members: dict[str, Workload] = {}
        """Enrolled pods by `namespace/name`."""
        self.node_of: dict[str, str] = {}
        for node, document in compiled.nodes.items():
            for entry in document.resources:
                if isinstance(entry.spec, Workload):
                    key = f"{entry.spec.namespace}/{entry.spec.name}"
                    self.members[key], self.node_of[key] = entry.spec, node
                    self._owners.update(dict.fromkeys(entry.spec.addresses, key))

    def snapshot(self, node: str) -> Snapshot:
        """Return what a node's agent knows; of a node without any document, nothing."""
        found = self._snapshots.get(node)
        if found is None:
            found = self._snapshots[node] = self._built(node)
        return found

    def table(self, address: str) -> tuple[str, WorkloadTable] | None:
        """Return the enrolled pod that has an address, with its node; None: nobody of the mesh."""
        key = self._owners.get(address)
        if key is None:
            return None
        node = self.node_of[key]
        if node not in self._inbound:  # a call may end on every node, and only this part of what they know is asked
            self._inbound[node] = self._built(node, (Node, Workload, AuthorizationPolicy, RateLimitPolicy))
        table = self._inbound[node].workload(key)
        return (node, table) if table is not None else None

    def _built(self, node: str, kinds: tuple[type, ...] = (object,)) -> Snapshot:
        document = self._documents.get(node)
        resources = [entry.spec for entry in document.resources] if document is not None else []
        found, _ = SnapshotBuilder().apply([item for item in resources if isinstance(item, kinds)], whole=True)
        return found

    def backend(self, service: str, port: int) -> ServiceEntry | None:
        """Return a Service port as some node knows it that is told of it."""
        for name in self._documents:
            entry = self.snapshot(name).services.backend(service, port)
            if entry is not None:
                return entry
        return None

    def absence(self, pod: Pod) -> str:
        """Say why a pod that opted in is not in the mesh; empty: it did not opt in, or is in."""
        key = pod.metadata.key
        if key in self.members or not wants_in(self._view, pod):
            return ""
        told = next(
            (problem for problem in self.problems if problem.subject == f"Pod {key}" and not problem.warning), None
        )
        if told is not None:
            return str(told)
        phase = pod.status.phase or "Pending"
        return f"pod {key} opted in, but is {phase} and has no place in the mesh yet: the answer is that of a stranger"

    def find_pod(self, wanted: Named) -> Pod:
        """Return the pod that a name means: its own, its workload's, or its `app` label.

        Raises:
            CommandError: there is none.
        """
        there = {key: pod for key, pod in self.pods.items() if pod.metadata.namespace == wanted.namespace}
        exact = there.get(f"{wanted.namespace}/{wanted.name}")
        if exact is not None and wanted.kind in ("", "pod"):
            return exact
        if wanted.kind in ("", "workload"):
            for key, pod in sorted(there.items(), key=lambda item: item[0] not in self.members):
                member = self.members.get(key)
                owner = member.workload if member is not None else pod.metadata.labels.get("app", "")
                if wanted.name in (owner, pod.metadata.labels.get("app", "")):
                    return pod
        raise CommandError(self._nobody(wanted, there.values()))

    def _nobody(self, wanted: Named, there: Iterable[Pod]) -> str:
        names = sorted({pod.metadata.name for pod in there} | {pod.metadata.labels.get("app", "") for pod in there})
        names = [name for name in names if name]
        what = wanted.kind or "pod or workload"
        if not names:
            return f"no {what} {wanted.name}: there are no pods in namespace {wanted.namespace}"
        near = difflib.get_close_matches(wanted.name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[:8])}"
        return f"no {what} {wanted.name} in namespace {wanted.namespace}; {hint}"
