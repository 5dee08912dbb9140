"""Starting the small programs of `weft_lab.container` as children of the daemon.

Theory: a container's first process must be pid 1 of a new pid namespace, and must die with the daemon. unshare(2) of a
pid namespace holds for the calling thread's children, and "parent death" means the death of the starting *thread*. So one
thread that lives as long as the daemon starts all processes, one after the other; it goes back to the daemon's own pid
namespace after each (a thread may unshare only from there).
"""

import os
import queue
import subprocess
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from weft_lab.container import kernel
from weft_lab.container.order import JoinOrder, NodeOrder, PodOrder, write_order
from weft_lab.names import LAB_VARIABLE
from weft_lab.small_program import small_program


@dataclass(frozen=True, slots=True)
class Spawned:
    """A started process; `status` reads end-of-file when the program runs, and a JSON text if it cannot."""

    process: "subprocess.Popen[bytes]"
    status: int


@dataclass(frozen=True, slots=True)
class _Request:
    order: PodOrder | JoinOrder | NodeOrder
    output: int
    future: "Future[Spawned]"


class Spawner:
    """The thread that starts processes."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="spawner", daemon=True).start()

    def spawn(self, order: PodOrder | JoinOrder | NodeOrder, output: int) -> "Future[Spawned]":
        """Start a process.

        Args:
            order: what it is to become.
            output: descriptor for its standard output and error; stays the caller's.

        Returns:
            A future; its exception is an OSError where not even the small program could be started.
        """
        future: Future[Spawned] = Future()
        self._requests.put(_Request(order, output, future))
        return future

    def _run(self) -> None:
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        while True:
            request = self._requests.get()
            try:
                request.future.set_result(self._start(request, own))
            except OSError as exc:
                request.future.set_exception(exc)

    def _start(self, request: _Request, own: int) -> Spawned:
        if not isinstance(request.order, PodOrder):
            return self._popen(request)
        kernel.unshare(kernel.CLONE_NEWPID)
        try:
            return self._popen(request)
        finally:
            kernel.setns(own, kernel.CLONE_NEWPID)

    def _popen(self, request: _Request) -> Spawned:
        module = {PodOrder: "start_pod", JoinOrder: "join_pod", NodeOrder: "start_node"}[type(request.order)]
        order = write_order(request.order)
        read_end, write_end = os.pipe()
        try:
            process = subprocess.Popen(
                small_program(module, str(order), str(write_end)),
                stdin=subprocess.DEVNULL,
                stdout=request.output,
                stderr=request.output,
                pass_fds=(order, write_end),
                start_new_session=True,
                env={"LANG": "C.UTF-8", LAB_VARIABLE: self._lab},
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(order)
            os.close(write_end)
        return Spawned(process, read_end)
