"""What all rooms of a worker's data plane share: loop, limits, snapshot, pods, counters. One object, passed around.

Theory: `snapshot` is replaced as a whole; whoever keeps something compiled from it remembers `generation` and looks again
when it differs. `flows` holds everything alive that a change of policy or a drain must reach.
"""

import resource
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, Literal, Protocol

import trio

from weft_agent.proxy.meter import HttpMeter, Party, Reporter, TcpMeter, labels_of
from weft_agent.proxy.pod import Pod
from weft_agent.reactor import Reactor
from weft_agent.telemetry.access_log import AccessLog
from weft_agent.telemetry.series import SeriesTable
from weft_agent.tls import HandshakeGate, TlsContexts, TlsEngine
from weft_agent.worker.buckets import Buckets, key_hash
from weft_contract.identity import SpiffeId
from weft_contract.limits import Limits
from weft_contract.resources import Endpoint
from weft_core.balance import States
from weft_core.decision import Allowed, Denied, LimitRef, Permit
from weft_core.errors import NoIdentityError, WeftError
from weft_core.policy import spend
from weft_core.snapshot import Snapshot

Direction = Literal["inbound", "outbound"]
METERS_MAX: Final = 4096
LEARNED_MAX: Final = 8192


class Flow(Protocol):
    """Something alive that outlasts a callback."""

    def account(self) -> None:
        """Tell the counters what moved since the last time."""

    def recheck(self) -> None:
        """Ask the present policy again; end what it no longer lets pass."""

    def drain(self) -> None:
        """Finish what is in progress and take nothing new."""

    def leave(self, pod: Pod) -> None:
        """Drain if it is this pod's, which leaves the mesh."""

    def cut(self, error: WeftError) -> None:
        """End now, visibly."""


class Context:
    """The worker's data plane, as its rooms see it."""

    def __init__(
        self,
        reactor: Reactor,
        limits: Limits,
        series: SeriesTable,
        access_log: AccessLog,
        buckets: Buckets,
        contexts: TlsContexts,
        report: Callable[[str, str], None],
    ) -> None:
        self.reactor = reactor
        self.limits = limits
        self.connections_max = self.pod_connections_max = 0
        self.series = series
        self.access_log = access_log
        self.buckets = buckets
        self.contexts = contexts
        self.report = report
        """Tells control of something an operator should see: event and detail."""
        self.gate = HandshakeGate(limits)
        self.use_limits(limits)
        self.rng = Random()
        self.snapshot = Snapshot()
        self.generation = 0
        self.pods: dict[str, Pod] = {}
        self.by_key: dict[str, Pod] = {}
        self.flows: set[Flow] = set()
        self.draining = False
        self.spawned = 0
        """Tasks beside the reactor that have not ended: handshakes. A drain waits for them."""
        self.states: States = {}
        self._families: dict[int, tuple[tuple[Endpoint, ...], ...]] = {}
        self.learned: dict[tuple[str, int], str] = {}
        self.plain = memoryview(bytearray(256 * 1024))
        """Plaintext of tunnels, valid during one callback."""
        self.nursery: trio.Nursery | None = None
        self._connection_cells: dict[tuple[Direction, str], tuple[int, int]] = {}
        self._http_meters: dict[tuple[object, ...], HttpMeter] = {}
        self._tcp_meters: dict[tuple[object, ...], TcpMeter] = {}

    def use_limits(self, limits: Limits) -> None:
        """Take the limits that hold for this process; before the first connection."""
        self.limits = limits
        self.gate = HandshakeGate(limits)
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        # a connection that is passed on takes two descriptors
        self.connections_max = int(descriptors * limits.connection_share / 2)
        self.pod_connections_max = int(descriptors * limits.pod_connection_share / 2)

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run something slow beside the reactor."""
        if self.nursery is not None:
            self.spawned += 1
            self.nursery.start_soon(self._beside, task)

    async def _beside(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        finally:
            self.spawned -= 1

    def add(self, series: str, labels: dict[str, str], amount: int = 1) -> None:
        """Add to a rare counter; hot paths keep their cell's index instead."""
        self.series.cells[self.series.counter(series, labels)] += amount

    def connection_opened(self, direction: Direction, protocol: str) -> None:
        """Count a connection of an application that a session or a relay took over."""
        total, active = self._cells_of_connections(direction, protocol)
        self.series.cells[total] += 1
        self.series.cells[active] += 1

    def connection_closed(self, direction: Direction, protocol: str) -> None:
        """Count its end."""
        self.series.cells[self._cells_of_connections(direction, protocol)[1]] -= 1

    def _cells_of_connections(self, direction: Direction, protocol: str) -> tuple[int, int]:
        """Return the cells of all connections and of those that live."""
        found = self._connection_cells.get((direction, protocol))
        if found is None:
            labels = {"direction": direction, "protocol": protocol}
            names = ("weft_connections_total", "weft_connections_active")
            total, active = (self.series.counter(name, labels) for name in names)
            found = self._connection_cells[direction, protocol] = (total, active)
        return found

    def local(self, address: str) -> Pod | None:
        """Return the captured pod of this node that has this address."""
        table = self.snapshot.local(address)
        return self.by_key.get(table.key) if table is not None else None

    def has_room(self, pod: Pod) -> bool:
        """Tell whether the worker and this pod may hold one more connection."""
        return pod.connections < self.pod_connections_max and len(self.flows) < self.connections_max

    # -- decisions ----------------------------------------------------------------------------------------------------

    def charge(self, allowed: Allowed) -> Permit | Denied:
        """Take the tokens that an allowed request needs."""
        if not allowed.limits and not allowed.any_of:
            return allowed.permit
        now = time.monotonic()

        def take(ref: LimitRef) -> float:
            return self.buckets.take(key_hash(ref.key), now, ref.limit.requests_per_second, ref.limit.burst)

        return spend(allowed, take)

    def explains_to(self, identity: SpiffeId | None) -> bool:
        """Tell whether this caller may know policy and rule of a refusal."""
        audience = self.snapshot.telemetry.explain_refusals
        return audience == "always" or (audience == "mesh" and identity is not None)

    def refused(self, direction: Direction, denied: Denied, pod: Pod) -> None:
        """Count a denial."""
        self._refusal(direction, denied.reason, denied.policy, denied.rule, pod)

    def failed(self, direction: Direction, error: WeftError, pod: Pod) -> None:
        """Count a fault that a caller got to see."""
        self._refusal(direction, error.reason, "", "", pod)

    def noted(self, allowed: Allowed, pod: Pod) -> None:
        """Count what dry runs and audits have to say about an allowed request."""
        where = {"workload": pod.party.workload, "workload_namespace": pod.party.namespace}
        if allowed.dry_run_denial:
            self.add("weft_policy_dry_run_denials_total", where | {"policy": allowed.dry_run_denial})
        for policy in allowed.audits:
            self.add("weft_policy_audits_total", where | {"policy": policy})

    def _refusal(self, direction: Direction, reason: str, policy: str, rule: str, pod: Pod) -> None:
        self.add(
            "weft_refusals_total",
            {
                "direction": direction, "reason": reason, "policy": policy, "rule": rule,
                "workload": pod.party.workload, "workload_namespace": pod.party.namespace,
            },
        )  # fmt: skip

    def of_family(self, endpoints: tuple[Endpoint, ...], address: str) -> tuple[Endpoint, ...]:
        """Return the endpoints of the family that the caller used; all of them where that family has none."""
        kept = self._families.get(id(endpoints))
        if kept is None or kept[0] is not endpoints:
            if len(self._families) >= LEARNED_MAX:
                self._families.clear()
            v4 = tuple(endpoint for endpoint in endpoints if ":" not in endpoint.address)
            v6 = tuple(endpoint for endpoint in endpoints if ":" in endpoint.address)
            kept = self._families[id(endpoints)] = (endpoints, v4 or endpoints, v6 or endpoints)
        return kept[2] if ":" in address else kept[1]

    def learn(self, address: tuple[str, int], kind: Literal["http1", "opaque"]) -> None:
        """Remember what a destination was found to speak."""
        if len(self.learned) >= LEARNED_MAX:
            self.learned.clear()
        self.learned[address] = kind

    # -- tunnels ------------------------------------------------------------------------------------------------------

    def tls_engine(
        self, role: Literal["client", "server"], identity: SpiffeId | None, peer_domain: str = ""
    ) -> TlsEngine:
        """Return a fresh TLS session as `identity`.

        Raises:
            NoIdentityError: there is no valid certificate.
            UntrustedPeerError: no roots are known for the peer's domain.
        """
        if identity is None:
            raise NoIdentityError("the pod's configuration is not here (yet), so it has no identity")
        now = time.time()
        if role == "server":
            return TlsEngine(self.contexts.server(identity, now))
        return TlsEngine(self.contexts.client(identity, peer_domain, now))

    def handshake_done(self, role: str, seconds: float) -> None:
        """Count a handshake that succeeded."""
        self.series.observer("weft_handshake_duration_seconds", {"role": role}).observe(seconds)

    def handshake_failed(self, role: str, error: WeftError, pod: Pod) -> None:
        """Count a handshake that failed, and log why."""
        self.add("weft_handshake_failures_total", {"role": role, "reason": error.reason})
        self.report(f"tunnel-{role}", f"{pod.key}: {error}")

    def when(self, unix_s: float) -> float:
        """Return a moment of the wall clock on the reactor's clock."""
        return trio.current_time() + unix_s - time.time()

    # -- telemetry ----------------------------------------------------------------------------------------------------

    def http_meter(
        self, reporter: Reporter, source: Party, destination: Party, service: str, *, mtls: bool
    ) -> HttpMeter:
        """Return the meter of a pair of workloads."""
        key = (reporter, source, destination, service, mtls)
        meter = self._http_meters.get(key)
        if meter is None:
            labels = labels_of(reporter, source, destination, service, protocol="http", mutual_tls=mtls)
            if len(self._http_meters) >= METERS_MAX:
                self._http_meters.clear()
            meter = self._http_meters[key] = HttpMeter(self.series, labels)
        return meter

    def tcp_meter(self, reporter: Reporter, source: Party, destination: Party, service: str, *, mtls: bool) -> TcpMeter:
        """Return the meter of a pair of workloads for opaque connections."""
        key = (reporter, source, destination, service, mtls)
        meter = self._tcp_meters.get(key)
        if meter is None:
            labels = labels_of(reporter, source, destination, service, protocol="tcp", mutual_tls=mtls)
            if len(self._tcp_meters) >= METERS_MAX:
                self._tcp_meters.clear()
            meter = self._tcp_meters[key] = TcpMeter(self.series, labels)
        return meter

    def logs(self, *, failed: bool) -> bool:
        """Tell whether a record is to be written for something that failed or not."""
        telemetry = self.snapshot.telemetry
        if telemetry.access_log == "off" or (telemetry.access_log == "errors" and not failed):
            return False
        percent = telemetry.access_log_sampling_percent
        return failed or percent >= 100.0 or self.rng.random() * 100.0 < percent
