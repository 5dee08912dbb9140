"""The tunnel between two agents, sans-io: HTTP/2 framing, stateless HPACK, streams with real back-pressure, budgets.

Belongs here: everything that turns bytes into streams and streams into bytes, for CONNECT and for ordinary requests.
Does not belong here: TLS and sockets (`weft_agent`), the choice of a tunnel or an endpoint, any look at what headers mean.
Both sides advertise SETTINGS_HEADER_TABLE_SIZE=0, so header blocks may be forwarded as they came. HTTP/2 with applications
has its own engine, because they may use a dynamic table.
"""

from weft_core.tunnel.breach import ConnectionBreachError, StreamBreachError
from weft_core.tunnel.connection import TunnelConnection
from weft_core.tunnel.frames import ErrorCode
from weft_core.tunnel.seams import Buffer, HeadReceiver, Receiver, TunnelHandler
from weft_core.tunnel.single_call import Passing, SingleCall
from weft_core.tunnel.stream import TunnelStream

__all__ = [
    "Buffer",
    "ConnectionBreachError",
    "ErrorCode",
    "HeadReceiver",
    "Passing",
    "Receiver",
    "SingleCall",
    "StreamBreachError",
    "TunnelConnection",
    "TunnelHandler",
    "TunnelStream",
]
