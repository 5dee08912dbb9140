"""Mutual TLS between agents: contexts, the engine without a socket, the handshake, and the files that identities come from.

Belongs here: everything that touches `ssl`, and the rule that no session is used before our own verifier has spoken.
Does not belong here: that rule's content (`weft_core.identity`), sockets and epoll (the reactor's), watching directories and
handing keys to workers (control's), applications' own TLS, which passes through as it is.
"""

from weft_agent.tls.anchors import Anchors, read_anchors
from weft_agent.tls.contexts import FD_DIRECTORY, TUNNEL_ALPN, TlsContext, TlsContexts, hardened_context
from weft_agent.tls.engine import TlsEngine
from weft_agent.tls.handshake import HandshakeGate, Wire, handshake
from weft_agent.tls.identity_files import IdentityDirectory, KeyPair, load_directory

__all__ = [
    "FD_DIRECTORY",
    "TUNNEL_ALPN",
    "Anchors",
    "HandshakeGate",
    "IdentityDirectory",
    "KeyPair",
    "TlsContext",
    "TlsContexts",
    "TlsEngine",
    "Wire",
    "handshake",
    "hardened_context",
    "load_directory",
    "read_anchors",
]
