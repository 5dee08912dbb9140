"""The door of a pod's inbound listeners: counts, refuses loops and crowds, and makes each connection a caller with facts."""

import socket
from functools import lru_cache

from weft_agent.proxy.backports import Peer
from weft_agent.proxy.context import Context
from weft_agent.proxy.inbound import Plaintext
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.tunnel_server import serve_tunnel
from weft_agent.reactor import TcpEnd
from weft_contract.ports import CAPTURE_PORTS
from weft_core.errors import CaptureLoopError, ConnectionLimitError, WeftError
from weft_core.facts import ConnectionFacts
from weft_core.policy import probe_connection


class InboundDoor:
    """Takes what a pod's inbound listeners accept.

    Args:
        context: the data plane.
        pod: the pod.
    """

    __slots__ = ("_context", "_pod")

    def __init__(self, context: Context, pod: Pod) -> None:
        self._context = context
        self._pod = pod

    def accepted(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        """Handle one connection; called by the listener."""
        context, pod = self._context, self._pod
        end = TcpEnd(context.reactor, sock, context.limits, downstream=True)
        address, port = sock.getsockname()[:2]
        if port in CAPTURE_PORTS:
            self._reject(end, CaptureLoopError(f"{peer[0]} dialled the capture port {port} of pod {pod.key}"))
            return
        if not context.has_room(pod):
            self._reject(end, ConnectionLimitError(f"pod {pod.key} holds as many connections as it may"))
            return
        pod.connections += 1
        noted = pod.back_ports.note(peer[0], peer[1], port)
        facts = plaintext_facts(peer[0], address, port, self._may_be_probe(peer[0], port))

        def tunnel(end: TcpEnd, first: bytes) -> None:
            self._tunnel(end, first, peer[0], (address, port), noted)

        Plaintext(context, pod, end, facts, noted, tunnel)

    def _tunnel(self, end: TcpEnd, first: bytes, peer: str, address: tuple[str, int], noted: Peer | None) -> None:
        pod, context = self._pod, self._context
        sock, _ = end.detach()
        pod.connections -= 1  # streams count, tunnels do not

        def over() -> None:
            pod.back_ports.release(noted)

        context.spawn(lambda: serve_tunnel(context, pod, sock, first, peer, address, over))

    def _may_be_probe(self, source: str, port: int) -> bool:
        table = self._pod.table
        return table is not None and probe_connection(table.workload, self._context.snapshot.node, source, port)

    def _reject(self, end: TcpEnd, error: WeftError) -> None:
        self._context.failed("inbound", error, self._pod)
        end.abort()


@lru_cache(maxsize=1024)
def plaintext_facts(source_address: str, address: str, port: int, is_probe: bool) -> ConnectionFacts:
    """Return the facts of a plaintext connection, the same object for all of a caller's connections to a port."""
    return ConnectionFacts(
        source=None, source_address=source_address, destination_address=address, destination_port=port, encrypted=False,
        is_probe=is_probe,
    )  # fmt: skip
