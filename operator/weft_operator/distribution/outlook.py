"""What became of each object, and on which nodes that is in force: what the controllers write into conditions.

Theory: an object is in force on a node when every resource it became is. Policies and routes become one resource of their
own. A PeerAuthentication becomes part of the Workloads of its namespace (of all, in the root namespace), and the Mesh part of
everything that only the node itself has; so their progress is that of those resources, which is exact about what was
acknowledged and may wait for another change of the same resources.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, TypeAlias

from weft_contract.objects import ROOT_NAMESPACE
from weft_contract.stream import Key
from weft_operator.compile import ObjectResult
from weft_operator.compile.view import ObjectKey
from weft_operator.conditions import Progress
from weft_operator.controllers.outlook import Look
from weft_operator.distribution.session import State
from weft_operator.live import ALWAYS, Delta, Item, node_shelf
from weft_operator.live.board import Board

Ask: TypeAlias = Callable[[str, Item], tuple[State, str]]
"""How things stand with a resource on a node, and why it was refused."""

PEER_AUTHENTICATION: Final = "PeerAuthentication"
MESH: Final = "Mesh"
_WORKLOAD: Final = "Workload/"
_OF_THE_MESH: Final = ("Node/", "Telemetry/", _WORKLOAD)


class Results:
    """Verdicts of the compiler by object, and which resources each is made into.

    Args:
        board: what every node should hold.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._results: dict[ObjectKey, ObjectResult] = {}
        self._by_resource: dict[Key, set[ObjectKey]] = {}
        self._spread: set[ObjectKey] = set()
        """Objects without a resource of their own."""

    @property
    def all_keys(self) -> Iterable[ObjectKey]:
        """Every object."""
        return tuple(self._results)

    def apply(self, delta: Delta) -> set[ObjectKey]:
        """Take over one round; return the objects that look different now."""
        for key, result in delta.results.items():
            self._replace(key, result)
        touched = set(delta.results)
        for items in delta.shelves.values():
            touched |= self.made_of(items)
        if delta.nodes:
            touched |= self._results.keys()
        return touched

    def _replace(self, key: ObjectKey, result: ObjectResult | None) -> None:
        old = self._results.pop(key, None)
        if old is not None and old.resource:
            self._by_resource[old.resource].discard(key)
            if not self._by_resource[old.resource]:
                del self._by_resource[old.resource]
        self._spread.discard(key)
        if result is None:
            return
        self._results[key] = result
        if result.resource:
            self._by_resource.setdefault(result.resource, set()).add(key)
        else:
            self._spread.add(key)

    def made_of(self, keys: Iterable[Key]) -> set[ObjectKey]:
        """Return the objects whose progress depends on any of these resources."""
        found: set[ObjectKey] = set()
        for key in keys:
            found |= self._by_resource.get(key, _NONE)
            if self._spread and key.startswith(_OF_THE_MESH):
                namespace = key.split("/")[1] if key.startswith(_WORKLOAD) else None
                found |= {item for item in self._spread if _depends(item, namespace)}
        return found

    def needs(self, key: ObjectKey) -> Iterator[tuple[str, list[Item]]]:
        """Yield each node that needs an object, with the resources it became there."""
        result = self._results.get(key)
        if result is None:
            return
        if result.resource:
            for node in self._board.holders(result.resource):
                item = self._board.find(node, result.resource)
                yield node, [item] if item is not None else []
        elif key[0] == MESH:
            for node in self._board.nodes_in_use():
                shelves = (self._board.shelf(ALWAYS), self._board.shelf(node_shelf(node)))
                yield node, [item for shelf in shelves for item in shelf.values() if item.key.startswith(_OF_THE_MESH)]
        else:
            prefix = _WORKLOAD if result.namespace == ROOT_NAMESPACE else f"{_WORKLOAD}{result.namespace}/"
            for node in result.nodes:
                own = self._board.shelf(node_shelf(node)).values()
                yield node, [item for item in own if item.key.startswith(prefix)]

    def look(self, key: ObjectKey, ask: Ask) -> Look | None:
        """Say how things stand with an object; None: the compiler said nothing of it."""
        result = self._results.get(key)
        if result is None:
            return None
        lagging: list[str] = []
        refused: dict[str, str] = {}
        nodes: list[str] = []
        for node, items in self.needs(key):
            nodes.append(node)
            answers = [ask(node, item) for item in items]
            why = next((reason for state, reason in answers if state is State.REFUSED), None)
            if why is not None:
                refused[node] = why
            elif any(state is State.LAGGING for state, _ in answers):
                lagging.append(node)
        progress = Progress(needed=len(nodes), lagging=sorted(lagging), refused=refused)
        return Look(result=replace(result, nodes=tuple(sorted(nodes))), progress=progress)


_NONE: Final[frozenset[ObjectKey]] = frozenset()


def _depends(item: ObjectKey, namespace: str | None) -> bool:
    """Whether an object without a resource is part of a Workload of a namespace; None: of another resource of a node."""
    kind, key = item
    if kind == MESH:
        return True
    return namespace is not None and key.partition("/")[0] in {namespace, ROOT_NAMESPACE}
