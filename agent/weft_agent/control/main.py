"""Control from start to end: builds its parts, joins them, obeys signals, and drains before it leaves.

Theory: nothing here decides about traffic; it is the one place where the parts meet. Whatever ends control unexpectedly (a
bug, SIGKILL, the keeper's death) leaves workers serving and rules in force, and the next control takes over. Only a drained
stop ends the workers, and only `--remove-capture-on-exit` takes rules away.
"""

import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import trio

from weft_agent.capture.captures import Captures, Means
from weft_agent.capture.namespaces import PROC, NodeNamespaces
from weft_agent.capture.network import Listeners
from weft_agent.capture.stockroom import Stockroom
from weft_agent.channel.messages import AskGate, GateWord, NeedStock
from weft_agent.control.adoption import Adoption, Orphan
from weft_agent.control.config_files import ConfigFiles
from weft_agent.control.config_source import Config, ConfigSource
from weft_agent.control.desired import Entries
from weft_agent.control.endpoints import AdminEndpoint, MetricsEndpoint, Parts
from weft_agent.control.fleet import Fleet, FleetSettings, Telemetry
from weft_agent.control.gatekeeper import Gatekeeper
from weft_agent.control.hatchery import Hatchery
from weft_agent.control.health import Health
from weft_agent.control.http_server import serve
from weft_agent.control.identities import Identities
from weft_agent.control.members import Membership
from weft_agent.control.process import WorkerProcess
from weft_agent.control.roster import Members
from weft_agent.control.selftest import SelfTests, make_listener
from weft_agent.control.settings import Address, Settings
from weft_agent.control.state_directory import StateDirectory
from weft_agent.degraded import DegradedEndpoints
from weft_agent.kubernetes import Account, OwnAccount
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_agent.telemetry.pages import Pages
from weft_agent.telemetry.sink import Sink
from weft_contract.limits import DEFAULT_LIMITS, Limits
from weft_contract.resources.document import resource_key

if TYPE_CHECKING:
    from weft_agent.operator_client.plane import OperatorPlane


UNINSTALLED_S: Final = 5.0
"""An uninstallation deletes the agents first and their account last; that takes a second or two."""


class KeeperGoneError(Exception):
    """The keeper died; whoever starts the next one gets our workers, so this process makes room."""


class Control:
    """The running control process.

    Args:
        settings: how it was started.
        worker_argv: command line that starts a worker, without what follows its module name.
        state: locked.
        sink: standard output.
        log: the agent's log.
        metrics: control's values.
        lifeline: read end of the keeper's pipe; None where no keeper is.
    """

    def __init__(
        self,
        settings: Settings,
        worker_argv: Sequence[str],
        state: StateDirectory,
        sink: Sink,
        log: Log,
        metrics: Metrics,
        lifeline: int | None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._lifeline = lifeline
        self._limits: Limits = limits_with(settings.limits)
        token = state.token()
        self._state = state
        self._adoption = Adoption(state, token, log)
        self._pages = Pages(state.retired_counters)
        fleet_settings = FleetSettings(
            size=settings.workers,
            limits=settings.limits,
            drain_timeout_s=self._limits.drain_timeout_s,
            log_format=settings.log_format,
            token=token,
        )
        self._hatchery = Hatchery(worker_argv, state, log)
        telemetry = Telemetry(log, metrics, self._pages, sink)
        self._fleet = Fleet(fleet_settings, self._hatchery, state, telemetry, self._asked)
        finder = NodeNamespaces(settings.proc, settings.netns_dir)
        means = Means(
            finder, settings.backend, tuple(dict.fromkeys((PROC, settings.proc))), self._limits.drain_timeout_s
        )
        self._captures = Captures(self._fleet, means, state, log, metrics)
        self._stockroom = Stockroom(self._captures.pods, self._fleet.desired.pods, log, metrics)
        self._operator = self._operator_plane()
        self._config = self._config_source()
        self._identities = Identities(settings.identity, self._fleet, log, metrics)
        if self._operator is not None:
            self._operator.certificates.stored = self._identities.reload
            self._captures.shown = self._operator.pods_changed
        self._gatekeeper = Gatekeeper(self._fleet, self._captures.pods)
        self._own_account: OwnAccount | None = None
        if settings.kubernetes:
            account = Account.at(settings.kubernetes, settings.kubernetes_account, os.environ)
            self._own_account = OwnAccount(account, log, Random())
        self._degraded = self._degraded_endpoints()
        self._membership = Membership(settings, self._captures.remembered(), self._apply, log, metrics)
        self._selftests = SelfTests(metrics)
        self._health = Health(self._fleet, self._config, self._captures.missing, self._warnings, self._selftests, log)
        self._in_charge: list[trio.CancelScope] = []
        self._stopping = trio.Event()
        self._stop_now = trio.Event()
        self._fleet.joined = self._worker_joined
        self._captures.opened = self._pod_opened
        self._captures.left = self._pod_left
        self._members = Members()

    def _operator_plane(self) -> "OperatorPlane | None":
        settings = self._settings
        if settings.operator is None:
            return None
        from weft_agent.operator_client.plane import OperatorPlane  # 10 MiB that an agent with files need not have

        telemetry = (self._log, self._metrics)
        return OperatorPlane(
            settings.node,
            settings.operator,
            settings.identity,
            self._limits,
            self._fleet,
            self._captures.pods,
            telemetry,
        )

    def _degraded_endpoints(self) -> DegradedEndpoints | None:
        settings = self._settings
        if self._operator is None or not settings.kubernetes or settings.degraded_endpoints == "off":
            return None
        account = Account.at(settings.kubernetes, settings.kubernetes_account, os.environ)
        degraded = DegradedEndpoints(
            settings.node, account, self._limits, self._tell, self._log, self._metrics, Random()
        )
        stream = self._operator.stream
        stream.agreed, stream.lost = degraded.agreed, degraded.lost
        return degraded

    def _config_source(self) -> ConfigSource:
        settings = self._settings
        if self._operator is not None:
            return self._operator.stream
        assert settings.config is not None, "settings have one source"
        return ConfigFiles(settings.config, settings.node, self._state.path, self._log, self._metrics)

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until told to stop, and drained."""
        parts = Parts(
            self._settings, self._fleet, self._captures, self._config, self._identities, self._health, self._pages,
            self._metrics, self._log, self._stopping.set, self._operator, self._degraded,
        )  # fmt: skip
        health = await open_listeners(self._settings.health_address)
        metrics = await open_listeners(self._settings.metrics_address)
        admin = [open_admin_listener(self._state.admin_socket)]
        async with trio.open_nursery() as nursery:
            await nursery.start(self._obey_signals)  # before anybody hears that there is something to signal
            self._log.info(
                "control-started",
                pid=os.getpid(),
                health=_ports(health),
                metrics=_ports(metrics),
                **self._settings.shown(),
            )
            if self._lifeline is not None:
                nursery.start_soon(self._hold_lifeline, self._lifeline)
            nursery.start_soon(serve, health, self._health.handle, self._log)
            nursery.start_soon(serve, metrics, MetricsEndpoint(parts).handle, self._log)
            nursery.start_soon(serve, admin, AdminEndpoint(parts).handle, self._log)
            nursery.start_soon(self._adoption.run)
            orphans = await self._adoption.collect()
            self._adoption.close_collection(self._fleet.late)
            self._take_over(orphans)
            nursery.start_soon(self._fleet.run, orphans)
            nursery.start_soon(self._captures.run)
            nursery.start_soon(self._stockroom.run)
            nursery.start_soon(self._while_in_charge, partial(self._config.run, self._configured))
            nursery.start_soon(self._while_in_charge, self._membership.run)
            if self._own_account is not None:
                nursery.start_soon(self._own_account.run)
            nursery.start_soon(self._while_in_charge, self._identities.run)
            if self._operator is not None:
                nursery.start_soon(self._while_in_charge, self._operator.run)
            if self._degraded is not None:
                nursery.start_soon(self._while_in_charge, self._degraded.run)
            nursery.start_soon(self._health.watch)
            nursery.start_soon(self._hatchery.run)
            await self._stopping.wait()
            await self._drain()
            nursery.cancel_scope.cancel()

    def _take_over(self, orphans: Sequence[Orphan]) -> None:
        """Go on with what orphans hold: listeners that all of them share, and numbers that must not run backwards."""
        self._fleet.desired.generation = max((orphan.generation for orphan in orphans), default=0)
        taken: set[str] = set()
        for orphan in orphans:
            for uid, (listeners, sockets) in orphan.pods.items():
                if uid in taken:
                    _close(sockets)
                    continue
                taken.add(uid)
                by_kind: Listeners = dict(zip(listeners.listeners, sockets, strict=True))
                self._captures.adopt(listeners, by_kind)

    def _configured(self, config: Config) -> None:
        if self._degraded is not None and self._operator is not None:
            if self._operator.stream.contact.connected:
                self._degraded.agreed(tell=False)  # the workers are told below
            self._degraded.configured(config)
        self._membership.configured(config)
        if self._operator is not None:
            self._operator.want(config)
        else:
            self._fleet.take_refusals()  # files are not acknowledged to anybody

    def _apply(self, members: Members) -> None:
        self._members = members
        if self._degraded is not None:
            self._degraded.sees(members.told)
        self._captures.want((*members.told, *members.untold), complete=members.complete)
        self._captures.look_again()
        self._tell()

    def _tell(self) -> None:
        """Tell workers what there is; a pod that is leaving keeps what was told of it until its connections are over."""
        members, desired = self._members, self._fleet.desired
        leaving = {resource_key(workload): workload for workload in self._captures.leaving()}
        desired.generation += 1
        desired.entries = kept(self._entries(), desired.entries, leaving)
        self._gatekeeper.configured(members.told)
        self._fleet.changed()
        self._identities.want(frozenset(workload.identity for workload in (*members.told, *leaving.values())))

    def _pod_left(self) -> None:
        if self._members.entries is not None and self._fleet.desired.entries != self._entries():
            self._tell()

    def _entries(self) -> Entries | None:
        entries = self._members.entries
        return entries if self._degraded is None else self._degraded.over(entries)

    async def _drain(self) -> None:
        self._log.info("draining", timeout_s=self._limits.drain_timeout_s)
        self._health.draining = True
        self._captures.stop_accepting()
        cut = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hurry, nursery.cancel_scope)
            if self._settings.stand_by:
                nursery.start_soon(self._hand_over)
            cut = await self._fleet.drain(self._limits.drain_timeout_s)
            nursery.cancel_scope.cancel()
        release = await self._shall_release()
        await self._captures.leave_all(release=release)
        rules = "removed" if release else "stay in force"
        self._log.info("drained", cut=cut, rules=rules)

    async def _shall_release(self) -> bool:
        """Whether nobody comes after us, so that rules which stay would cut their pods off for good."""
        if self._settings.stand_by and not self._state.take_back():
            return False  # a successor has the node
        if self._settings.remove_capture_on_exit:
            return True
        if self._own_account is None:
            return False
        with trio.move_on_after(UNINSTALLED_S):
            await self._own_account.wait_gone()
        return self._own_account.is_gone

    async def _hand_over(self) -> None:
        """Let the agent that stands by have the node: no pod is looked after any more, no word said in the node's name."""
        self._captures.let_go()
        self._pages.is_kept = False
        for scope in self._in_charge:
            scope.cancel()
        await trio.lowlevel.checkpoint()
        self._state.hand_over()
        self._log.info("handed-over", state=str(self._state.path))

    async def _while_in_charge(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run a task until it ends, or until the node is handed over."""
        with trio.CancelScope() as scope:
            self._in_charge.append(scope)
            await run()

    async def _hurry(self, scope: trio.CancelScope) -> None:
        """Cut the drain short when somebody asks a second time."""
        await self._stop_now.wait()
        for worker in self._fleet.workers:
            worker.kill()
        scope.cancel()

    def _warnings(self) -> Iterator[str]:
        yield from self._membership.warnings()
        yield from self._identities.warnings()
        if self._operator is not None:
            yield from self._operator.warnings()
        if self._degraded is not None:
            yield from self._degraded.warnings()

    # -- what happens ---------------------------------------------------------------------------------------------

    def _worker_joined(self, worker: WorkerProcess) -> None:
        listener = make_listener()
        with listener:
            worker.give_selftest(listener)
        for uid in self._fleet.desired.pods:
            self._stockroom.first(worker, uid)

    def _pod_opened(self, uid: str) -> None:
        self._membership.look_at_node()
        self._stockroom.opened(uid)
        for worker in self._fleet.workers:
            self._stockroom.first(worker, uid)

    def _asked(self, worker: WorkerProcess, question: NeedStock | AskGate) -> None:
        if isinstance(question, NeedStock):
            self._stockroom.need(worker, question)
        else:
            worker.send(GateWord(uid=question.uid, waiting=self._gatekeeper.waiting(question.uid)))

    async def _obey_signals(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    self._config.reload()
                    self._identities.reload()
                elif self._stopping.is_set():
                    self._stop_now.set()
                else:
                    self._stopping.set()

    async def _hold_lifeline(self, lifeline: int) -> None:
        await trio.lowlevel.wait_readable(lifeline)
        raise KeeperGoneError("the keeper died; workers and rules stay for the next control")


def kept(entries: Entries | None, before: Entries | None, keys: Iterable[str]) -> Entries | None:
    """Return entries, with those of certain keys as they were before where there are none now."""
    if entries is None or before is None:
        return entries
    left = {key: before[key] for key in keys if key in before and key not in entries}
    return {**entries, **left} if left else entries


def limits_with(overrides: Mapping[str, float]) -> Limits:
    """Return the limits in force; `parse_settings` has checked names and types."""
    return replace(DEFAULT_LIMITS, **overrides)  # type: ignore[arg-type]  # mypy cannot know the field of each name


async def open_listeners(address: Address) -> list[trio.SocketListener]:
    """Listen for HTTP; the host `::` means every address of both families.

    Raises:
        OSError: the port is taken.
    """
    host = None if address.host == "::" else address.host
    return await trio.open_tcp_listeners(address.port, host=host)


def open_admin_listener(path: Path) -> trio.SocketListener:
    """Listen at the admin socket, which only root may use."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(mask)
    sock.listen(16)
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def raise_descriptor_limit() -> int:
    """Take as many descriptors as we may have; workers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _ports(listeners: Sequence[trio.SocketListener]) -> str:
    return ",".join(str(Address(*listener.socket.getsockname()[:2])) for listener in listeners)


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
