"""Beside the stages: XBackendTrafficPolicy objects, which become nothing but a verdict."""

from collections.abc import Iterable, Set

from weft_contract import objects
from weft_operator.compile import ClusterView, ObjectResult
from weft_operator.compile.backend_traffic import judge_backend_traffic
from weft_operator.compile.view import ObjectKey
from weft_operator.live.changes import Changes, ProblemBook, of_kind

KIND = "XBackendTrafficPolicy"


class BackendTrafficStage:
    """Keeps every policy judged.

    Theory: a policy depends on its object, on whether its namespace is in the mesh, and on which Services are there in its
    own namespace. There are few of them, so all of a namespace are judged again when a Service of it changes.
    """

    def __init__(self, problems: ProblemBook) -> None:
        self._problems = problems
        self._results: dict[str, ObjectResult] = {}
        self._in_namespace: dict[str, set[str]] = {}

    def update(
        self,
        view: ClusterView,
        changes: Changes,
        mesh_namespaces: Set[str],
        changed_namespaces: Iterable[str],
        changed_services: Iterable[str],
    ) -> dict[ObjectKey, ObjectResult | None]:
        """Follow changes of policies, Services and namespaces.

        Args:
            view: the cluster.
            changes: of objects.
            mesh_namespaces: namespaces that are in the mesh now.
            changed_namespaces: those that joined or left it.
            changed_services: by key.

        Returns:
            What became of the policies that are told something else now; None: it is gone.
        """
        dirty: set[str] = set()
        for key, _, new in of_kind(changes, objects.XBackendTrafficPolicy):
            self._note(key, there=new is not None)
            dirty.add(key)
        if self._in_namespace:
            for namespace in {*changed_namespaces, *(key.partition("/")[0] for key in changed_services)}:
                dirty |= self._in_namespace.get(namespace, set())
        found: dict[ObjectKey, ObjectResult | None] = {}
        for key in dirty:
            policy = view.backend_traffic.get(key)
            result = judge_backend_traffic(policy, view, mesh_namespaces) if policy is not None else None
            if result != self._results.get(key):
                found[KIND, key] = result
                self._replace(key, result)
        return found

    def _note(self, key: str, *, there: bool) -> None:
        namespace = key.partition("/")[0]
        names = self._in_namespace.setdefault(namespace, set())
        if there:
            names.add(key)
        else:
            names.discard(key)
            if not names:
                del self._in_namespace[namespace]

    def _replace(self, key: str, new: ObjectResult | None) -> None:
        self._problems.put("backend traffic", key, new.problems if new is not None else ())
        if new is None:
            del self._results[key]
        else:
            self._results[key] = new
