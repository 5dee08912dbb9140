"""The wire between control and its workers: typed messages with descriptors over one SOCK_SEQPACKET pair per worker.

Belongs here: the messages, the non-blocking link that carries them, the trio pump on top, and sealed memory for what is
larger than a message. Does not belong here: what either end does with a message.
"""

from weft_agent.channel.link import ChannelError, Link, LinkClosedError, LinkOverrunError, LinkProtocolError, Received
from weft_agent.channel.pump import Pump

__all__ = ["ChannelError", "Link", "LinkClosedError", "LinkOverrunError", "LinkProtocolError", "Pump", "Received"]
