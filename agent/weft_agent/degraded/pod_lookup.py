"""Asks the API server for pods by name, one after the other: those behind endpoints that nobody has told of yet.

Theory: a rollout makes new pods everywhere; each node asks for those of the Services it holds, once each, and never for all
pods of the cluster. An answer is kept while some slice shows the pod. One that is gone is not asked for again, since a slice
without it follows; a failure is told, and tried again ever more slowly, with jitter: what is not known gets no traffic.
"""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Final
from urllib.parse import quote

import msgspec
import trio

from weft_agent.degraded.seen import TargetReference
from weft_agent.kubernetes.account import Account, AccountError
from weft_agent.kubernetes.api_request import ApiError, ApiRefusedError, get
from weft_agent.kubernetes.list_watch import FIRST_WAIT_S, LONGEST_WAIT_S, Reason, read_object
from weft_contract.objects import Pod

NOT_FOUND: Final = 404


class PodLookup:
    """The pods that were asked for.

    Args:
        account: at which API server, as whom.
        changed: told when `pods` returns something else.
        failed: told of trouble, in a word and for people.
        rng: jitter.
    """

    def __init__(
        self, account: Account, changed: Callable[[], None], failed: Callable[[Reason, str], None], rng: Random
    ) -> None:
        self._account = account
        self._changed = changed
        self._failed = failed
        self._rng = rng
        self._wanted: dict[str, TargetReference] = {}
        self._answers: dict[str, Pod | None] = {}
        """By uid; None: it is gone."""
        self._more = trio.Event()
        self.trouble = ""
        """Why the last question failed; empty: it did not."""

    def pods(self) -> Mapping[str, Pod]:
        """Return the pods that were found, by uid."""
        return {uid: pod for uid, pod in self._answers.items() if pod is not None}

    def want(self, targets: Iterable[TargetReference]) -> None:
        """Have these and no others."""
        self._wanted = {target.uid: target for target in targets}
        self._answers = {uid: pod for uid, pod in self._answers.items() if uid in self._wanted}
        self._more.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        wait_s = FIRST_WAIT_S
        while True:
            target = next((each for uid, each in self._wanted.items() if uid not in self._answers), None)
            if target is None:
                await self._more.wait()
                self._more = trio.Event()
                continue
            try:
                self._answers[target.uid] = await self._ask(target)
                self.trouble, wait_s = "", FIRST_WAIT_S
                self._changed()
            except (AccountError, ApiError, msgspec.MsgspecError) as exc:
                self._tell(exc)
                await trio.sleep(self._rng.uniform(0.5, 1.0) * wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _ask(self, target: TargetReference) -> Pod | None:
        path = f"/api/v1/namespaces/{quote(target.namespace, safe='')}/pods/{quote(target.name, safe='')}"
        try:
            async with get(self._account, path) as body:
                pod = read_object(await body.whole(), Pod)
        except ApiRefusedError as exc:
            if exc.status != NOT_FOUND:
                raise
            return None
        return pod if pod.metadata.uid == target.uid else None

    def _tell(self, error: Exception) -> None:
        reason: Reason = "connection"
        match error:
            case AccountError():
                reason = "account"
            case ApiRefusedError():
                reason = "refused"
            case msgspec.MsgspecError():
                reason = "object"
        self.trouble = str(error)
        self._failed(reason, self.trouble)
