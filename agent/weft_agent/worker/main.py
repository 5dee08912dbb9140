"""A worker from exec to exit: sandbox, first message, data plane, channel, and a second life under another control.

Theory: control speaks first (`Hello`), the worker answers `Ready`, and from then on both speak as they need. When the
channel breaks, control is dead or being replaced: the data plane goes on with what it holds, and the worker knocks at the
adoption socket until the next control answers or its patience ends. Then it shows the node's token, hands over what control
needs to go on (counters, buckets, listeners, the meaning of its series), and is a worker like any other.
"""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never, cast

import msgspec
import trio

from weft_agent.channel import ChannelError, Link, LinkClosedError, LinkProtocolError, Pump, Received, memfd
from weft_agent.channel.layout import ADOPTION_SOCKET
from weft_agent.channel.messages import (
    Adopt,
    Adopted,
    AdoptEnd,
    Drain,
    Drained,
    FromWorker,
    GateWord,
    Hello,
    Keys,
    KeysGone,
    PodGone,
    PodLeaving,
    PodListeners,
    Ready,
    Report,
    SelfTest,
    Stock,
    ToWorker,
    Update,
    UpdateContent,
    to_worker_decoder,
)
from weft_agent.reactor import Reactor
from weft_agent.telemetry.access_log import AccessLog
from weft_agent.telemetry.counters import CounterPage
from weft_agent.telemetry.series import SeriesTable
from weft_agent.worker import sandbox
from weft_agent.worker.buckets import Buckets
from weft_agent.worker.dataplane import DataPlane, DataPlaneFactory
from weft_agent.worker.faults import Faults, fault_report
from weft_contract.limits import DEFAULT_LIMITS, Limits

KNOCK_INTERVAL_S: Final = 0.05
PATIENCE_S: Final = 60.0
"""An orphan that nobody adopts in this time drains and ends; the keeper needs at most 5 s to start a control."""
ANNOUNCE_INTERVAL_S: Final = 1.0

_PR_SET_NAME: Final = 15

EXIT_DRAINED: Final = 0
EXIT_FAULT: Final = 70
EXIT_SANDBOX: Final = 71

_content_decoder: Final = msgspec.msgpack.Decoder(cast("type[UpdateContent]", UpdateContent))


@dataclass(frozen=True, slots=True)
class Boot:
    """What control says on the command line."""

    channel_fd: int
    mount_point: str
    control_directory: str


def parse(argv: Sequence[str]) -> Boot:
    """Read `--channel FD --root DIRECTORY --control DIRECTORY`, as control writes it."""
    given = dict(zip(argv[::2], argv[1::2], strict=True))
    return Boot(int(given["--channel"]), given["--root"], given["--control"])


def be_worker(argv: Sequence[str], make_plane: DataPlaneFactory) -> int:
    """Be a worker; everything it will ever need is imported by now.

    Returns:
        The exit status: 0 after a drain or without a first message, 70 for a bug of ours, 71 without a sandbox.
    """
    boot = parse(argv)
    channel = socket.socket(fileno=boot.channel_fd)
    link = Link(channel, to_worker_decoder)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's signals are meant for the keeper
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"weft-worker", 0, 0, 0)
    plan = sandbox.Plan(
        keep_fds=(0, 1, 2, boot.channel_fd),
        mount_point=boot.mount_point,
        control_directory=boot.control_directory,
    )
    try:
        walls = sandbox.enter(plan)
    except sandbox.SandboxError as exc:
        link.send(Report(level="error", event="worker-sandbox", detail=str(exc)))
        return EXIT_SANDBOX
    worker = Worker(link, walls, make_plane)
    try:
        trio.run(worker.run)
    except BaseException as exc:  # the process's last words; it ends either way
        worker.last_words(exc)
        return EXIT_FAULT
    return EXIT_DRAINED


class Worker:
    """The process's state.

    Args:
        link: the channel to control.
        walls: how the sandbox turned out.
        make_plane: makes the data plane.
    """

    def __init__(self, link: Link[ToWorker], walls: sandbox.Walls, make_plane: DataPlaneFactory) -> None:
        self._link = link
        self._pump: Pump[ToWorker] | None = Pump(link, self._handle)
        self._walls = walls
        self._make_plane = make_plane
        self._pods: dict[str, tuple[PodListeners, tuple[socket.socket, ...]]] = {}
        self._generation = 0
        self._nursery: trio.Nursery | None = None
        self._draining = False

    # -- start ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until drained."""
        first = await self._first_message()
        if first is None:
            return
        hello, fds = first
        counters, buckets, log_pipe, *self._rescue_fds = fds
        self._hello = hello
        limits = limits_of(hello)
        self._counters_fd = counters
        self._series = SeriesTable(CounterPage(counters), limits.metric_series, self.send)
        internal_errors = self._series.counter("weft_internal_errors_total")
        dropped = self._series.counter("weft_access_log_dropped_total")
        self._faults = Faults(self.send, lambda: self._count(internal_errors, 1))
        self._access_log = AccessLog(limits.access_log_queue, hello.log_format, lambda n: self._count(dropped, n))
        self._access_log.attach(log_pipe)
        self._buckets = Buckets(buckets, alone=hello.workers == 1)
        reactor = Reactor(int(limits.read_buffer_bytes), self._faults)
        self._plane: DataPlane = self._make_plane(
            reactor,
            self._series,
            self._access_log,
            self.send,
            buckets=self._buckets,
            fd_directory=self._walls.fd_directory,
        )
        self._plane.hello(hello)
        self.send(Ready(pid=os.getpid()))
        for warning in self._walls.warnings:
            self.send(Report(level="warning", event="worker-sandbox", detail=warning))
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for task in (reactor.run, self._plane.run, self._access_log.run, self._announce, self._obey_sigterm):
                nursery.start_soon(task)
            nursery.start_soon(self._serve_control)
        self._access_log.flush()

    async def _first_message(self) -> tuple[Hello, tuple[int, ...]] | None:
        """Return `Hello` and its descriptors; None: control ended before it had use for this process."""
        try:
            while (received := self._link.receive()) is None:
                await trio.lowlevel.wait_readable(self._link.sock)
        except LinkClosedError:
            return None
        if not isinstance(received.message, Hello) or len(received.fds) < 3:
            raise LinkProtocolError(f"the first message must be Hello with descriptors, not {received.message!r:.60}")
        return received.message, received.fds

    def _count(self, index: int, amount: int) -> None:
        self._series.cells[index] += amount

    # -- channel --------------------------------------------------------------------------------------------------

    def send(self, message: FromWorker, fds: Sequence[int] = ()) -> None:
        """Send to control, if there is one; what is lost in between is told again at adoption."""
        if self._pump is not None:
            self._pump.send(message, fds)

    async def _serve_control(self) -> None:
        while self._pump is not None:
            try:
                await self._pump.run()
            except ChannelError:
                self._pump = None
            if not self._draining:
                await self._be_adopted()

    def _handle(self, received: Received[ToWorker]) -> None:
        try:
            self._dispatch(received.message, received.fds)
        except Exception as exc:  # a bug in the data plane's handling of one message must not end its connections
            self._faults(exc)
        self._series.flush()

    def _dispatch(self, message: ToWorker, fds: tuple[int, ...]) -> None:
        match message:
            case Update():
                entries, removes = _content(fds)
                applied = self._plane.update(msgspec.structs.replace(message, removes=tuple(removes)), entries)
                self._generation = applied.generation
                self.send(applied)
            case Keys():
                self._plane.keys(message, fds[0])
            case KeysGone():
                self._plane.keys_gone(message)
            case PodListeners():
                sockets = _sockets(fds)
                self._pods[message.uid] = (message, sockets)
                self._plane.pod(message, sockets)
            case PodLeaving():
                self._plane.pod_leaving(message)
            case PodGone():
                self._pods.pop(message.uid, None)
                self._plane.pod_gone(message)
            case Stock():
                self._plane.stock(message, _sockets(fds))
            case GateWord():
                self._plane.gate(message)
            case SelfTest():
                self._plane.selftest(_sockets(fds)[0])
            case Drain():
                self._start_drain(message.timeout_s)
            case Adopted():
                self._take_in(message, fds)
            case Hello():
                raise LinkProtocolError("a second Hello")
            case _:
                assert_never(message)

    async def _announce(self) -> None:
        """Tell control of series that the hot path made."""
        while True:
            await trio.sleep(ANNOUNCE_INTERVAL_S)
            self._series.flush()

    # -- adoption -------------------------------------------------------------------------------------------------

    async def _be_adopted(self) -> None:
        """Find another control; a worker that finds none drains."""
        with trio.move_on_after(PATIENCE_S):
            while self._rescue_fds:
                await trio.sleep(KNOCK_INTERVAL_S)  # first of all: a control that just dies may still seem to listen
                link = self._knock()
                if link is not None:
                    self._introduce(link)
                    return
        self._start_drain(limits_of(self._hello).drain_timeout_s)

    def _knock(self) -> Link[ToWorker] | None:
        rescue = socket.socket(fileno=self._rescue_fds[-1])
        rescue.setblocking(False)
        try:
            rescue.connect(f"{self._walls.control_directory}/{ADOPTION_SOCKET}")
        except OSError:
            rescue.detach()  # nobody is there yet; a socket whose connect was refused may try again
            return None
        self._rescue_fds.pop()
        if _is_root(rescue):
            return Link(rescue, to_worker_decoder)
        rescue.close()
        return None

    def _introduce(self, link: Link[ToWorker]) -> None:
        self._link = link
        self._pump = Pump(link, self._handle)
        adopt = Adopt(worker=self._hello.worker, token=self._hello.token, generation=self._generation)
        self.send(adopt, (self._counters_fd, self._buckets.fd))
        for pod, sockets in self._pods.values():
            held = [(kind, s.fileno()) for kind, s in zip(pod.listeners, sockets, strict=True) if s.fileno() >= 0]
            if held:
                still_open = msgspec.structs.replace(pod, listeners=tuple(kind for kind, _ in held))
                self.send(still_open, [fd for _, fd in held])
        self._series.announce_all()
        self.send(AdoptEnd())

    def _take_in(self, adopted: Adopted, fds: tuple[int, ...]) -> None:
        log_pipe, errors, *rescue_fds = fds
        for left in self._rescue_fds:
            os.close(left)
        self._rescue_fds = rescue_fds
        self._access_log.attach(log_pipe)
        os.dup2(errors, 2)
        os.close(errors)
        self._buckets.alone = adopted.workers == 1
        self._plane.adopted()

    # -- end ------------------------------------------------------------------------------------------------------

    async def _obey_sigterm(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                self._start_drain(limits_of(self._hello).drain_timeout_s)

    def _start_drain(self, timeout_s: float) -> None:
        if not self._draining and self._nursery is not None:
            self._draining = True
            self._nursery.start_soon(self._drain, timeout_s)

    async def _drain(self, timeout_s: float) -> None:
        cut = await self._plane.drain(timeout_s)
        self._access_log.flush()
        self._series.flush()
        self.send(Drained(cut=cut))
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def last_words(self, error: BaseException) -> None:
        """Tell control why the process ends, as far as the channel takes it."""
        self.send(fault_report(error, "worker ends"))


def limits_of(hello: Hello) -> Limits:
    """Return the limits that are in force: the defaults and control's overrides."""
    known = {
        name: type(getattr(DEFAULT_LIMITS, name))(value)  # whole numbers come over the channel as floats
        for name, value in hello.limits.items()
        if name in Limits.__dataclass_fields__
    }
    return replace(DEFAULT_LIMITS, **known)


def _sockets(fds: Sequence[int]) -> tuple[socket.socket, ...]:
    sockets = tuple(socket.socket(fileno=fd) for fd in fds)
    for sock in sockets:
        sock.setblocking(False)
    return sockets


def _content(fds: Sequence[int]) -> UpdateContent:
    """Read and close the memory that comes with an update; without one nothing changes but the generation."""
    if not fds:
        return [], []
    with os.fdopen(fds[0], "rb"):
        return _content_decoder.decode(memfd.content(fds[0]))


def _is_root(peer: socket.socket) -> bool:
    """Tell whether the process that listens at the adoption socket is root: nobody else may be given listeners."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder) == 0
