"""One replica of the operator, put together: the composition root of everything that runs in its event loop.

Theory of operation, in the order of a life:

1. Health and metrics answer at once, so that what is waited for can be read.
2. The mirror lists every kind. Until each is known nothing is compiled: half a cluster would be taken for a whole one.
3. The authority's keys are read (or made); its roots and the cluster are compiled; the hub takes the first round.
4. Streams, certificates and webhooks are served, and the replica is ready. Every replica does all this alike.
5. It takes part in the election; while it leads, the controllers run.
6. On SIGTERM: not ready any more, the Lease is given back, nodes are told to go to another replica, webhooks are answered a
   little longer (the API server learns late that we are gone), then everything ends.

Whatever ends by an error of ours ends the process with status 1: a new one lists everything anew. An API server that is away
ends nothing.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from aiohttp import web

from weft_contract.objects import Mesh
from weft_operator.access import Access
from weft_operator.apiserver import ApiServer
from weft_operator.compile import ClusterView
from weft_operator.compile.settings import read_settings
from weft_operator.compile.view import ObjectKey
from weft_operator.controllers.run import Surroundings
from weft_operator.distribution import (
    Hub,
    HubMetrics,
    Kinship,
    Peers,
    StandingEndpoint,
    StreamEndpoint,
    lacking_roots,
)
from weft_operator.identity import CertificateEndpoint, PodIndex, TokenGatekeeper
from weft_operator.reflect import Feed, Known, Mirror, Round, Seen, SteadyEngine
from weft_operator.server import collector
from weft_operator.server.health import Health
from weft_operator.server.kopf_login import kopf_login
from weft_operator.server.leader import Candidate
from weft_operator.server.listen import HttpServer
from weft_operator.server.metrics import CompileMetrics, Gauges, StateCollector, make_registry, metrics_application
from weft_operator.server.neighbours import Neighbours
from weft_operator.server.outlook import HubOutlook
from weft_operator.server.settings import Address, Settings, replica_identity
from weft_operator.server.siblings import Siblings
from weft_operator.server.trust import Trust
from weft_operator.webhooks import GateSettings, Webhooks

STUCK_S: Final = 120.0
"""A round that takes longer will not end; the largest first round measured takes 10 s."""
LINGER_S: Final = 3.0
"""How long webhooks are answered after we are not ready any more: endpoints and connections follow within a second or two."""
_log: Final = structlog.get_logger("weft_operator.server")


class Replica:
    """One replica.

    Args:
        settings: how it was started.
        access: where its credentials lie.
        api: the API server.
    """

    def __init__(self, settings: Settings, access: Access, api: ApiServer) -> None:
        self._settings, self._api = settings, api
        identity = replica_identity(settings)
        self.registry = make_registry()
        self.known, self.pods, self._compiler = Known(), PodIndex(), SteadyEngine()
        self.mirror = Mirror(api, self._seen)
        self.feed = Feed(self._compiler, self._compiled)
        self.hub = Hub(metrics=HubMetrics(self.registry), changed=self._changed)
        gatekeeper = TokenGatekeeper(
            api, self.pods, namespace=settings.namespace, service_account=settings.agent_account
        )
        self._streams = StreamEndpoint(self.hub, gatekeeper)
        self.candidate = Candidate(api, identity, self._around(access))
        self.trust = Trust(api, settings, self._trust_changed, lambda: self.candidate.leads)
        self._certificates = CertificateEndpoint(
            gatekeeper, self.pods, lambda: self.trust.authority, registry=self.registry
        )
        self._siblings = Siblings(settings.namespace, settings.service)
        kinship = Kinship(self.trust.secret)
        self._standing = StandingEndpoint(self.hub, kinship, identity)
        self._peers = Peers(self.hub, kinship, identity, urls=self._siblings.urls, tls=self.trust.client_tls)
        self.health = Health(alive=[self._dead, self.candidate.troubles], ready=[self._not_ready])
        self._compile_metrics = CompileMetrics(self.registry)
        self.registry.register(StateCollector(self.mirror, self.known, self._gauges()))
        self._serving = asyncio.Event()
        self._election: asyncio.Task[None] | None = None
        self.servers: dict[str, HttpServer] = {}
        """By name: `health`, `metrics`, `stream`, `webhook`."""

    def _around(self, access: Access) -> Surroundings:
        return Surroundings(
            store=self._api,
            outlook=HubOutlook(self.hub),
            login=kopf_login(access),
            instance=self._settings.instance,
            lease=(self._settings.namespace, self._settings.lease),
            roots_config_map=(self._settings.namespace, self._settings.roots_config_map),
            webhook_configuration=self._settings.webhook_configuration,
            roots=lambda: self.trust.roots,
            view=lambda: self._compiler.engine.view,
            trust_domain=self._trust_domain,
        )

    def _gauges(self) -> Gauges:
        return Gauges(
            leads=lambda: self.candidate.leads,
            status_writes=lambda: self.candidate.writes,
            waiting=lambda: self.candidate.waiting,
            certificates=lambda: self.trust.ends,
            alarms=lambda: self.trust.alarms,
            aside=lambda: len(self._compiler.aside),
        )

    # -- a life ---------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then end in order.

        Raises:
            Exception: whatever ended it otherwise.
        """
        tasks = {
            asyncio.create_task(work, name=name)
            for name, work in (("mirror", self.mirror.run()), ("feed", self.feed.run()), ("serve", self._serve()))
        }
        stopper = asyncio.create_task(stop.wait())
        try:
            await self._start("metrics", metrics_application(self.registry), self._settings.metrics_address)
            await self._start("health", self.health.application(), self._settings.health_address)
            done, _ = await asyncio.wait({*tasks, stopper}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopper}:
                task.result()
            await self._drain()
        finally:
            for task in (*tasks, stopper):
                task.cancel()
            await asyncio.gather(*tasks, stopper, return_exceptions=True)
            for server in reversed(self.servers.values()):
                await server.stop()

    async def _start(self, name: str, application: web.Application, address: Address, *, secure: bool = False) -> None:
        server = HttpServer(application, address, self.trust.tls.context if secure else None)
        await server.start()
        self.servers[name] = server
        _log.info("listening", server=name, address=str(address), port=server.port)

    async def _serve(self) -> None:
        await self.mirror.synced.wait()
        _log.info("cluster known", objects=dict(self.known.objects))
        await self.trust.load(self._trust_domain())
        self.feed.set_bundles(self.trust.bundles)
        self.feed.open()
        await self.feed.compiled.wait()
        collector.settle()
        await self._start("stream", self._stream_application(), self._settings.stream_address, secure=True)
        await self._start("webhook", self._webhooks().application(), self._settings.webhook_address, secure=True)
        self._serving.set()
        _log.info("ready", nodes=len(self.hub.board.nodes))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.trust.run(self._trust_domain, self._lacking), name="trust")
            group.create_task(self._peers.run(lambda: self.candidate.leads), name="peers")
            self._election = group.create_task(self.candidate.run(), name="election")

    def _stream_application(self) -> web.Application:
        application = web.Application()
        application.add_routes([*self._streams.routes(), *self._certificates.routes(), *self._standing.routes()])
        return application

    def _webhooks(self) -> Webhooks:
        return Webhooks(
            gate=GateSettings(image=self._settings.gate_image, pull_policy=self._settings.gate_pull_policy),
            namespace_labels=self.known.namespace_labels,
            surroundings=Neighbours(lambda: self._compiler.engine.view),
            registry=self.registry,
        )

    async def _drain(self) -> None:
        _log.info("shutting down")
        self.health.draining = True
        if self._election is not None:
            self._election.cancel()
            await asyncio.wait({self._election})
        await self._streams.close()
        if self._serving.is_set():
            await asyncio.sleep(LINGER_S)

    # -- what is told ---------------------------------------------------------------------------------------------

    def _seen(self, items: Sequence[Seen]) -> None:
        changes = {(item.kind, item.key): item.held for item in items}
        self.known.apply(items)
        self._siblings.apply(items)
        self.pods.apply(changes)
        self.feed.put(changes)
        self.candidate.seen(items)

    def _compiled(self, found: Round) -> None:
        self.hub.apply(found.delta, found.since)
        self._compile_metrics.observe(found, len(self._compiler.engine.problems.all))

    # -- what is asked --------------------------------------------------------------------------------------------

    def _trust_domain(self) -> str:
        """Return the trust domain that the Mesh object names."""
        held = self.known.mesh
        mesh = held.item if held is not None and isinstance(held.item, Mesh) else None
        return read_settings(ClusterView(mesh=mesh)).trust_domain

    def _lacking(self, trust_domain: str, roots: Sequence[str]) -> tuple[str, ...] | None:
        return lacking_roots(self.hub, trust_domain, roots)

    def _dead(self) -> Iterable[str]:
        for kind in self.mirror.dead:
            yield f"the watch of {kind} is dead: neither an event nor a bookmark came for a long time"
        since = self.feed.busy_since
        if since is not None and time.monotonic() - since > STUCK_S:
            yield f"compiling does not come to an end; it began {time.monotonic() - since:.0f} s ago"

    def _not_ready(self) -> Iterable[str]:
        yield from (f"not known yet: {missing}" for missing in self.mirror.missing)
        if self._serving.is_set() or self.mirror.missing:
            return
        yield f"the certificate authority: {self.trust.trouble}" if self.trust.trouble else "being compiled"

    def _trust_changed(self) -> None:
        self.feed.set_bundles(self.trust.bundles)
        self.candidate.roots_changed()

    def _changed(self, keys: Iterable[ObjectKey]) -> None:
        self.candidate.changed(keys)
