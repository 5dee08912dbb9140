"""HTTP/1.1 sessions: one caller's connection on one side, one upstream connection per exchange on the other.

Belongs here: the life of an exchange, framing both ways, keep-alive, pipelining, upgrades, early and late responses,
timeouts, retries that are safe. Bytes are judged by `weft_core.http1`, who may pass and where to go is a `Planner`'s
business (`weft_agent.proxy.inbound`, `.outbound`).
Does not belong here: policy, routes, sockets.
"""

from weft_agent.proxy.http1.planner import Planner
from weft_agent.proxy.http1.session import Session
from weft_agent.proxy.http1.upstream import Upstream

__all__ = ["Planner", "Session", "Upstream"]
