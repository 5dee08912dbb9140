"""One worker process as control sees it: started or adopted, its channel, its counters, its pipes, its death.

Theory: a worker is known by a pidfd, which tells of its death whether or not it is our child (adopted ones are the
keeper's), and which can be signalled without the risk of meeting a reused process id. What comes over the channel is judged
as if it came from an enemy: it may be one.
"""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final, Literal

import trio

from weft_agent.channel import ChannelError, Link, LinkProtocolError, Pump, Received
from weft_agent.channel.messages import (
    Adopt,
    AdoptEnd,
    Applied,
    AskGate,
    Drain,
    Drained,
    FromWorker,
    Keys,
    KeysGone,
    NeedStock,
    PodGone,
    PodLeaving,
    PodListeners,
    Ready,
    Report,
    SelfTest,
    SeriesMade,
    Stock,
)
from weft_agent.control.desired import Certificate, Desired, Entries, PodSockets, difference
from weft_agent.telemetry.log import Field, Log
from weft_agent.telemetry.pages import WorkerPage

State = Literal["starting", "loading", "serving", "draining", "gone"]

GOODBYE_S: Final = 2.0
"""A worker that closed its channel is given so long to end by itself; an aborting interpreter needs a moment."""

REPORTS_PER_S: Final = 5.0
REPORTS_BURST: Final = 50.0

Asks = Callable[["WorkerProcess", NeedStock | AskGate], None]


class WorkerProcess:
    """A running worker.

    Args:
        slot: its number.
        pid: of the process.
        pidfd: owned from now on.
        link: the channel; owned from now on.
        page: its counters.
        log: told of what it reports.
        asks: told of its requests for sockets and of pods that ask at their gate.
    """

    def __init__(
        self,
        slot: int,
        pid: int,
        pidfd: int,
        link: Link[FromWorker],
        page: WorkerPage,
        log: Log,
        asks: Asks,
    ) -> None:
        self.slot = slot
        self.pid = pid
        self.page = page
        self.state: State = "starting"
        self.applied_generation = 0
        self.refused: dict[str, str] = {}
        """Reason by key of what the worker was told and keeps in its last good version, until it is told anew."""
        self.started_s = trio.current_time()
        self.ready_s = 0.0
        """Seconds from start to the first configuration applied; 0.0 until then and for adopted workers."""
        self._adopted = False
        self.cut = 0
        self.told: Callable[[int, tuple[tuple[str, str], ...]], None] = lambda generation, refused: None
        """Told of each generation the worker has in force, with what it refused of it."""
        self._pidfd = pidfd
        self._pump = Pump(link, self._handle)
        self._log = log
        self._asks = asks
        self._reports = 0.0
        self._reported_s = 0.0
        self._told: Entries | None = None
        self._told_generation = 0
        self._asked: dict[int, frozenset[str]] = {}
        """Keys that a generation changed, until the worker answers for it."""
        self._pods: set[str] = set()
        self._leaving: set[str] = set()
        self._identities: dict[str, str] = {}
        self.selftest: tuple[str, int] | None = None
        """Address of its self-test listener."""

    def __repr__(self) -> str:
        """Give slot and process id, for messages."""
        return f"worker {self.slot} (pid {self.pid})"

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the channel until the process is dead and buried."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_channel)
            await trio.lowlevel.wait_readable(self._pidfd)
            nursery.cancel_scope.cancel()
        self.state = "gone"
        self._bury()

    async def _serve_channel(self) -> None:
        try:
            await self._pump.run()
        except ChannelError as exc:
            if isinstance(exc, LinkProtocolError):
                self._log.error("worker-channel", worker=self.slot, pid=self.pid, error=str(exc))
                self.kill()
        with trio.move_on_after(GOODBYE_S):
            await trio.sleep_forever()
        self.kill()

    def kill(self) -> None:
        """End the process now."""
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _bury(self) -> None:
        status = "unknown, it was the keeper's child"
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            status = "unknown" if result is None else f"{result.si_status}"
        except ChildProcessError:
            pass
        os.close(self._pidfd)
        self._log.info("worker-ended", worker=self.slot, pid=self.pid, status=status)

    # -- telling --------------------------------------------------------------------------------------------------

    def tell(self, desired: Desired) -> None:
        """Bring the worker to the desired state; says only what it does not know yet."""
        for identity, certificate in desired.certificates.items():
            self._tell_certificate(identity, certificate)
        for identity in self._identities.keys() - desired.certificates.keys():
            del self._identities[identity]
            self._pump.send(KeysGone(identity=identity))
        if desired.entries is not None:
            self._tell_resources(desired.entries, desired.generation)
        for uid, pod in desired.pods.items():
            self._tell_pod(uid, pod)
        for uid in self._pods - desired.pods.keys():
            self._pods.remove(uid)
            self._leaving.discard(uid)
            self._pump.send(PodGone(uid=uid))
        for uid in (desired.leaving & self._pods) - self._leaving:
            self._leaving.add(uid)
            self._pump.send(PodLeaving(uid=uid))

    def assume(self, pods: Sequence[str]) -> None:
        """Note which pods an adopted worker serves already."""
        self._pods.update(pods)
        self._adopted = True
        self.state = "loading"

    def _tell_certificate(self, identity: str, certificate: Certificate) -> None:
        if self._identities.get(identity) != certificate.digest:
            self._identities[identity] = certificate.digest
            keys = Keys(identity=identity, chain=certificate.chain, not_after_unix_s=certificate.not_after_unix_s)
            self._pump.send(keys, (certificate.key_fd,))

    def _tell_resources(self, entries: Entries, generation: int) -> None:
        if generation == self._told_generation:
            return
        update, content_fd, keys = difference(self._told, entries, generation)
        self._asked[generation] = keys
        self._told_generation = generation
        self._told = entries
        if self.state == "serving":
            self.state = "loading"
        try:
            self._pump.send(update, () if content_fd is None else (content_fd,))
        finally:
            if content_fd is not None:
                os.close(content_fd)

    def _tell_pod(self, uid: str, pod: PodSockets) -> None:
        if uid not in self._pods:
            self._pods.add(uid)
            self._pump.send(pod.listeners, [sock.fileno() for sock in pod.sockets])

    def give_stock(self, stock: Stock, sockets: Sequence[socket.socket]) -> None:
        """Hand over prepared sockets; they stay the caller's to close."""
        self._pump.send(stock, [sock.fileno() for sock in sockets])

    def give_selftest(self, listener: socket.socket) -> None:
        """Hand over the listener that proves the data path; it stays the caller's to close."""
        host, port = listener.getsockname()[:2]
        self.selftest = (host, port)
        self._pump.send(SelfTest(), (listener.fileno(),))

    def drain(self, timeout_s: float) -> None:
        """Let the worker finish what is in flight and end."""
        self.state = "draining"
        self._pump.send(Drain(timeout_s=timeout_s))

    def send(self, message: object, fds: Sequence[int] = ()) -> None:
        """Send any other message."""
        self._pump.send(message, fds)

    # -- hearing --------------------------------------------------------------------------------------------------

    def _handle(self, received: Received[FromWorker]) -> None:
        for fd in received.fds:  # a worker has nothing to hand over once it is adopted
            os.close(fd)
        match received.message:
            case Ready():
                self._set_state("loading")
            case Applied(generation=generation, refused=refused):
                self._applied(generation, refused)
            case NeedStock() | AskGate() as question:
                self._asks(self, question)
            case SeriesMade(series=series):
                self.page.add(series)
            case Report() as report:
                self.report(report)
            case Drained(cut=cut):
                self.cut = cut
            case Adopt() | PodListeners() | AdoptEnd():
                raise LinkProtocolError("adoption message from a worker that is ours already")

    def report(self, report: Report) -> None:
        """Log what the worker tells; one that tells without end is heard now and then only."""
        now = trio.current_time()
        self._reports = max(0.0, self._reports - (now - self._reported_s) * REPORTS_PER_S)
        self._reported_s = now
        if self._reports < REPORTS_BURST:
            self._reports += 1.0
            fields: dict[str, Field] = {"worker": self.slot, "pid": self.pid, "detail": report.detail}
            self._log.write(report.level, report.event, fields)

    def _applied(self, generation: int, refused: tuple[tuple[str, str], ...]) -> None:
        self.applied_generation = generation
        for key in self._asked.pop(generation, ()):
            self.refused.pop(key, None)
        for key, reason in refused:
            if self.refused.get(key) != reason:
                self._log.error("resource-refused", worker=self.slot, key=key, reason=reason)
            self.refused[key] = reason
        self.told(generation, refused)
        if not self.ready_s and not self._adopted:
            self.ready_s = trio.current_time() - self.started_s
        self._set_state("serving")

    def _set_state(self, state: State) -> None:
        if self.state != "draining":
            self.state = state
