"""What the leader asks of the API server: the seam to the Kubernetes client (`weft_operator.apiserver` implements it)."""

from collections.abc import Mapping
from typing import Any, Protocol

from weft_operator.access import ConflictError, ExistsError

__all__ = ["Body", "ConflictError", "ExistsError", "Store"]

Body = dict[str, Any]  # a Kubernetes object: JSON whose shape the API server knows


class Store(Protocol):
    """Objects of an API server. Whatever goes wrong otherwise is raised as the client's own errors."""

    async def get(self, path: str) -> Body | None:
        """Return an object; None: it is not there."""

    async def replace(self, path: str, item: Mapping[str, object]) -> Body:
        """Replace an object, or its status, at the `resourceVersion` it was read at.

        Raises:
            ConflictError: it was written meanwhile.
        """

    async def create(self, path: str, item: Mapping[str, object]) -> Body:
        """Create an object.

        Raises:
            ExistsError: it is there.
        """
