"""The seam between a worker process and its data plane: who calls what, and who owns which descriptor.

Theory: the worker owns the process (sandbox, channel, adoption), the data plane owns the connections. All calls but `drain`
and `run` come from the channel's task, are short and never wait; what they cause is done in the reactor or in tasks of `run`.
Order of calls: `hello` first; `keys` and `update` before the pods they matter for, as far as control can arrange it.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from weft_agent.channel.messages import (
    Applied,
    AskGate,
    GateWord,
    Hello,
    Keys,
    KeysGone,
    NeedStock,
    PodGone,
    PodLeaving,
    PodListeners,
    Report,
    Stock,
    Update,
)
from weft_agent.reactor import Reactor
from weft_agent.telemetry.access_log import AccessLog
from weft_agent.telemetry.series import SeriesTable
from weft_agent.worker.buckets import Buckets

Send = Callable[[NeedStock | AskGate | Report], None]
"""Sends a message to control; never waits, and is harmless while control is away."""

ResourceEntry = tuple[str, str, bytes]
"""Key, hash and canonical JSON of one resource."""


class DataPlane(Protocol):
    """What holds the connections."""

    def hello(self, hello: Hello) -> None:
        """Take slot, number of workers and limits."""

    def adopted(self) -> None:
        """Note that another control took over: sockets asked for earlier never come, ask anew."""

    def pod(self, pod: PodListeners, sockets: Sequence[socket.socket]) -> None:
        """Accept on a pod's listeners, in the order of `pod.listeners`; they are the data plane's until `pod_gone`."""

    def pod_leaving(self, leaving: PodLeaving) -> None:
        """Close what rests of a pod's connections; those in use end behind what is in progress, opaque ones by themselves."""

    def pod_gone(self, gone: PodGone) -> None:
        """Close a pod's listeners and unused sockets; its connections end by themselves."""

    def stock(self, stock: Stock, sockets: Sequence[socket.socket]) -> None:
        """Take in prepared sockets."""

    def gate(self, word: GateWord) -> None:
        """Answer everybody who asked at a pod's gate."""

    def keys(self, keys: Keys, key_fd: int) -> None:
        """Take a workload certificate; its private key is the PEM in `key_fd`, which the data plane closes.

        OpenSSL loads it from `<fd_directory>/<key_fd>`.
        """

    def keys_gone(self, gone: KeysGone) -> None:
        """Forget an identity; live tunnels go on."""

    def update(self, update: Update, entries: Sequence[ResourceEntry]) -> Applied:
        """Bring changed resources into force and say which were refused."""

    def selftest(self, listener: socket.socket) -> None:
        """Answer `GET /healthz/worker` on this listener with 200 through the ordinary path; owned from now on."""

    async def drain(self, timeout_s: float) -> int:
        """Stop accepting, let what is in flight finish, cut the rest at the deadline; return how many were cut."""

    async def run(self) -> None:
        """Do what is slow or rare, until cancelled; the worker runs the reactor itself."""


class DataPlaneFactory(Protocol):
    """How a worker gets its data plane: the class itself."""

    def __call__(
        self,
        reactor: Reactor,
        series: SeriesTable,
        access_log: AccessLog,
        send: Send,
        *,
        buckets: Buckets,
        fd_directory: str,
    ) -> DataPlane:
        """Make it.

        Args:
            reactor: the worker's loop, not running yet.
            series: where metric cells come from.
            access_log: where records go.
            send: the way to control.
            buckets: rate-limit buckets shared by the node's workers.
            fd_directory: where this process's descriptors have file names.
        """
