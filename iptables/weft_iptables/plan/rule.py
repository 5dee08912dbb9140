"""Rules as values: what is matched, what is done with it, and why, in no tool's language.

Matches are written relative to the pod: *local* is the pod's end and *remote* the other one, so that an exclusion reads the
same in both chains. A renderer turns local into source (output) or destination (prerouting).
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from weft_contract.ports import Mark

Family = Literal[4, 6]
Chain = Literal["WEFT_PRE", "WEFT_OUT"]
"""`WEFT_PRE` hangs on prerouting, `WEFT_OUT` on output, both of the mangle priority."""

Direction = Literal["in", "out"]
Kind = Literal["captured", "excluded", "kept", "udp", "other", "transit", "refused", "offered", "delivered", "dropped"]
"""What became of a packet.

`captured`: marked for, or belonging to, the agent. `excluded`, `kept`, `udp`, `other`, `transit`: let pass, for that reason.
`refused`: dropped, because its family cannot be captured. `offered`: given to TPROXY; of these `delivered` met a listener
or connection of the agent and `dropped` did not (each back end can count one of the two).
"""
Tally: TypeAlias = tuple[Direction, Kind]

# -- matches ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tcp:
    """TCP. Whatever looks at ports, flags or sockets implies it."""


@dataclass(frozen=True, slots=True)
class Udp:
    """UDP."""


@dataclass(frozen=True, slots=True)
class NotTcp:
    """Any protocol but TCP."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """The loopback device: arriving by it in prerouting, leaving by it in output."""


@dataclass(frozen=True, slots=True)
class Marked:
    """The packet's mark, under `weft_contract.ports.MARK_MASK`."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class AgentSocket:
    """A transparent socket takes this packet: it belongs to a connection that the agent already holds."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The first segment of a connection: SYN without ACK, RST or FIN."""


@dataclass(frozen=True, slots=True)
class Underway:
    """Any other segment than the first."""


@dataclass(frozen=True, slots=True)
class LocalPortIn:
    """The pod's port is in the set."""

    set_name: str


@dataclass(frozen=True, slots=True)
class RemotePortIn:
    """The other end's port is in the set."""

    set_name: str


@dataclass(frozen=True, slots=True)
class RemoteNetworkIn:
    """The other end's address is in the set."""

    set_name: str


@dataclass(frozen=True, slots=True)
class RemoteIs:
    """The other end is exactly this."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class KeptIn:
    """The connection is in the set of those older than the capture."""

    set_name: str


@dataclass(frozen=True, slots=True)
class NotForUs:
    """The destination is no address of this namespace (the pod routes for somebody else)."""


Match: TypeAlias = (
    Tcp
    | Udp
    | NotTcp
    | Loopback
    | Marked
    | AgentSocket
    | Opening
    | Underway
    | LocalPortIn
    | RemotePortIn
    | RemoteNetworkIn
    | RemoteIs
    | KeptIn
    | NotForUs
)

# -- actions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave the packet as it is."""


@dataclass(frozen=True, slots=True)
class LearnAndPass:
    """Remember the pod's port in the set, then leave the packet as it is."""

    set_name: str


@dataclass(frozen=True, slots=True)
class Divert:
    """Give the packet the OUT mark.

    In output, routing then brings it back over the loopback device. In prerouting, it goes its way, and the kernel's answer to
    it has that mark.
    """


@dataclass(frozen=True, slots=True)
class Intercept:
    """Give the packet to the agent's socket or its listener on this port, with the PROXY mark; drop it where there is none.

    The mark matters for what the kernel answers without a socket (RST, the last ACK): replies reflect the mark of what they
    answer, and with the OUT mark they would be diverted to the agent instead of reaching the application.
    """

    port: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Drop the packet."""


Action: TypeAlias = Pass | LearnAndPass | Divert | Intercept | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a chain; the first that matches decides."""

    chain: Chain
    matches: tuple[Match, ...]
    action: Action
    why: str
    """For the person who lists the rules; at most 100 characters."""
    tally: Tally | None = None
    """What its packets are counted as; None: they are no part of the pod's traffic with the world."""
    family: Family | None = None
    """None: the rule is the same in both families."""
