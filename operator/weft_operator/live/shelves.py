"""Stage 7: resources become items, and items come to lie where the nodes that need them look."""

from collections import Counter
from collections.abc import Mapping

from weft_contract.codec import digest, encode
from weft_contract.resources import Resource, resource_key
from weft_operator.compile.reach import Audience
from weft_operator.live.delta import (
    ALWAYS,
    EVERYBODY,
    Item,
    Shelf,
    namespace_shelf,
    node_shelf,
    shelves_of,
)


class Shelves:
    """Everything that is distributed, with what changed since the last `take`."""

    def __init__(self) -> None:
        self._resources: dict[str, Resource] = {}
        self._items: dict[str, Item] = {}
        self._places: dict[str, Counter[Shelf]] = {}
        """Resource key to the shelves it lies on; on a node's own as often as it has a reason to."""
        self._changed: dict[Shelf, dict[str, Item | None]] = {}
        self._nodes: dict[str, tuple[Shelf, ...]] = {}
        self._changed_nodes: dict[str, tuple[Shelf, ...] | None] = {}

    def put(self, resource: Resource) -> None:
        """Give a resource its present content, wherever it lies."""
        key = resource_key(resource)
        if self._resources.get(key) == resource:
            return
        self._resources[key] = resource
        body = encode(resource)
        item = Item(key, digest(body), body)
        old = self._items.get(key)
        if old is None or old.hash != item.hash:
            self._items[key] = item
            for shelf in self._places.get(key, ()):
                self._note(shelf, key, item)

    def has(self, key: str) -> bool:
        """Whether a resource lies anywhere."""
        return key in self._places

    def drop(self, key: str) -> None:
        """Take a resource away from everywhere."""
        for shelf in self._places.pop(key, ()):
            self._note(shelf, key, None)
        self._forget(key)

    def place(self, key: str, audience: Audience) -> None:
        """Say who is told of a shared resource; it has its content already."""
        self._place(key, shelves_of(audience))

    def place_always(self, key: str) -> None:
        """Give a resource to every node."""
        self._place(key, frozenset({ALWAYS}))

    def _place(self, key: str, wanted: frozenset[Shelf]) -> None:
        if not wanted:
            self.drop(key)
            return
        places = self._places.setdefault(key, Counter())
        for shelf in places.keys() - wanted:
            del places[shelf]
            self._note(shelf, key, None)
        for shelf in wanted - places.keys():
            places[shelf] = 1
            self._note(shelf, key, self._items[key])

    def give(self, key: str, node: str, step: int) -> None:
        """Add a reason (+1) why a node has a resource of its own, or take one away (-1); it has its content already."""
        shelf = node_shelf(node)
        places = self._places.setdefault(key, Counter())
        before = places[shelf]
        places[shelf] = before + step
        if not places[shelf]:
            del places[shelf]
        if not before:
            self._note(shelf, key, self._items[key])
        elif not places[shelf]:
            self._note(shelf, key, None)
        if not places:
            del self._places[key]

    def set_node(self, node: str, namespaces: frozenset[str] | None) -> None:
        """Say whose members a node runs; None: the node is gone."""
        shelves: tuple[Shelf, ...] | None = None
        if namespaces is not None:
            told = (EVERYBODY, *sorted(map(namespace_shelf, namespaces))) if namespaces else ()
            shelves = (ALWAYS, *told, node_shelf(node))
        if shelves == self._nodes.get(node):
            return
        self._changed_nodes[node] = shelves
        if shelves is None:
            del self._nodes[node]
        else:
            self._nodes[node] = shelves

    def take(self) -> tuple[Mapping[Shelf, Mapping[str, Item | None]], Mapping[str, tuple[Shelf, ...] | None]]:
        """Return what changed on which shelf and of which node since the last call."""
        found = self._changed, self._changed_nodes
        self._changed, self._changed_nodes = {}, {}
        return found

    def sweep(self, keys: set[str]) -> None:
        """Forget the content of those that lie nowhere any more."""
        for key in keys:
            if key not in self._places:
                self._forget(key)

    def _forget(self, key: str) -> None:
        self._resources.pop(key, None)
        self._items.pop(key, None)

    def _note(self, shelf: Shelf, key: str, item: Item | None) -> None:
        self._changed.setdefault(shelf, {})[key] = item
