"""The configuration of this node from the operator's stream: connected as long as possible, served from disk when not.

Theory: three things go on side by side and know little of each other. `_stay_connected` makes sessions, one after the other,
with a growing pause after each that failed. `Enforcement` brings what they say into force and acknowledges it.
`SnapshotKeeper` writes what was confirmed to disk, soon but not often. The snapshot is put into force before the first
connection is tried, so an agent serves at once wherever the operator is, and after every loss of it goes on with what it has.

Source: `weft_contract.stream`; pauses and times are limits.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import trio

from weft_agent.control.config_source import Config
from weft_agent.operator_client.assembly import Change
from weft_agent.operator_client.backoff import Backoff
from weft_agent.operator_client.contact import Contact
from weft_agent.operator_client.credentials import CredentialFiles, Credentials, until_roots_change, until_token_ends
from weft_agent.operator_client.disk_snapshot import Place
from weft_agent.operator_client.enforcement import Enforcement, Workers
from weft_agent.operator_client.errors import OperatorError, UnreachableError
from weft_agent.operator_client.session import Session
from weft_agent.operator_client.snapshot_keeper import SnapshotKeeper
from weft_agent.operator_client.transport import Endpoint, connect
from weft_agent.operator_client.websocket import WebSocket
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_contract.limits import Limits
from weft_contract.resources.document import SCHEMA
from weft_contract.stream import MAX_FRAME_BYTES, STREAM_PATH, SUBPROTOCOL, Ack, Hello, Pods

AGREED_S: Final = 2.0
"""An operator sends differences at once, or has none."""
SETTLED_SESSION_S: Final = 30.0
"""A session that lived so long was a success, whatever it brought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """Where the operator is, and who we are."""

    node: str
    build: str
    """Version of this agent."""
    endpoint: Endpoint
    token: Path
    snapshot: Path
    """Directory."""
    limits: Limits


class ConfigStream:
    """A source of configurations (`weft_agent.control.config_source.ConfigSource`).

    Args:
        settings: where the operator is.
        workers: who enforces what it says.
        pods: tells of this node's pods.
        log: told of every change of the connection.
        metrics: state it.
        rng: chance, for pauses.
        clock: wall clock, unix seconds.
    """

    def __init__(
        self,
        settings: StreamSettings,
        workers: Workers,
        pods: Callable[[], Pods],
        log: Log,
        metrics: Metrics,
        rng: Random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._pods = pods
        self._log = log
        self._metrics = metrics
        self._rng = rng
        self._clock = clock
        self._enforcement = Enforcement(settings.node, workers, log, metrics)
        self._enforcement.acknowledge = self._acknowledge
        self._enforcement.confirmed = self._keep_confirmed
        self._backoff = Backoff(rng, settings.limits.operator_backoff_first_s, settings.limits.operator_backoff_max_s)
        self._session: Session | None = None
        self._hurry = trio.Event()
        place = Place(settings.snapshot, settings.node, settings.build)
        self._keeper = SnapshotKeeper(place, settings.limits.snapshot_interval_s, log, metrics, clock)
        self.contact = Contact(f"https://{settings.endpoint}", metrics, clock)
        self.connected: Callable[[], None] = lambda: None
        """Told of each connection that came about: the operator is there."""
        self.agreed: Callable[[], None] = lambda: None
        """Told when an operator has nothing to add to what is held; what it sends goes to `apply` instead."""
        self.lost: Callable[[], None] = lambda: None
        """Told when a session, or an attempt at one, is over."""

    # -- what others ask ------------------------------------------------------------------------------------------

    @property
    def current(self) -> Config | None:
        """What is in force."""
        return self._enforcement.current

    @property
    def problems(self) -> tuple[str, ...]:
        """What the operator sent and is not in force; what keeps the snapshot from being written."""
        refused = tuple(f"{key}: {reason}" for key, (_, reason) in sorted(self._enforcement.ledger.refusals.items()))
        return (*refused, *filter(None, [self._keeper.problem]))

    @property
    def snapshot_problem(self) -> str:
        """What keeps the snapshot from being read or written; empty: nothing."""
        return self._keeper.problem

    @property
    def refused(self) -> int:
        """How many resources there are whose newest version is not in force."""
        return len(self._enforcement.ledger.refusals)

    def degraded(self) -> Iterable[str]:
        """Say that the operator is away, since when, and why."""
        contact = self.contact
        if not contact.connected:
            reason = contact.last_error or "not tried yet"
            outcome = "; the last good configuration stays in force" if self.current is not None else ""
            yield f"no operator for {contact.away_s():.0f} s: {reason}{outcome}"

    def reload(self) -> None:
        """Connect anew, without waiting."""
        self._hurry.set()

    def pods_changed(self) -> None:
        """Tell the operator of the pods, soon."""
        if self._session is not None:
            self._session.pods_changed()

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self, apply: Callable[[Config], None]) -> None:
        """Follow the operator until cancelled."""
        await self._begin(apply)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._enforcement.run, apply)
                nursery.start_soon(self._keeper.run)
                nursery.start_soon(self._stay_connected)
        finally:
            self._keeper.finish()

    async def _begin(self, apply: Callable[[Config], None]) -> None:
        snapshot = await self._keeper.read()
        if snapshot is not None:
            self.contact.confirmed_unix_s = snapshot.saved_unix_s
            await self._enforcement.begin(snapshot.change(), apply)
            self._keeper.holds(self._enforcement.ledger.entries)

    async def _stay_connected(self) -> None:
        while True:
            began_s = trio.current_time()
            try:
                reason = await self._connect()
            except OperatorError as exc:
                await self._pause(exc, trio.current_time() - began_s)
            else:
                self.contact.left(None)
                self.lost()
                self._log.info("operator-reconnect", reason=reason)

    async def _pause(self, error: OperatorError, lasted_s: float) -> None:
        if lasted_s >= SETTLED_SESSION_S:
            self._backoff.reset()
        new = self.contact.connected or self.contact.last_error != str(error)
        wait_s = self._backoff.next_s(getattr(error, "retry_after_s", 0.0))
        self.contact.left(error)
        self.lost()
        write = self._log.warning if new else self._log.info
        write("operator-away", reason=error.reason, error=str(error), retry_s=round(wait_s, 1))
        with trio.move_on_after(wait_s):
            await self._hurry.wait()
        self._hurry = trio.Event()

    async def _connect(self) -> str:
        """Live one session; return why it was ended by us."""
        files = CredentialFiles(self._settings.token, self._settings.endpoint.roots)
        credentials = files.read()
        websocket = WebSocket(await connect(self._settings.endpoint), MAX_FRAME_BYTES)
        try:
            await self._open(websocket, credentials)
            session = self._session = Session(websocket, self._settings.limits, self._put, self._pods)
            self.contact.came()
            self.connected()
            self._log.info("operator-connected", url=self.contact.url)
            return await session.run(
                self._hello(),
                partial(until_token_ends, files, credentials.token, self._clock, self._rng),
                partial(until_roots_change, files, credentials.roots_pem),
                self._until_agreed,
                self._until_asked,
            )
        finally:
            self._session = None
            self._enforcement.session_ended()
            await websocket.close()

    async def _open(self, websocket: WebSocket, credentials: Credentials) -> None:
        endpoint = self._settings.endpoint
        fields = [(b"authorization", f"Bearer {credentials.token.text}".encode())]
        try:
            with trio.fail_after(endpoint.connect_timeout_s):
                await websocket.open(str(endpoint), STREAM_PATH, SUBPROTOCOL, fields)
        except trio.TooSlowError as exc:
            raise UnreachableError(f"{endpoint} does not answer within {endpoint.connect_timeout_s:g} s") from exc

    def _hello(self) -> Hello:
        settings = self._settings
        have = self._enforcement.ledger.have()
        return Hello(node=settings.node, build=settings.build, schema=SCHEMA, have=have)

    async def _until_agreed(self) -> str:
        """Note that an operator which has nothing to say agrees with what the node holds; never returns."""
        await trio.sleep(AGREED_S)
        if self._enforcement.agree():
            self.agreed()
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def _until_asked(self) -> str:
        await self._hurry.wait()
        self._hurry = trio.Event()
        return "somebody asked for it"

    def _put(self, change: Change) -> None:
        self._backoff.reset()
        self._enforcement.put(change)

    def _acknowledge(self, acks: tuple[Ack, ...]) -> None:
        if self._session is not None:
            self._session.acknowledge(acks)

    def _keep_confirmed(self) -> None:
        confirmed = self._enforcement.ledger.confirmed
        if confirmed is not None:
            self._keeper.keep(confirmed)
