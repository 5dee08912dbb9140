"""Whether the agent's own service account has been deleted: the one sign by which an agent knows that Weft is being uninstalled.

Theory: an agent that ends leaves its rules in force, because another one comes, and until then nothing may pass unguarded. When
none will ever come, the rules would cut their pods off for good. An uninstallation deletes the service account, an upgrade or
a restart never does. Afterwards nobody can ask any more, as nobody accepts the account's token; but a watch that is open
already still hears of it. So the account is watched for as long as the agent lives. What is not known is never taken for a
deletion.

Source: Kubernetes API concepts, "Semantics for watch" (without a version, a watch begins with what is there); RFC 7519.
"""

from base64 import urlsafe_b64decode
from random import Random
from typing import Final, Literal
from urllib.parse import urlencode

import msgspec
import trio

from weft_agent.kubernetes.account import Account, AccountError
from weft_agent.kubernetes.api_request import ApiError, get
from weft_agent.telemetry.log import Log

WATCH_S: Final = 3000
"""After so long the server ends a watch in order; API servers allow an hour or so."""
SILENCE_S: Final = WATCH_S + 60.0
"""Nothing happens to an account: silence is what is expected."""
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0


class _Event(msgspec.Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]


class _Claims(msgspec.Struct):
    sub: str = ""


class OwnAccount:
    """Watches the account that the agent's token is of.

    Args:
        account: at which API server, as whom.
        log: told of a deletion.
        rng: jitter.
    """

    def __init__(self, account: Account, log: Log, rng: Random) -> None:
        self._account = account
        self._log = log
        self._rng = rng
        self._gone = trio.Event()

    @property
    def is_gone(self) -> bool:
        """True from the moment of a deletion on, until the account is made anew."""
        return self._gone.is_set()

    async def wait_gone(self) -> None:
        """Return when the account has been deleted."""
        await self._gone.wait()

    async def run(self) -> None:
        """Watch until cancelled."""
        wait_s = FIRST_WAIT_S
        while True:
            began_s = trio.current_time()
            try:
                await self._watch()
            except (AccountError, ApiError, msgspec.MsgspecError) as exc:
                self._log.debug("own-account", error=str(exc))
            if trio.current_time() - began_s > LONGEST_WAIT_S:
                wait_s = FIRST_WAIT_S
            await trio.sleep(self._rng.uniform(0.5, 1.0) * wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _watch(self) -> None:
        namespace, name = owner_of(self._account.token())
        query = {
            "watch": "1", "fieldSelector": f"metadata.name={name}",
            "timeoutSeconds": str(self._rng.randrange(WATCH_S // 2, WATCH_S)),
        }  # fmt: skip
        async with get(self._account, f"/api/v1/namespaces/{namespace}/serviceaccounts?{urlencode(query)}") as body:
            while (line := await body.line(SILENCE_S)) is not None:
                self._take(msgspec.json.decode(line, type=_Event))

    def _take(self, event: _Event) -> None:
        if event.type == "DELETED":
            self._log.info("own-account-deleted", consequence="capture rules are taken away when this agent ends")
            self._gone.set()
        elif event.type in ("ADDED", "MODIFIED") and self.is_gone:
            self._gone = trio.Event()


def owner_of(token: str) -> tuple[str, str]:
    """Return namespace and name of the service account that a token is of; it is ours, so it is not verified.

    Raises:
        AccountError: it is not a service account's token.
    """
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims)
        system, kind, namespace, name = claims.sub.split(":")
    except (IndexError, ValueError) as exc:
        raise AccountError("the agent's token is no service account's") from exc
    if (system, kind) != ("system", "serviceaccount"):
        raise AccountError("the agent's token is no service account's")
    return namespace, name
