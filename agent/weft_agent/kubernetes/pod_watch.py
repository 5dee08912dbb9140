"""The watch of this node's pods: a list, then changes, for ever; what was seen last stays while the API server is away.

Theory of operation. A list without a resource version is answered from the store itself, never from a cache that may be
behind: a pod missing from it is gone, and is released, so it must not be missing by mistake. A watch goes on from the version
it has reached; the server ends it after some minutes, and bookmarks move the version on and prove that the connection lives.
When the server no longer has the version (410) there is a new list. Failures wait longer each time, with jitter, and take
nothing away.

Source: Kubernetes API concepts, "Efficient detection of changes"; `metav1.WatchEvent`, `metav1.Status`.
"""

from collections.abc import Callable
from random import Random
from typing import Final, Literal, assert_never
from urllib.parse import urlencode

import msgspec
import trio

from weft_agent.kubernetes.account import Account, AccountError
from weft_agent.kubernetes.api_request import ApiError, ApiRefusedError, get
from weft_agent.kubernetes.node_pods import NodePods
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.objects import Pod

PAGE: Final = 500
WATCH_S: Final = 290
"""After so long the server ends a watch in order; below the five minutes after which many proxies cut a connection."""
SILENCE_S: Final = 100.0
"""The server sends a bookmark every minute."""
SHORT_S: Final = 1.0
"""A watch that ends sooner, in order or not, is a failure; else a broken server would be asked without pause."""
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 15.0
GONE: Final = 410


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


class _Versioned(msgspec.Struct):
    metadata: _ListMeta


class _Failure(msgspec.Struct):
    code: int = 0
    message: str = ""


class PodWatch:
    """Watches the pods of one node.

    Args:
        account: at which API server, as whom.
        node: whose pods.
        changed: told after every change of `pods`.
        log: told of trouble, once each.
        metrics: count it.
        rng: jitter.
    """

    def __init__(
        self, account: Account, node: str, changed: Callable[[], None], log: Log, metrics: Metrics, rng: Random
    ) -> None:
        self.pods = NodePods()
        self.trouble = ""
        """Why the pods are not watched at present; empty: they are."""
        self._account = account
        self._node = node
        self._changed = changed
        self._log = log
        self._metrics = metrics
        self._rng = rng
        self._version = ""
        """Where the next watch begins; empty: with a list."""
        self._wait_s = FIRST_WAIT_S

    async def run(self) -> None:
        """Watch until cancelled."""
        self._metrics.set("weft_pod_watch_connected", 0.0)
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                continue
            except ApiRefusedError as exc:
                if exc.status == GONE:
                    self._version = ""
                    self._fail("expired", str(exc), quiet=True)
                else:
                    self._fail("refused", f"{exc}; {_remedy(exc.status)}")
            except AccountError as exc:
                self._fail("account", str(exc))
            except (ApiError, msgspec.MsgspecError) as exc:
                self._fail("connection", str(exc))
            await trio.sleep(self._rng.uniform(0.5, 1.0) * self._wait_s)
            self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)

    async def _list(self) -> None:
        pods: list[Pod] = []
        query = {"limit": str(PAGE)}
        while True:
            async with get(self._account, self._target(query)) as body:
                page = msgspec.json.decode(await body.whole(), type=_List)
            pods += [pod for raw in page.items or () if (pod := self._decode(raw)) is not None]
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        self.pods.replace(pods)
        self._version = page.metadata.resource_version
        self._log.info("pods-listed", pods=len(pods))
        self._changed()

    async def _watch(self) -> None:
        query = {
            "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version,
            "timeoutSeconds": str(self._rng.randrange(WATCH_S // 2, WATCH_S)),
        }  # fmt: skip
        began_s = trio.current_time()
        async with get(self._account, self._target(query)) as body:
            self._connected()
            while (line := await body.line(SILENCE_S)) is not None:
                self._take(msgspec.json.decode(line, type=_Event))
        if trio.current_time() - began_s < SHORT_S:
            raise ApiError(f"the API server ended a watch within {SHORT_S:g} s")

    def _take(self, event: _Event) -> None:
        match event.type:
            case "ERROR":
                failure = msgspec.json.decode(event.object, type=_Failure)
                raise ApiRefusedError(failure.code, f"the API server ended the watch: {failure.message}")
            case "BOOKMARK":
                pass
            case "ADDED" | "MODIFIED" | "DELETED":
                pod = self._decode(event.object)
                if pod is not None and self.pods.change(event.type, pod):
                    self._changed()
            case _:
                assert_never(event.type)
        self._version = msgspec.json.decode(event.object, type=_Versioned).metadata.resource_version

    def _target(self, query: dict[str, str]) -> str:
        selector = {"fieldSelector": f"spec.nodeName={self._node}"}
        return f"/api/v1/pods?{urlencode(selector | query)}"

    def _decode(self, raw: msgspec.Raw) -> Pod | None:
        """Return a pod; one that cannot be read is told, and the others are read all the same."""
        try:
            try:
                return msgspec.json.decode(raw, type=Pod)
            except msgspec.ValidationError:
                return msgspec.convert(_without_nulls(msgspec.json.decode(raw)), Pod)
        except msgspec.MsgspecError as exc:
            self._metrics.add("weft_pod_watch_errors_total", reason="object")
            self._log.error("pod-unreadable", error=str(exc))
            return None

    def _connected(self) -> None:
        self._wait_s = FIRST_WAIT_S
        self._metrics.set("weft_pod_watch_connected", 1.0)
        if self.trouble:
            self._log.info("pod-watch-back")
        self.trouble = ""

    def _fail(self, reason: str, trouble: str, *, quiet: bool = False) -> None:
        self._metrics.set("weft_pod_watch_connected", 0.0)
        self._metrics.add("weft_pod_watch_errors_total", reason=reason)
        if trouble != self.trouble and not quiet:
            consequence = "pods that come or go are noticed by the configuration alone"
            self._log.warning("pod-watch", error=trouble, consequence=consequence)
            self.trouble = trouble


def _without_nulls(value: object) -> object:
    """Leave out fields that are null: in foreign objects they mean absent."""
    match value:
        case dict():
            return {key: _without_nulls(item) for key, item in value.items() if item is not None}
        case list():
            return [_without_nulls(item) for item in value]
        case _:
            return value


def _remedy(status: int) -> str:
    match status:
        case 401:
            return "the agent's token is not accepted: mount the service account's own, of the default audience"
        case 403:
            return "let the agent's service account get, list and watch pods"
        case _:
            return "see the API server's log"
