"""A few objects with resource versions, for tests of what the leader writes that need conflicts at exact moments.

It knows the one rule of an API server that matters here: a replacement must carry the version that is stored. Everything
else is tested against a real one (`tests/cluster/controllers`).
"""

import copy
from collections.abc import Callable, Mapping

from weft_operator.controllers.store import Body, ConflictError, ExistsError


class MemoryApi:
    """A `Store` of objects by path."""

    def __init__(self) -> None:
        self.objects: dict[str, Body] = {}
        self.writes: list[str] = []
        self.before_replace: Callable[[str], None] = lambda path: None
        """Called before a replacement is judged: to be faster than it."""
        self._version = 0

    def put(self, path: str, item: Mapping[str, object]) -> Body:
        """Store an object, as somebody else would."""
        self._version += 1
        stored: Body = copy.deepcopy(dict(item))
        stored["metadata"] = {**stored.get("metadata", {}), "resourceVersion": str(self._version)}
        self.objects[path] = stored
        return copy.deepcopy(stored)

    async def get(self, path: str) -> Body | None:
        """Return a copy of an object."""
        return copy.deepcopy(self.objects.get(path))

    async def replace(self, path: str, item: Mapping[str, object]) -> Body:
        """Replace an object or, at `/status`, its status alone."""
        self.before_replace(path)
        target = path.removesuffix("/status")
        stored, given = self.objects.get(target), copy.deepcopy(dict(item))
        metadata = given.get("metadata")
        assert isinstance(metadata, dict)
        if stored is None or metadata.get("resourceVersion") != stored["metadata"]["resourceVersion"]:
            raise ConflictError(target)
        self.writes.append(path)
        return self.put(target, {**stored, "status": given["status"]} if path.endswith("/status") else given)

    async def create(self, path: str, item: Mapping[str, object]) -> Body:
        """Create an object in a collection."""
        metadata = item["metadata"]
        assert isinstance(metadata, Mapping)
        target = f"{path}/{metadata['name']}"
        if target in self.objects:
            raise ExistsError(target)
        self.writes.append(target)
        return self.put(target, item)

    @property
    def events(self) -> list[Body]:
        """The Events written so far."""
        return [item for path, item in self.objects.items() if "/events/" in path]
