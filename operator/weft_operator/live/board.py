"""What every node should hold at this moment, put together from the deltas; read by all who distribute or report it."""

from collections.abc import Iterator, Mapping

from weft_operator.live.delta import EVERYBODY, Delta, Item, Shelf


class Board:
    """The shelves as they are, and which nodes read them."""

    def __init__(self) -> None:
        self._shelves: dict[Shelf, dict[str, Item]] = {}
        self._nodes: dict[str, tuple[Shelf, ...]] = {}
        self._readers: dict[Shelf, set[str]] = {}
        self._places: dict[str, set[Shelf]] = {}
        """Resource key to the shelves it lies on."""

    @property
    def nodes(self) -> frozenset[str]:
        """Names of all nodes that should hold anything."""
        return frozenset(self._nodes)

    def readers(self, shelf: Shelf) -> frozenset[str]:
        """Return the nodes that read a shelf."""
        return frozenset(self._readers.get(shelf, ()))

    def apply(self, delta: Delta) -> None:
        """Take over one round."""
        for shelf, changed in delta.shelves.items():
            items = self._shelves.setdefault(shelf, {})
            for key, item in changed.items():
                if item is not None:
                    items[key] = item
                    self._places.setdefault(key, set()).add(shelf)
                elif items.pop(key, None) is not None:
                    self._places[key].discard(shelf)
                    if not self._places[key]:
                        del self._places[key]
            if not items:
                del self._shelves[shelf]
        for node, shelves in delta.nodes.items():
            self._change_node(node, shelves)

    def _change_node(self, node: str, shelves: tuple[Shelf, ...] | None) -> None:
        for shelf in self._nodes.pop(node, ()):
            self._readers[shelf].discard(node)
            if not self._readers[shelf]:
                del self._readers[shelf]
        if shelves is not None:
            self._nodes[node] = shelves
            for shelf in shelves:
                self._readers.setdefault(shelf, set()).add(node)

    def find(self, node: str, key: str) -> Item | None:
        """Return what a node should hold under a key."""
        for shelf in self._nodes.get(node, ()):
            item = self._shelves.get(shelf, _NOTHING).get(key)
            if item is not None:
                return item
        return None

    def items(self, node: str) -> Iterator[Item]:
        """Yield everything a node should hold; what lies on several of its shelves comes more than once."""
        for shelf in self._nodes.get(node, ()):
            yield from self._shelves.get(shelf, _NOTHING).values()

    def shelf(self, shelf: Shelf) -> Mapping[str, Item]:
        """Return what lies on a shelf."""
        return self._shelves.get(shelf, _NOTHING)

    def shelves_of_node(self, node: str) -> tuple[Shelf, ...]:
        """Return the shelves a node reads; none for one that is not known."""
        return self._nodes.get(node, ())

    def holders(self, key: str) -> frozenset[str]:
        """Return the nodes that should hold something under a key."""
        found: set[str] = set()
        for shelf in self._places.get(key, ()):
            found |= self._readers.get(shelf, set())
        return frozenset(found)

    def places(self, key: str) -> frozenset[Shelf]:
        """Return the shelves that something lies on."""
        return frozenset(self._places.get(key, ()))

    def nodes_in_use(self) -> frozenset[str]:
        """Return the nodes that run members."""
        return self.readers(EVERYBODY)


_NOTHING: dict[str, Item] = {}
