"""Replicas among themselves: the leader asks the others how far their nodes have come, over HTTPS with a proof of kinship.

Theory: every replica holds the authority's key, and nobody else does. So a request carries a MAC of the time, made with a key
that is derived from it, and the channel is TLS verified by the mesh's own roots; no further secret, right or volume is needed.
Only the leader asks, once a second; whatever does not answer is gone after some seconds, and its nodes count as lagging.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from ssl import SSLContext
from typing import Final

import aiohttp
import msgspec
import structlog
from aiohttp import web

from weft_contract.stream import SERVER_NAME
from weft_operator.distribution.endpoint import bearer_token, problem
from weft_operator.distribution.gatekeeper import RefusedError
from weft_operator.distribution.hub import Hub
from weft_operator.distribution.standing import Answer, Question

STANDING_PATH: Final = "/v1/standing"
ASK_S: Final = 1.0
TIMEOUT_S: Final = 5.0
MAX_QUESTION_BYTES: Final = 64 * 1024 * 1024
"""A hundred bytes for each of 100 000 resources, several times over."""
SKEW_S: Final = 60.0
_PURPOSE: Final = b"weft.dev/standing/v1"
_log: Final = structlog.get_logger("weft_operator.distribution")


class Kinship:
    """Proofs that a request comes from a replica of this operator.

    Args:
        secret: what only replicas know: the private key of the authority that signs; None: not read yet.
        wall: seconds since 1970.
    """

    def __init__(self, secret: Callable[[], bytes | None], *, wall: Callable[[], float] = time.time) -> None:
        self._secret, self._wall = secret, wall

    def token(self) -> str:
        """Return a proof that holds for a minute.

        Raises:
            RefusedError: the authority is not known yet.
        """
        stamp = str(int(self._wall()))
        return f"{stamp}.{self._mac(stamp)}"

    def check(self, token: str) -> None:
        """Check a proof.

        Raises:
            RefusedError: it is none, or of another time.
        """
        stamp, _, mac = token.partition(".")
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12 or not mac.isascii():
            raise RefusedError(401, "Not a replica", "this is asked by other replicas of the operator only")
        if not hmac.compare_digest(mac, self._mac(stamp)):
            raise RefusedError(401, "Not a replica", "the proof is not made with the key of this mesh's authority", 5.0)
        if abs(int(stamp) - self._wall()) > SKEW_S:
            raise RefusedError(401, "Not a replica", "the proof is of another time; compare the clocks of the nodes")

    def _mac(self, stamp: str) -> str:
        secret = self._secret()
        if secret is None:
            raise RefusedError(503, "Not ready", "the authority is not known here yet; come again", 1.0)
        key = hmac.new(_PURPOSE, secret, sha256).digest()
        return hmac.new(key, stamp.encode(), sha256).hexdigest()


class StandingEndpoint:
    """Answers the leader.

    Args:
        hub: knows our nodes.
        kinship: knows replicas.
        replica: our name.
    """

    def __init__(self, hub: Hub, kinship: Kinship, replica: str) -> None:
        self._hub, self._kinship, self._replica = hub, kinship, replica

    def routes(self) -> Iterable[web.RouteDef]:
        """Return the routes to add to an application."""
        return [web.post(STANDING_PATH, self._handle)]

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            self._kinship.check(bearer_token(request))
            question = await self._read(request)
        except RefusedError as exc:
            return problem(exc)
        answer = self._hub.answer(question, self._replica)
        return web.Response(body=msgspec.msgpack.encode(answer), content_type="application/msgpack")

    async def _read(self, request: web.Request) -> Question:
        body = b""
        async with asyncio.timeout(TIMEOUT_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_QUESTION_BYTES:
                    raise RefusedError(413, "Too large", f"a question has at most {MAX_QUESTION_BYTES} bytes")
        try:
            return msgspec.msgpack.decode(body, type=Question)
        except msgspec.MsgspecError as exc:
            raise RefusedError(400, "Bad request", f"not a question: {exc}; replicas may be of two versions") from exc


class Peers:
    """Asks the others while leading.

    Args:
        hub: takes the answers.
        kinship: proves who we are.
        replica: our name.
        urls: where the replicas are, ours may be among them: `https://10.0.0.1:15010`.
        tls: verifies them; None: without TLS, for tests.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        hub: Hub,
        kinship: Kinship,
        replica: str,
        *,
        urls: Callable[[], Sequence[str]],
        tls: Callable[[], SSLContext | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub, self._kinship, self._replica = hub, kinship, replica
        self._urls, self._tls, self._clock = urls, tls, clock
        self._names: dict[str, str] = {}
        """Who answered at which URL."""
        self._silent: set[str] = set()

    async def run(self, leads: Callable[[], bool]) -> None:
        """Ask once a second while leading, until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http:
            while True:
                if leads():
                    await self.ask_all(http)
                await asyncio.sleep(ASK_S)

    async def ask_all(self, http: aiohttp.ClientSession) -> None:
        """Ask every other replica once."""
        urls = [url for url in self._urls() if self._names.get(url) != self._replica]
        await asyncio.gather(*(self._ask(http, url) for url in urls))
        self._hub.forget_silent(self._clock())

    async def _ask(self, http: aiohttp.ClientSession, url: str) -> None:
        question = self._hub.elsewhere.question(self._names.get(url, ""), self._clock())
        tls = self._tls()
        try:
            async with http.post(
                url + STANDING_PATH,
                data=msgspec.msgpack.encode(question),
                headers={"Authorization": f"Bearer {self._kinship.token()}"},
                ssl=tls if tls is not None else True,
                server_hostname=SERVER_NAME if tls is not None else None,
            ) as response:
                body = await response.read()
                if response.status != 200:
                    raise RefusedError(response.status, "Refused", body[:300].decode(errors="replace"))
            answer = msgspec.msgpack.decode(body, type=Answer)
        except (RefusedError, aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError) as exc:
            self._note_silent(url, repr(exc))
            return
        self._silent.discard(url)
        self._names[url] = answer.replica
        if answer.replica != self._replica:
            self._hub.heard(question, answer, self._clock())

    def _note_silent(self, url: str, why: str) -> None:
        if url not in self._silent:
            self._silent.add(url)
            _log.warning("replica does not answer", url=url, why=why)
