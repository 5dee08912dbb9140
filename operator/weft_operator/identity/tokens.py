"""Agents by their tokens: the API server says whose a token is, our own index whether that pod is still there.

Theory: a token counts if the API server accepts it for our audience, if it is one of exactly the agents' service account,
and if it names the node and the pod that it was made for. The node is never taken from what a caller says. The API server
goes on accepting a deleted pod's token for some ten seconds, and our answers are kept for a minute, so each time the pod is
looked up in our own index as well.

Answers are kept by a hash of the token; those that refuse for a shorter time. Several requests with one token are one
question, and only so many questions are asked at once.

Source: Kubernetes `pkg/serviceaccount/util.go` (v1.32 and later: node name in tokens of pods), TokenReview v1.
"""

import asyncio
import hashlib
import time
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from weft_contract.stream import TOKEN_AUDIENCE
from weft_operator.access import ApiError
from weft_operator.distribution import Caller, RefusedError
from weft_operator.identity.pods import PodIndex

REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
NODE_NAME: Final = "authentication.kubernetes.io/node-name"
POD_NAME: Final = "authentication.kubernetes.io/pod-name"
POD_UID: Final = "authentication.kubernetes.io/pod-uid"

ACCEPTED_S: Final = 60.0
"""An accepted token is asked about again after a minute (the API server itself caches for ten seconds)."""
REFUSED_S: Final = 5.0
"""So often a wrong token costs the API server a question."""
MAX_ANSWERS: Final = 10_000
"""Two tokens for each of 5 000 nodes."""
MAX_REVIEWS: Final = 16
"""Questions at once; the API server answers one in a few milliseconds."""
MAX_TOKEN_CHARACTERS: Final = 16 * 1024
REAUTHENTICATE_S: Final = 600.0
"""Life of a token that does not tell its own; the shortest life that Kubernetes gives."""


class Api(Protocol):
    """What is asked of the API server."""

    async def create(self, path: str, item: Mapping[str, object]) -> dict[str, Any]:
        """Create an object and return it."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the API server said of a token."""

    caller: Caller | None
    refused: RefusedError | None
    until: float


class TokenGatekeeper:
    """Admits agents.

    Args:
        api: is asked for token reviews.
        pods: says whether the agent's pod is there.
        namespace: of the agents.
        service_account: of the agents.
        clock: monotonic seconds.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        api: Api,
        pods: PodIndex,
        *,
        namespace: str,
        service_account: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._api, self._pods = api, pods
        self._namespace = namespace
        self._username = f"system:serviceaccount:{namespace}:{service_account}"
        self._clock, self._wall = clock, wall
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Answer]] = {}
        self._turns = asyncio.Semaphore(MAX_REVIEWS)

    async def admit(self, token: str) -> Caller:
        """Say which agent presents a token.

        Raises:
            RefusedError: none, or its pod is not there.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise RefusedError(401, "Not a token", f"a token has at most {MAX_TOKEN_CHARACTERS} characters")
        answer = await self._answer(token)
        if answer.refused is not None:
            raise RefusedError(*answer.refused.parts)
        assert answer.caller is not None, "an answer accepts or refuses"
        caller = answer.caller
        if caller.expires_unix_s <= self._wall():
            raise RefusedError(401, "Token expired", "read the projected token anew; the kubelet renews it in time")
        if not self.still_there(caller):
            detail = (
                f"pod {caller.pod} (uid {caller.pod_uid}) is not on node {caller.node}, as far as this replica knows: "
                "it was deleted, or was made a moment ago; come again"
            )
            raise RefusedError(403, "Unknown pod", detail, 1.0)
        return caller

    def still_there(self, caller: Caller) -> bool:
        """Say whether an admitted agent's pod is there."""
        return self._pods.runs(caller.pod_uid, caller.node, caller.pod)

    async def _answer(self, token: str) -> _Answer:
        name = hashlib.sha256(token.encode()).digest()
        known = self._answers.get(name)
        if known is not None and self._clock() < known.until:
            return known
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._ask(name, token))
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(task)  # one that goes away must not take the answer from the others

    async def _ask(self, name: bytes, token: str) -> _Answer:
        item = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [TOKEN_AUDIENCE]},
        }
        try:
            async with self._turns:
                review = await self._api.create(REVIEWS, item)
        except (ApiError, OSError, TimeoutError) as exc:
            detail = f"the API server could not be asked about the token ({exc}); come again"
            return _Answer(None, RefusedError(503, "Token not reviewed", detail, 5.0), 0.0)
        try:
            answer = _Answer(self._caller(review, token), None, self._clock() + ACCEPTED_S)
        except RefusedError as exc:
            answer = _Answer(None, exc, self._clock() + REFUSED_S)
        self._answers[name] = answer
        self._answers.move_to_end(name)
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        return answer

    def _caller(self, review: Mapping[str, Any], token: str) -> Caller:
        """Read a reviewed token.

        Raises:
            RefusedError: it is not one of an agent.
        """
        status = review.get("status") or {}
        if status.get("authenticated") is not True or TOKEN_AUDIENCE not in (status.get("audiences") or ()):
            said = status.get("error") or "it is expired, of another cluster, or for another audience"
            detail = f"the API server does not accept the token for audience {TOKEN_AUDIENCE}: {said}"
            raise RefusedError(401, "Token refused", detail)
        user = status.get("user") or {}
        if user.get("username") != self._username:
            detail = f"the token is one of {user.get('username')!r:.200}; only {self._username} is served"
            raise RefusedError(403, "Not an agent", detail)
        extra = user.get("extra") or {}
        node, pod, uid = (_only(extra.get(name)) for name in (NODE_NAME, POD_NAME, POD_UID))
        if not node or not pod or not uid:
            detail = (
                "the token does not name its node and pod: use a projected token (volume `serviceAccountToken`), which is "
                "bound to a pod; Kubernetes 1.32 or later is needed"
            )
            raise RefusedError(403, "Token without a node", detail)
        expires = token_end(token)
        if expires is None:
            expires = self._wall() + REAUTHENTICATE_S
        return Caller(node=node, pod=f"{self._namespace}/{pod}", pod_uid=uid, expires_unix_s=expires)


def token_end(token: str) -> float | None:
    """Return when a JSON web token ends (`exp`), seconds since 1970; None: it does not say.

    Its signature is not looked at: whoever calls this has had it reviewed.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    end = claims.get("exp") if isinstance(claims, dict) else None
    return float(end) if isinstance(end, int | float) else None


def _only(values: object) -> str:
    """Return the only one of several values of a user's extra; empty: there is not exactly one."""
    return str(values[0]) if isinstance(values, list) and len(values) == 1 else ""
