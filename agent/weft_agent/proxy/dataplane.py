"""The data plane of one worker: takes what control sends, holds everything that is alive, drains it at the end.

Theory: the channel's calls are short and change tables; connections notice by `Context.generation`. A new snapshot is swapped
in as a whole, then everything alive is asked again in slices, so that a change of policy ends what it forbids without
stopping the loop; a new certificate does the same, for the tunnels that showed the old one. The self test is a listener of
this worker alone whose requests go through the same acceptor, parser and session as everybody's.
"""

import socket
import time
from collections.abc import Sequence
from typing import Final

import trio

from weft_agent.channel.messages import (
    Applied,
    Family,
    GateWord,
    Hello,
    Keys,
    KeysGone,
    PodGone,
    PodLeaving,
    PodListeners,
    Report,
    Role,
    Stock,
    Update,
)
from weft_agent.proxy.context import Context
from weft_agent.proxy.inbound_door import InboundDoor
from weft_agent.proxy.outbound import OutboundDoor
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.selftest import SelfTestDoor
from weft_agent.proxy.tunnel_client import TunnelPool
from weft_agent.reactor import Listener, Reactor
from weft_agent.telemetry.access_log import AccessLog
from weft_agent.telemetry.series import SeriesTable
from weft_agent.tls import TlsContexts
from weft_agent.worker.buckets import Buckets
from weft_agent.worker.dataplane import ResourceEntry, Send
from weft_agent.worker.main import limits_of
from weft_contract.codec import decode_resource
from weft_contract.identity import parse_spiffe_id
from weft_contract.limits import DEFAULT_LIMITS
from weft_contract.problems import ContractError
from weft_contract.resources import Resource
from weft_core.balance import forget_gone
from weft_core.errors import DrainDeadlineError, WeftError
from weft_core.snapshot import Snapshot, SnapshotBuilder

ACCOUNT_INTERVAL_S: Final = 5.0
"""How stale byte counters of long connections may be."""
FLOWS_PER_SLICE: Final = 200
"""Flows looked at between two turns of the loop."""
DRAIN_POLL_S: Final = 0.05


class DataPlane:
    """Holds the connections of one worker; see `weft_agent.worker.dataplane` for who calls what."""

    def __init__(
        self,
        reactor: Reactor,
        series: SeriesTable,
        access_log: AccessLog,
        send: Send,
        *,
        buckets: Buckets,
        fd_directory: str,
    ) -> None:
        self._send = send
        self._fd_directory = fd_directory
        self._builder = SnapshotBuilder()
        self._recheck = trio.Event()
        self._selftest: Listener | None = None
        contexts = TlsContexts("", fd_directory=fd_directory)
        self._context = Context(reactor, DEFAULT_LIMITS, series, access_log, buckets, contexts, self._report)
        self._tunnels = TunnelPool(self._context)

    # -- from control -------------------------------------------------------------------------------------------------

    def hello(self, hello: Hello) -> None:
        """Take the limits."""
        self._context.use_limits(limits_of(hello))

    def adopted(self) -> None:
        """Ask the new control for what the old one owed."""
        for pod in self._context.pods.values():
            pod.reorder()

    def pod(self, pod: PodListeners, sockets: Sequence[socket.socket]) -> None:
        """Accept on a pod's listeners."""
        context = self._context
        known = context.pods.get(pod.uid)
        if known is not None:
            known.stop_accepting()
        else:
            known = Pod(pod.pod, pod.uid, context.reactor, context.limits, self._send, context.rng)
            known.on_stock_wait = self._stock_wait
            context.pods[pod.uid] = context.by_key[pod.pod] = known
        known.bind(context.snapshot.workload(pod.pod))
        for (direction, _), sock in zip(pod.listeners, sockets, strict=True):
            door = (
                InboundDoor(context, known) if direction == "inbound" else OutboundDoor(context, known, self._tunnels)
            )
            sock.setblocking(False)
            known.listeners.append(Listener(context.reactor, sock, door.accepted, self._exhausted))
        if context.draining:
            known.stop_accepting()

    def pod_leaving(self, leaving: PodLeaving) -> None:
        """Let go of what rests, so that the pod is free when the last connection in use is over, not when idle times are."""
        context = self._context
        pod = context.pods.get(leaving.uid)
        if pod is None:
            return
        pod.leaving = True
        context.reactor.refresh()
        pod.drop_parked()
        for other in context.pods.values():
            other.drop_parked_at(pod.addresses)
        for flow in list(context.flows):
            flow.leave(pod)
        context.reactor.settle()

    def pod_gone(self, gone: PodGone) -> None:
        """Close a pod's listeners and unused sockets."""
        pod = self._context.pods.pop(gone.uid, None)
        if pod is not None:
            pod.close()
            if self._context.by_key.get(pod.key) is pod:
                del self._context.by_key[pod.key]

    def stock(self, stock: Stock, sockets: Sequence[socket.socket]) -> None:
        """Take in prepared sockets."""
        pod = self._context.pods.get(stock.uid)
        if pod is None:
            for sock in sockets:
                sock.close()
            return
        for sock in sockets:
            sock.setblocking(False)
        self._context.reactor.refresh()
        pod.add_stock(stock.role, stock.family, list(sockets))
        self._context.reactor.settle()

    def gate(self, word: GateWord) -> None:
        """Answer those who asked at a pod's gate."""
        pod = self._context.pods.get(word.uid)
        if pod is not None:
            self._context.reactor.refresh()
            pod.gate.word(word)
            self._context.reactor.settle()

    def keys(self, keys: Keys, key_fd: int) -> None:
        """Take a workload certificate."""
        try:
            self._context.contexts.put_key_pair(parse_spiffe_id(keys.identity), keys.chain, key_fd, time.time())
        except WeftError as exc:
            self._report("certificate-refused", f"{keys.identity}: {exc}")
        self._recheck.set()

    def keys_gone(self, gone: KeysGone) -> None:
        """Forget an identity."""
        self._context.contexts.drop_key_pair(parse_spiffe_id(gone.identity))

    def update(self, update: Update, entries: Sequence[ResourceEntry]) -> Applied:
        """Bring changed resources into force."""
        upserts, refused = _decode(entries)
        snapshot, problems = self._builder.apply(upserts, update.removes, update.whole)
        context = self._context
        before = context.snapshot
        context.snapshot = snapshot
        context.generation += 1
        if snapshot.node.trust_domain != before.node.trust_domain:
            context.contexts.own_domain = snapshot.node.trust_domain
        for problem in context.contexts.put_bundles({d: b.roots for d, b in snapshot.bundles.items()}):
            refused.append((problem.source, str(problem)))
        for pod in context.pods.values():
            pod.admissions.clear()
            pod.bind(snapshot.workload(pod.key))
        forget_gone(context.states, _Living(snapshot))
        self._recheck.set()
        return Applied(generation=update.generation, refused=(*refused, *problems))

    def selftest(self, listener: socket.socket) -> None:
        """Answer control's self test on this listener."""
        listener.setblocking(False)
        if self._selftest is not None:
            self._selftest.stop()
        door = SelfTestDoor(self._context)
        self._selftest = Listener(self._context.reactor, listener, door.accepted, self._exhausted)

    async def drain(self, timeout_s: float) -> int:
        """Let what is in flight finish, cut the rest at the deadline."""
        context = self._context
        context.draining = True
        context.reactor.refresh()
        for pod in context.pods.values():
            pod.stop_accepting()
        if self._selftest is not None:
            self._selftest.stop()
        for flow in list(context.flows):
            flow.drain()
        for pod in context.pods.values():
            pod.drop_parked()
        context.reactor.settle()
        with trio.move_on_after(timeout_s):
            while self._carries():  # flows end in callbacks; a look every 50 ms costs less than an event each
                await trio.sleep(DRAIN_POLL_S)
                context.reactor.refresh()
                for flow in list(context.flows):
                    flow.account()  # a tunnel whose last stream has ended closes here
                context.reactor.settle()
        context.reactor.refresh()
        left = list(context.flows)
        for flow in left:
            flow.cut(DrainDeadlineError(f"still open {timeout_s:g} s after the drain began"))
        context.reactor.settle()
        await trio.sleep(DRAIN_POLL_S)
        return len(left)

    def _carries(self) -> bool:
        """Tell whether anything is alive: flows, or what is still being told apart, reached or greeted."""
        context = self._context
        return bool(context.flows) or context.spawned > 0 or any(pod.connections for pod in context.pods.values())

    # -- beside the reactor -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run what is slow or rare, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._context.nursery = nursery
            nursery.start_soon(self._account)
            nursery.start_soon(self._ask_again)

    async def _account(self) -> None:
        """Keep the counters of long connections fresh."""
        while True:
            await trio.sleep(ACCOUNT_INTERVAL_S)
            context = self._context
            context.reactor.refresh()
            for pod in context.pods.values():
                pod.trim()
            for index, flow in enumerate(list(context.flows)):
                flow.account()
                if index % FLOWS_PER_SLICE == FLOWS_PER_SLICE - 1:
                    await trio.lowlevel.checkpoint()

    async def _ask_again(self) -> None:
        """Put everything alive to the present policy and certificates after each change."""
        while True:
            await self._recheck.wait()
            self._recheck = trio.Event()
            context = self._context
            for index, flow in enumerate(list(context.flows)):
                context.reactor.refresh()
                flow.recheck()
                if index % FLOWS_PER_SLICE == FLOWS_PER_SLICE - 1:
                    context.reactor.settle()
                    await trio.lowlevel.checkpoint()
            context.reactor.settle()

    # -- small reports ------------------------------------------------------------------------------------------------

    def _report(self, event: str, detail: str) -> None:
        self._send(Report(level="warning", event=event, detail=detail[:1024]))

    def _exhausted(self) -> None:
        self._context.add("weft_accept_pauses_total", {})

    def _stock_wait(self, role: Role, family: Family) -> None:
        self._context.add("weft_stock_waits_total", {"role": role, "family": str(family)})


class _Living:
    """The endpoints that a snapshot knows, by address and port."""

    __slots__ = ("_snapshot",)

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __contains__(self, key: object) -> bool:
        match key:
            case (str(address), int(port)):
                return self._snapshot.services.endpoint_at(address, port) is not None
            case _:
                return False


def _decode(entries: Sequence[ResourceEntry]) -> tuple[list[Resource], list[tuple[str, str]]]:
    """Decode resources one by one, so that a bad one stands alone."""
    upserts: list[Resource] = []
    refused: list[tuple[str, str]] = []
    for key, _, data in entries:
        try:
            upserts.append(decode_resource(data))
        except ContractError as exc:
            refused.append((key, str(exc)))
    return upserts, refused
