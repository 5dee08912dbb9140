"""kopf, in a thread and an event loop of its own: it watches, and says which object changed. Nothing else.

Theory: kopf cancels every task of its loop when it ends, so it gets a loop that has no others. Only `on.event` handlers are
registered, the kind that writes nothing to objects: no finalizer, no annotation, no progress (kopf would add them for create,
update and delete handlers). Peering is off (`standalone`), because the Lease decides who leads; Events are ours, so kopf's
are off too. Kinds whose CRD is missing are waited for by kopf, and by `late_kinds` with each renewal of the Lease that comes
back, since kopf can miss them.

What kopf tells is handed to the operator's loop by `call_soon_threadsafe`; after `stop` nothing is handed over any more,
however long kopf takes to end.

Source: kopf 1.45 documentation "embedding", `settings.watching` (bookmarks, inactivity), `requires_finalizer` in its on.py.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import kopf
import structlog

from weft_operator.controllers.late_kinds import LateKinds
from weft_operator.controllers.resources import WATCHED, Reference

Login = Callable[[], kopf.ConnectionInfo]
STOP_TIMEOUT_S: Final = 5.0
CLOSING_S: Final = 0.1
"""TLS connections that were closed are gone some turns of the loop later; without those their sockets would stay open."""
WORKERS: Final = 50
"""Objects that kopf processes at once; without a bound it would start a task for each of a list of thousands."""
_CHUNK: Final = 500
_REQUEST_TIMEOUT_S: Final = 30.0
_CONNECT_TIMEOUT_S: Final = 10.0
_SERVER_TIMEOUT_S: Final = 300
"""Whole seconds: the API server refuses `300.0`."""

_log: Final = structlog.get_logger("weft_operator.controllers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An object as kopf saw it last."""

    reference: Reference
    version: str
    item: Mapping[str, Any] | None
    """None: it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Who is told, in the operator's loop."""

    heard: Callable[[Heard], None]
    beat: Callable[[], None]
    """The Lease came back."""


class KopfThread:
    """One run of kopf. Start it once; a new run is a new object.

    Args:
        login: how to reach the API server; asked again when credentials were refused.
        ears: who is told.
        lease: namespace and name of the Lease whose renewals are the heartbeat.
    """

    def __init__(self, login: Login, ears: Ears, lease: tuple[str, str]) -> None:
        self._login, self._ears, self._lease = login, ears, lease
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether kopf has not ended, in order or otherwise."""
        return self._thread.is_alive()

    def dismiss(self) -> None:
        """Hear nothing of it from now on; it ends by itself."""
        self._stop.set()

    async def stop(self) -> bool:
        """End it; say whether it ended within `STOP_TIMEOUT_S`."""
        self.dismiss()
        await asyncio.to_thread(self._thread.join, STOP_TIMEOUT_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            try:
                runner.run(self._operate())
            except asyncio.CancelledError:
                pass  # the way in which kopf ends
            except Exception as exc:
                _log.error("kopf ended", error=repr(exc))
            runner.run(asyncio.sleep(CLOSING_S))

    async def _operate(self) -> None:
        registry, settings = kopf.OperatorRegistry(), self._settings()
        kinds = LateKinds(registry, settings)
        self._register(registry, kinds)
        try:
            await kopf.operator(
                registry=registry,
                settings=settings,
                insights=kinds.insights,
                standalone=True,
                clusterwide=True,
                stop_flag=self._stop,
            )
        finally:
            self._stop.set()  # a thread of this loop waits for it, and the loop for that thread

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.queueing.worker_limit = WORKERS
        settings.watching.chunk_size = _CHUNK
        settings.watching.server_timeout = _SERVER_TIMEOUT_S
        settings.watching.connect_timeout = _CONNECT_TIMEOUT_S
        settings.networking.request_timeout = _REQUEST_TIMEOUT_S
        settings.networking.connect_timeout = _CONNECT_TIMEOUT_S
        settings.process.ultimate_exiting_timeout = None  # it would kill the whole process, streams and all
        namespace, name = self._lease
        lease = f"metadata.namespace={namespace},metadata.name={name}"
        settings.watching.field_selectors["coordination.k8s.io", "v1", "leases"] = lease
        return settings

    def _register(self, registry: kopf.OperatorRegistry, kinds: LateKinds) -> None:
        async def login(**_: object) -> kopf.ConnectionInfo:
            return await asyncio.to_thread(self._login)

        async def beat(**_: object) -> None:
            self._tell(self._ears.beat)
            await kinds.look()

        kopf.on.login(registry=registry)(login)
        kopf.on.event("coordination.k8s.io", "v1", "leases", registry=registry)(beat)
        for watched in WATCHED.values():
            selector = [watched.group, *([watched.version] if watched.version else []), watched.plural]
            kopf.on.event(*selector, id=watched.kind, registry=registry)(self._handler(watched.kind))

    def _handler(self, kind: str) -> Callable[..., Any]:
        async def heed(event: Mapping[str, Any], **_: object) -> None:
            item = event["object"]
            metadata = item.get("metadata", {})
            namespace, name = metadata.get("namespace"), metadata.get("name", "")
            heard = Heard(
                reference=Reference(kind, f"{namespace}/{name}" if namespace else name),
                version=str(metadata.get("resourceVersion", "")),
                item=None if event["type"] == "DELETED" else item,
            )
            self._tell(lambda: self._ears.heard(heard))

        return heed

    def _tell(self, call: Callable[[], None]) -> None:
        if not self._stop.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._told, call)

    def _told(self, call: Callable[[], None]) -> None:
        if not self._stop.is_set():
            call()
