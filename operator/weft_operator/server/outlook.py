"""What the controllers ask of the hub: how things stand with an object."""

from weft_operator.controllers.outlook import Look
from weft_operator.distribution import Hub


class HubOutlook:
    """An `Outlook` on a hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def look(self, kind: str, key: str) -> Look | None:
        """Say how things stand with an object; None: the compiler has not seen it (yet)."""
        return self._hub.look(kind, key)
