"""Writing Events: each notice once, no more of them for one object than people read, and never at the cost of a status.

Source: Kubernetes API, events.k8s.io/v1; client-go's EventSourceObjectSpamFilter (a burst per object, then one in minutes).
"""

import time
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from weft_operator.conditions import Notice
from weft_operator.controllers.store import ExistsError, Store

REPORTER: Final = "weft.dev/operator"
BURST: Final = 10
"""Events of one object at once."""
REFILL_S: Final = 60.0
"""One more after so long."""
_CLUSTER_SCOPED: Final = "default"
"""Where Events about objects without a namespace go."""

_log: Final = structlog.get_logger("weft_operator.controllers")


class Recorder:
    """Writes Events about objects.

    Args:
        store: the API server.
        instance: name of this replica.
        clock: monotonic seconds.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        instance: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._instance = store, instance
        self._clock, self._wall = clock, wall
        self._budgets: dict[Hashable, tuple[float, float]] = {}
        self.dropped = 0
        """Events that were too many for their object."""

    async def tell(self, about: Hashable, item: Mapping[str, Any], notice: Notice) -> None:
        """Write one Event; one that cannot be written is logged and lost, because the status says the same.

        Args:
            about: what the budget is kept by.
            item: the object that it is about.
            notice: what to say.
        """
        if not self._afford(about):
            self.dropped += 1
            return
        metadata = item.get("metadata") or {}
        namespace = metadata.get("namespace") or _CLUSTER_SCOPED
        try:
            await self._store.create(
                f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", self._event(item, namespace, notice)
            )
        except ExistsError:
            return
        except Exception as exc:
            _log.warning("an Event was lost", object=str(about), reason=notice.reason, error=repr(exc))

    def forget(self, about: Hashable) -> None:
        """Drop what is kept of an object that is gone."""
        self._budgets.pop(about, None)

    def _afford(self, about: Hashable) -> bool:
        now = self._clock()
        left, at = self._budgets.get(about, (float(BURST), now))
        left = min(float(BURST), left + (now - at) / REFILL_S)
        self._budgets[about] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    def _event(self, item: Mapping[str, Any], namespace: str, notice: Notice) -> dict[str, object]:
        metadata = item.get("metadata") or {}
        name, uid = str(metadata.get("name", "")), str(metadata.get("uid", ""))
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": notice.event_name(name, uid), "namespace": namespace},
            "eventTime": datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": REPORTER,
            "reportingInstance": self._instance,
            "action": "Judge",
            "type": notice.type,
            "reason": notice.reason,
            "note": notice.note,
            "regarding": {
                "apiVersion": item.get("apiVersion", ""),
                "kind": item.get("kind", ""),
                "name": name,
                "namespace": metadata.get("namespace", ""),
                "uid": uid,
                "resourceVersion": str(metadata.get("resourceVersion", "")),
            },
        }
