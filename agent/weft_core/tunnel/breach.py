"""What a peer did wrong, as exceptions of this room: one ends the connection, the other a single stream.

They never leave the room by being raised: `TunnelConnection` catches them once per `receive` and hands them to the
handler or to the stream's receiver.
"""

from weft_core.errors import RemoteProtocolError
from weft_core.tunnel.frames import ErrorCode


class ConnectionBreachError(RemoteProtocolError):
    """The peer broke a rule that the whole connection rests on (RFC 9113 §5.4.1).

    Args:
        code: sent in GOAWAY.
        message: what was wrong, with the rule.
        detail: closed-set name of the rule.
    """

    def __init__(self, code: ErrorCode, message: str, detail: str) -> None:
        super().__init__(message, detail=detail)
        self.code = code


class StreamBreachError(RemoteProtocolError):
    """The peer broke a rule on one stream (RFC 9113 §5.4.2); the others live on.

    Args:
        code: sent in RST_STREAM.
        message: what was wrong, with the rule.
        detail: closed-set name of the rule.
    """

    closes_connection = False

    def __init__(self, code: ErrorCode, message: str, detail: str) -> None:
        super().__init__(message, detail=detail)
        self.code = code
