"""An end of which one direction is looked at: one call of HTTP/2 whose head policy judges before the application hears it.

Theory: it stands between the caller's end and whoever relays it, and is an end to the latter. What has to be refused resets
the caller, and the relay hears of a caller that is lost.
"""

import socket

from weft_agent.proxy.context import Context
from weft_agent.proxy.pod import Pod
from weft_agent.reactor import Buffer, End, Receiver
from weft_agent.reactor.ends import SILENCE
from weft_core.decision import Denied
from weft_core.errors import LocalProtocolError, PolicyRevokedError, RemoteProtocolError, WeftError
from weft_core.policy import ConnectionPolicy
from weft_core.tunnel import SingleCall


class Screen:
    """The caller's end, screened.

    Args:
        end: the caller's; its receiver from now on is this.
        policy: judges the head.
        context: counts refusals.
        pod: the pod that is called.
    """

    __slots__ = ("_call", "_context", "_end", "_over", "_pod", "_policy", "receiver")

    def __init__(self, end: End, policy: ConnectionPolicy, context: Context, pod: Pod) -> None:
        self._end = end
        self._policy = policy
        self._context = context
        self._pod = pod
        self._call = SingleCall()
        self._over = False
        self.receiver: Receiver = SILENCE
        end.receiver = self

    # -- from the caller --------------------------------------------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        """Look at bytes and pass on what may go on."""
        if self._over:
            return
        try:
            passing = self._call.feed(bytes(data))
        except RemoteProtocolError as exc:
            self._context.failed("inbound", exc, self._pod)
            self._refuse(exc)
            return
        if passing.before:
            self.receiver.feed(passing.before)
        if passing.head is not None:
            decision = self._policy.single_call(passing.head)
            if isinstance(decision, Denied):
                self._context.refused("inbound", decision, self._pod)
                self._refuse(PolicyRevokedError(decision.message))
            else:
                self.receiver.feed(passing.behind)

    def eof(self) -> None:
        """Pass on the end of the caller's direction."""
        self.receiver.eof()

    def drained(self) -> None:
        """Pass on that the caller takes bytes again."""
        self.receiver.drained()

    def lost(self, error: WeftError | None) -> None:
        """Pass on that the caller is gone."""
        self._over = True
        self.receiver.lost(error)

    def _refuse(self, error: WeftError) -> None:
        self._over = True
        self._end.abort()
        self.receiver.lost(error)

    # -- to the caller ----------------------------------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """Bytes that the caller has not taken yet."""
        return self._end.queued_bytes

    def write(self, data: Buffer) -> bool:
        """Send to the caller."""
        return self._end.write(data)

    def finish(self) -> None:
        """Half-close towards the caller."""
        self._end.finish()

    def pause(self) -> None:
        """Stop hearing the caller."""
        self._end.pause()

    def resume(self) -> None:
        """Hear the caller again."""
        self._end.resume()

    def close(self) -> None:
        """End in order."""
        self._over = True
        self._end.close()

    def abort(self) -> None:
        """End visibly."""
        self._over = True
        self._end.abort()

    def detach(self) -> tuple[socket.socket, bytes]:
        """Refuse: a screened end is not a whole socket."""
        raise LocalProtocolError("a screened connection has no socket to give away")
