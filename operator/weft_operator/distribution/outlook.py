"""What became of each object, and on which nodes that is in force: what the controllers write into conditions.

Theory: an object is in force on a node when every resource it became is. Policies and routes become one resource of their
own. A PeerAuthentication becomes part of the Workloads of its namespace (of all, in the root namespace), and the Mesh part of
everything that only the node itself has; so their progress is that of those resources, which is exact about what was
acknowledged and may wait for another change of the same resources.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from weft_contract.objects import ROOT_NAMESPACE
from weft_contract.stream import Key
from weft_operator.compile import ObjectResult
from weft_operator.compile.view import ObjectKey
from weft_operator.conditions import Progress
from weft_operator.controllers.outlook import Look
from weft_operator.distribution.session import State
from weft_operator.live import ALWAYS, Delta, Shelf, node_shelf
from weft_operator.live.board import Board

Verdict: TypeAlias = tuple[State, str]
"""How things stand, and why it was refused."""


@dataclass(frozen=True, slots=True)
class Part:
    """The resources of one node that an object became."""

    belongs: Callable[[Key], bool]
    """Whether a resource is one of them."""
    keys: Callable[[], Iterable[Key]]
    """All of them; may be very many."""


class Standings(Protocol):
    """Knows what nodes have in force."""

    def standing(self, node: str, part: Part) -> Verdict:
        """Return the worst of some resources on a node."""


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

    def apply(self, delta: Delta, moved: Iterable[Shelf]) -> set[ObjectKey]:
        """Take over one round; return the objects that look different now.

        Args:
            delta: the round, which the board has taken over.
            moved: shelves that other nodes read than before.
        """
        for key, result in delta.results.items():
            self._replace(key, result)
        touched = set(delta.results)
        for items in delta.shelves.values():
            touched |= self.made_of(items)
        for shelf in moved:
            touched |= self.made_of(self._board.shelf(shelf))
        return touched

    def on_node(self, node: str) -> set[ObjectKey]:
        """Return the objects that a node needs."""
        found: set[ObjectKey] = set()
        for shelf in self._board.shelves_of_node(node):
            found |= self.made_of(self._board.shelf(shelf))
        return found

    def is_spread(self, key: ObjectKey) -> bool:
        """Whether an object is part of very many resources, so that looking at it costs something."""
        return key in self._spread

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

    def _needs(self, key: ObjectKey, result: ObjectResult) -> Iterator[tuple[str, Part]]:
        """Yield each node that needs an object, with the resources it became there."""
        if result.resource:
            part = Part(result.resource.__eq__, lambda: (result.resource,))
            yield from ((node, part) for node in self._board.holders(result.resource))
        elif key[0] == MESH:
            yield from ((node, self._part(node, _OF_THE_MESH)) for node in self._board.nodes_in_use())
        else:
            everywhere = result.namespace == ROOT_NAMESPACE
            prefix = _WORKLOAD if everywhere else f"{_WORKLOAD}{result.namespace}/"
            yield from ((node, self._part(node, (prefix,))) for node in result.nodes)

    def _part(self, node: str, prefixes: tuple[str, ...]) -> Part:
        shelves = (self._board.shelf(ALWAYS), self._board.shelf(node_shelf(node)))

        def belongs(key: Key) -> bool:
            return key.startswith(prefixes)

        return Part(belongs, lambda: (key for shelf in shelves for key in shelf if belongs(key)))

    def look(self, key: ObjectKey, standings: Standings) -> Look | None:
        """Say how things stand with an object; None: the compiler said nothing of it."""
        result = self._results.get(key)
        if result is None:
            return None
        lagging: list[str] = []
        refused: dict[str, str] = {}
        nodes: list[str] = []
        for node, part in self._needs(key, result):
            nodes.append(node)
            state, why = standings.standing(node, part)
            if state is State.REFUSED:
                refused[node] = why
            elif state is State.LAGGING:
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
