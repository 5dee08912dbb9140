"""What the reflectors know at this moment, on the event loop: for answers that cannot wait for the next compiled round.

Theory: whether a new pod needs the gate hangs on what its namespace *is*, not on what was compiled some hundred milliseconds
ago. So what is told by the reflectors is kept here, too; the values are the compiler's own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from weft_contract.objects import MESH_NAME, Mesh, Namespace
from weft_operator.compile import Held
from weft_operator.reflect.parse import Seen


class Known:
    """Namespaces, the Mesh object, and how many objects of each kind there are. Only for the event loop's thread."""

    def __init__(self) -> None:
        self._namespaces: dict[str, Namespace] = {}
        self.mesh: Held | None = None
        """The Mesh object, with what is wrong with it."""
        self.objects: Counter[str] = Counter()
        """Objects by kind."""
        self._keys: set[tuple[str, str]] = set()

    def apply(self, items: Sequence[Seen]) -> None:
        """Take over changes."""
        for item in items:
            self._count(item)
            if item.kind == "Namespace":
                self._put_namespace(item)
            elif item.kind == Mesh.__name__ and item.key == MESH_NAME:
                self.mesh = item.held

    def _count(self, item: Seen) -> None:
        place = item.kind, item.key
        if item.held is None and place in self._keys:
            self._keys.discard(place)
            self.objects[item.kind] -= 1
        elif item.held is not None and place not in self._keys:
            self._keys.add(place)
            self.objects[item.kind] += 1

    def _put_namespace(self, item: Seen) -> None:
        if item.held is not None and isinstance(item.held.item, Namespace):
            self._namespaces[item.key] = item.held.item
        else:
            self._namespaces.pop(item.key, None)

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace; None: it is not known."""
        found = self._namespaces.get(name)
        return found.metadata.labels if found is not None else None
