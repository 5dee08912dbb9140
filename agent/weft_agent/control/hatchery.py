"""Worker processes before they are workers: started, everything imported, walls raised, waiting for their first message.

Theory: starting a worker costs a quarter of a second of CPU for imports alone (measured 0.36 s from death to service on an
idle machine, 0.5 to 1.6 s on a busy one, and workers die when machines are busy). So one spare is kept warm: a replacement
then only takes its first message and the configuration. What a worker needs to know of its slot comes in that message, hence
any process can fill any slot. The spare costs about 20 MiB. It is made with a delay, so that it never competes with the
workers of a node that is just starting.
"""

import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from weft_agent.channel import Link
from weft_agent.channel.messages import FromWorker, Report, from_worker_decoder
from weft_agent.control.state_directory import StateDirectory
from weft_agent.control.worker_output import pipe
from weft_agent.keeper.launch import spawn
from weft_agent.telemetry.log import Log

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
SPARE_DELAY_S: Final = 2.0
FIRST_DESCRIPTOR: Final = 4
"""Below are the numbers that descriptors get in the new process."""


@dataclass(slots=True)
class Hatchling:
    """A process that waits for its first message."""

    pid: int
    pidfd: int
    link: Link[FromWorker]
    errors_read: int
    """Read end of its standard error."""

    def discard(self) -> None:
        """End it; it holds nothing yet."""
        self.link.close()
        os.close(self.errors_read)
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.pidfd)


class Hatchery:
    """Starts processes and keeps one warm.

    Args:
        argv: command line of a worker without `--channel` and what follows it.
        state: where workers find their root and the adoption socket.
        log: told of spares that die.
    """

    def __init__(self, argv: Sequence[str], state: StateDirectory, log: Log) -> None:
        self._argv = argv
        self._state = state
        self._log = log
        self._spare: Hatchling | None = None
        self._taken = trio.Event()

    def take(self) -> Hatchling:
        """Return a process: the spare if there is one, else a new one.

        Raises:
            OSError: none can be started.
        """
        spare, self._spare = self._spare, None
        if spare is None:
            return self._start()
        self._taken.set()
        return spare

    async def run(self) -> None:
        """Keep a spare until cancelled."""
        try:
            while True:
                await trio.sleep(SPARE_DELAY_S)
                if self._spare is None:
                    await self._keep_one()
        finally:
            if self._spare is not None:
                self._spare.discard()
                self._spare = None

    async def _keep_one(self) -> None:
        """Make a spare and watch it until it is taken or dies."""
        try:
            self._spare = spare = self._start()
        except OSError as exc:
            self._log.error("spare-not-started", error=str(exc))
            return
        self._taken = trio.Event()
        watched = os.dup(spare.pidfd)  # whoever takes the spare waits on its pidfd at once
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, spare, watched, nursery.cancel_scope)
                await self._taken.wait()
                nursery.cancel_scope.cancel()
        finally:
            os.close(watched)

    async def _watch(self, spare: Hatchling, pidfd: int, scope: trio.CancelScope) -> None:
        await trio.lowlevel.wait_readable(pidfd)
        if self._spare is spare:
            self._spare = None
            self._tell_last_words(spare)
            spare.discard()
        scope.cancel()

    def _tell_last_words(self, spare: Hatchling) -> None:
        os.set_blocking(spare.errors_read, False)
        try:
            said = os.read(spare.errors_read, 16384).decode("utf-8", "backslashreplace")
        except BlockingIOError:
            said = ""
        received = spare.link.receive() if not said else None
        if received is not None and isinstance(received.message, Report):
            said = received.message.detail
        self._log.error("spare-died", pid=spare.pid, lines=said.splitlines())

    def _start(self) -> Hatchling:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        errors_read, errors_write = pipe(writer_waits=True)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        argv = [*self._argv, "--channel", "3"]
        argv += ["--root", str(self._state.root_directory), "--control", str(self._state.worker_directory)]
        try:
            descriptors = (null, null, errors_write, theirs.fileno())
            if min(descriptors) < FIRST_DESCRIPTOR:
                raise OSError(9, "standard input, output and error of the agent must be open")
            pid = spawn(argv, ENVIRONMENT, descriptors, own_group=True)
        except OSError:
            ours.close()
            os.close(errors_read)
            raise
        finally:
            theirs.close()
            os.close(errors_write)
            os.close(null)
        return Hatchling(pid, os.pidfd_open(pid), Link(ours, from_worker_decoder), errors_read)
