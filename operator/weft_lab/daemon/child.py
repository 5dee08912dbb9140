"""One child process of the daemon, watched by the loop: running, unable to run, ended."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import Future

from weft_lab.container.join_pod import started_ticks
from weft_lab.container.order import JoinOrder, NodeOrder, PodOrder
from weft_lab.daemon.loop import Loop
from weft_lab.daemon.spawner import Spawned, Spawner
from weft_lab.plan.container_life import Ended


class Child:
    """A process from its order to its end; callbacks come on the loop's thread, `on_end` last and exactly once."""

    def __init__(self, loop: Loop, on_running: Callable[[], None], on_end: Callable[[Ended], None]) -> None:
        self._loop = loop
        self._on_running = on_running
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._status: int | None = None
        self._pidfd = -1
        self._failure = ""
        self.started_ticks = 0

    @property
    def pid(self) -> int:
        """Process id while it runs, else 0."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    def start(self, spawner: Spawner, order: PodOrder | JoinOrder | NodeOrder, output: int) -> None:
        """Start it; `output` is closed once it has been handed on."""

        def spawned(future: "Future[Spawned]") -> None:
            os.close(output)
            self._loop.call(lambda: self._spawned(future))

        spawner.spawn(order, output).add_done_callback(spawned)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where there is no process."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def _spawned(self, future: "Future[Spawned]") -> None:
        error = future.exception()
        if error is not None:
            self._on_end(Ended(128, 0, "StartError", str(error), self._loop.now))
            return
        spawned = future.result()
        self._process, self._status = spawned.process, spawned.status
        self.started_ticks = started_ticks(spawned.process.pid)
        self._pidfd = os.pidfd_open(spawned.process.pid)
        self._loop.watch(spawned.status, self._read_status)
        self._loop.watch(self._pidfd, self._ended)

    def _read_status(self) -> None:
        if self._status is None:
            return
        text = os.read(self._status, 64 * 1024)
        self._loop.unwatch(self._status)
        os.close(self._status)
        self._status = None
        if text:
            self._failure = json.loads(text)
        else:
            self._on_running()

    def _ended(self) -> None:
        self._read_status()
        self._loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        if self._process is None:
            return
        code = self._process.wait()
        self._on_end(self._end(code))

    def _end(self, code: int) -> Ended:
        if self._failure:
            return Ended(128, 0, "StartError", self._failure, self._loop.now)
        if code < 0:
            return Ended(128 - code, -code, "Error", "", self._loop.now)
        return Ended(code, 0, "Completed" if code == 0 else "Error", "", self._loop.now)
