"""The mesh's authority in this process: read once with patience, followed, and everything that hangs on it kept in step.

Theory: who we are to others hangs on the authority: the certificate of our servers, the roots that the compiler gives to all
nodes, those that webhooks and agents verify us by, the proof by which replicas know each other. When it changes, by a rotation
that another replica may have taken a step of, all of that changes here.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog

from weft_operator.access import ApiError
from weft_operator.apiserver import ApiServer
from weft_operator.ca import Authority, CaError
from weft_operator.ca.kept import KeptAuthority, Lacking
from weft_operator.conditions import Notice
from weft_operator.controllers.events import Recorder
from weft_operator.server.certificate import ServerTls
from weft_operator.server.settings import Settings

RETRY_S: Final = 5.0
_log: Final = structlog.get_logger("weft_operator.server")


class Trust:
    """The authority and what hangs on it.

    Args:
        api: the API server.
        settings: names of the Secrets and of our servers.
        changed: called when the roots, or what signs, are others; not at the first time.
        leads: whether this replica is the leader.
    """

    def __init__(
        self, api: ApiServer, settings: Settings, changed: Callable[[], None], leads: Callable[[], bool]
    ) -> None:
        self._place = settings.namespace, settings.ca_secret
        issuer = (settings.namespace, settings.issuer_secret) if settings.issuer_secret else None
        self._kept = KeptAuthority(api, self._place, issuer=issuer, changed=self._follow, told=self._tell)
        self._changed, self._leads = changed, leads
        self._recorder = Recorder(api, settings.instance)
        self._telling: set[asyncio.Task[None]] = set()
        self._known = False
        self._client: ssl.SSLContext | None = None
        self.tls = ServerTls(self._kept.issue_server, settings.server_names)
        self.trouble = "is being read"
        """Why it is not known yet; empty: it is."""

    @property
    def authority(self) -> Authority | None:
        """What signs; None: it is not known yet."""
        return self._kept.authority

    @property
    def roots(self) -> Sequence[str]:
        """PEM roots that verify our servers; empty: not known yet."""
        return self._kept.roots if self._known else ()

    @property
    def bundles(self) -> Mapping[str, tuple[str, ...]]:
        """PEM roots by trust domain; it is known."""
        return self._kept.bundles

    @property
    def ends(self) -> Iterable[tuple[str, float]]:
        """Name and end (seconds since 1970) of every certificate that must be renewed in time."""
        return [("server", self.tls.not_after_unix_s), *self._kept.ends] if self._known else ()

    @property
    def alarms(self) -> Sequence[str]:
        """Names of the alarms that hold now."""
        return [alarm.name for alarm in self._kept.alarms]

    def secret(self) -> bytes | None:
        """Return what only replicas know; None: not known yet."""
        return self._kept.state.signer.key.encode() if self._known else None

    def client_tls(self) -> ssl.SSLContext | None:
        """Return what verifies other replicas; None: not known yet."""
        if self._client is None and self._known:
            self._client = ssl.create_default_context(cadata="".join(self._kept.roots))
        return self._client

    async def load(self, trust_domain: str) -> None:
        """Read the authority, or make it; tried again for as long as that takes."""
        while True:
            try:
                await self._kept.load(trust_domain)
                self._known = True
                self.tls.renew()
            except (ApiError, CaError) as exc:
                self._known = False
                if str(exc) != self.trouble:
                    _log.error("the certificate authority cannot be read; tried again", why=str(exc))
                self.trouble = str(exc)
                await asyncio.sleep(RETRY_S)
            else:
                self.trouble = ""
                return

    async def run(self, trust_domain: Callable[[], str], lacking: Lacking) -> None:
        """Follow it, and take the steps of rotations while leading, until cancelled; `load` came first."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.tls.run(), name="server certificate")
            group.create_task(self._kept.run(self._leads, trust_domain, lacking), name="authority")

    def _follow(self) -> None:
        if not self._known:
            return
        self._client = None
        self.tls.wake()
        self._changed()

    def _tell(self, reason: str, text: str, alarm: bool) -> None:
        """Write an Event about the Secret, as the leader."""
        if not self._leads():
            return
        namespace, name = self._place
        item = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
        notice = Notice(type="Warning" if alarm else "Normal", reason=reason, note=text)
        task = asyncio.create_task(self._recorder.tell("authority", item, notice))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
