"""What protocol a connection speaks, from its first bytes.

Belongs here: telling HTTP/1, HTTP/2 with prior knowledge and TLS (with the names in its ClientHello) from everything else.
Does not belong here: how long to wait for those bytes, what to do with the answer, the protocols themselves.
"""

from weft_core.detect.client_hello import ClientHello
from weft_core.detect.sniffer import Detected, Kind, is_tunnel, sniff

__all__ = ["ClientHello", "Detected", "Kind", "is_tunnel", "sniff"]
