"""The ConfigMap with the mesh's roots: what agents verify the operator's own certificate with.

The leader writes all roots of the trust bundle into it and looks again from time to time; agents have it mounted, and read it
at each connection.
"""

from collections.abc import Sequence
from typing import Any, Final

import structlog

from weft_operator.controllers.store import ConflictError, ExistsError, Store

ROOTS_KEY: Final = "roots.pem"
MAX_CONFLICTS: Final = 5
_log: Final = structlog.get_logger("weft_operator.controllers")


class PublishedRoots:
    """Keeps the ConfigMap right.

    Args:
        store: the API server.
        place: namespace and name.
    """

    def __init__(self, store: Store, place: tuple[str, str]) -> None:
        self._store = store
        self._namespace, self._name = place

    async def write(self, roots: Sequence[str]) -> bool:
        """Write roots where they are not written yet; say whether that was needed.

        Args:
            roots: certificates in PEM; without any nothing is written.
        """
        if not roots:
            return False
        text = "".join(f"{root.strip()}\n" for root in roots)
        for _ in range(MAX_CONFLICTS):
            try:
                return await self._write(text)
            except (ConflictError, ExistsError):
                continue
        raise ConflictError(f"ConfigMap {self._namespace}/{self._name} was written by somebody else again and again")

    async def _write(self, text: str) -> bool:
        collection = f"/api/v1/namespaces/{self._namespace}/configmaps"
        item = await self._store.get(f"{collection}/{self._name}")
        if item is None:
            await self._store.create(collection, self._new(text))
        elif (item.get("data") or {}).get(ROOTS_KEY) == text:
            return False
        else:
            data = {**(item.get("data") or {}), ROOTS_KEY: text}
            await self._store.replace(f"{collection}/{self._name}", {**item, "data": data})
        _log.info("roots published", config_map=f"{self._namespace}/{self._name}")
        return True

    def _new(self, text: str) -> dict[str, Any]:
        metadata = {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {ROOTS_KEY: text}}
