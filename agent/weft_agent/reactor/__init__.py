"""The byte engine of a worker: one epoll descriptor, callbacks on slotted objects, no task and no await per message.

Belongs here: the loop, its timers, and the ends that carry bytes (TCP, tunnel). Knows sockets, epoll and trio's door.
Does not belong here: what the bytes mean (protocols are `weft_core`, sessions are `weft_agent.proxy`), policy, config.
"""

from weft_agent.reactor.connect import Connect
from weft_agent.reactor.ends import Buffer, End, Receiver
from weft_agent.reactor.listener import Listener
from weft_agent.reactor.loop import Reactor
from weft_agent.reactor.tcp import TcpEnd
from weft_agent.reactor.timers import OUTSIDE, Deadline, Timer

__all__ = ["OUTSIDE", "Buffer", "Connect", "Deadline", "End", "Listener", "Reactor", "Receiver", "TcpEnd", "Timer"]
