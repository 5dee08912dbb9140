"""An opaque connection once both ends stand: relayed, counted while it lives, asked again when policy changes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from weft_agent.proxy.context import Context, Direction
from weft_agent.proxy.meter import Party, TcpMeter
from weft_agent.proxy.pod import Pod
from weft_agent.proxy.relay import Relay
from weft_agent.reactor import End
from weft_core.decision import Denied, Permit
from weft_core.errors import PolicyRevokedError, WeftError


@dataclass(frozen=True, slots=True)
class View:
    """One pod of this node that the connection belongs to: same-node connections have two."""

    direction: Direction
    pod: Pod
    meter: TcpMeter


Check = Callable[[], Denied | None]
"""Asks the present policy whether the connection may live on."""


class OpaqueFlow:
    """A relay with a name.

    Args:
        permit: what let it pass.
        context: the data plane.
        views: the pods of this node that it belongs to; the last one's policy is what `check` asks.
        parties: source and destination, for the log.
        addresses: source address, original destination and upstream, for the log.
        downstream: the caller's end.
        upstream: the destination's end.
        check: asks policy again; None on the caller's side, where nothing is authorised.
        ended: told when it is over.
    """

    __slots__ = (
        "_addresses", "_check", "_context", "_counted_received", "_counted_sent", "_ended", "_parties", "_permit", "_relay",
        "_started", "_views",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - a flow is what these facts make it; they are told once, by name
        self,
        permit: Permit,
        *,
        context: Context,
        views: tuple[View, ...],
        parties: tuple[Party, Party],
        addresses: tuple[str, str, str],
        downstream: End,
        upstream: End,
        check: Check | None,
        ended: Callable[[], None],
    ) -> None:
        self._permit = permit
        self._context = context
        self._views = views
        self._parties = parties
        self._addresses = addresses
        self._check = check
        self._ended = ended
        self._started = context.reactor.now
        self._counted_received = self._counted_sent = 0
        self._relay = Relay(context.reactor, downstream, upstream, context.limits, self._over)
        for view in views:
            view.meter.opened()
        context.flows.add(self)

    @property
    def relay(self) -> Relay:
        """The relay, to be given bytes that were read before it existed."""
        return self._relay

    def account(self) -> None:
        """Tell the counters what moved."""
        received, sent = self._relay.bytes_received, self._relay.bytes_sent
        for view in self._views:
            view.meter.moved(received - self._counted_received, sent - self._counted_sent)
        self._counted_received, self._counted_sent = received, sent

    def recheck(self) -> None:
        """Cut the connection if the present policy would not let it begin."""
        denied = self._check() if self._check is not None else None
        if denied is not None:
            self._context.refused(self._views[-1].direction, denied, self._views[-1].pod)
            self._relay.cut(PolicyRevokedError(denied.message))

    def drain(self) -> None:
        """Let it live: only its own ends know when an opaque connection is done."""

    def cut(self, error: WeftError) -> None:
        """End it visibly."""
        self._relay.cut(error)

    def _over(self, relay: Relay, error: WeftError | None) -> None:
        context = self._context
        context.flows.discard(self)
        self.account()
        flags = error.flag or "-" if error is not None else "-"
        for view in self._views:
            view.meter.closed(flags)
            if context.logs(failed=error is not None):
                self._log(view, relay, flags, error)
        self._ended()

    def _log(self, view: View, relay: Relay, flags: str, error: WeftError | None) -> None:
        source, destination = self._parties
        seconds = self._context.reactor.now - self._started
        self._context.access_log.record((
            time.time() - seconds, view.direction, source.principal, f"{source.namespace}/{source.workload}",
            self._addresses[0], destination.principal, f"{destination.namespace}/{destination.workload}",
            self._addresses[1], b"", b"", b"", 0, flags, error.reason if error is not None else "",
            self._permit.policy, self._permit.rule, relay.bytes_received, relay.bytes_sent, seconds, "tcp", b"", "",
            self._addresses[2],
        ))  # fmt: skip
