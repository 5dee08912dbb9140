"""What control and its workers say to each other, over one SOCK_SEQPACKET pair per worker; descriptors ride along.

Theory: control makes everything that needs privilege and hands it over (`fds` below names what accompanies a message, in
order). A worker asks only for more of what it may have. Messages are msgpack, one per datagram, at most
`MAX_MESSAGE_BYTES`; anything larger travels in a sealed memfd. The same messages serve a control process that comes back
and adopts running workers, so nothing here may depend on who spoke first: an orphan announces all it holds (`Adopt`).
"""

from typing import Final, Literal, TypeAlias, cast

import msgspec

MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_FDS: Final = 64
"""Descriptors per message; the kernel allows 253 (SCM_MAX_FD)."""

Role = Literal["upstream", "app"]
"""`upstream`: PROXY mark, towards the network. `app`: BACK mark, towards the pod's own application."""
Family = Literal[4, 6]
Direction = Literal["outbound", "inbound"]


class _Message(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    pass


# -- control to worker --------------------------------------------------------------------------------------------


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """First message. fds: counters memfd, buckets memfd, access-log pipe (write end, non-blocking), rescue sockets.

    Rescue sockets are unconnected SOCK_SEQPACKET sockets: workers may not make any, and with one an orphan reaches the
    socket at which the next control adopts it. Each serves once; several, because a control may die while it adopts.
    """

    worker: int
    """Slot number, 0-based; a replacement takes the slot of the dead."""
    workers: int
    limits: dict[str, float]
    """Overrides of `Limits` by field name."""
    token: bytes = b""
    """Secret of this node's control and its workers; an orphan shows it in `Adopt`."""
    log_format: Literal["json", "text"] = "json"


class Adopted(_Message, frozen=True, kw_only=True, tag="adopted"):
    """A new control took the orphan in. fds: access-log pipe, error pipe (becomes descriptor 2), new rescue sockets.

    State follows as to a fresh worker (`Update` with `whole`, `Keys`), but of pods only the difference.
    """

    workers: int


class Update(_Message, frozen=True, kw_only=True, tag="update"):
    """New state of resources. fds: one memfd with `UpdateContent` in msgpack; none when nothing changed but the generation.

    `removes` is filled in from the memory by the receiving end, since a long list does not fit a message.
    """

    generation: int
    whole: bool
    """True: everything not in this message is gone (first message, or a worker that lost track)."""
    removes: tuple[str, ...] = ()


UpdateContent: TypeAlias = tuple[list[tuple[str, str, bytes]], list[str]]
"""What the memory of an `Update` holds: [key, hash, canonical JSON] of what is new, keys of what is gone."""


class PodListeners(_Message, frozen=True, kw_only=True, tag="pod"):
    """A pod is captured. fds: its listeners, in the order of `listeners`."""

    pod: str
    """Workload key, `namespace/name`."""
    uid: str
    listeners: tuple[tuple[Direction, Family], ...]


class PodLeaving(_Message, frozen=True, kw_only=True, tag="pod-leaving"):
    """New connections pass the agent by: let go of what only rests, finish the rest. `PodGone` follows in any case."""

    uid: str


class PodGone(_Message, frozen=True, kw_only=True, tag="pod-gone"):
    """The pod left: close its listeners and sockets in stock; connections end by themselves."""

    uid: str


class Stock(_Message, frozen=True, kw_only=True, tag="stock"):
    """Unconnected sockets made in the pod's namespace. fds: the sockets."""

    uid: str
    role: Role
    family: Family


class Keys(_Message, frozen=True, kw_only=True, tag="keys"):
    """A workload certificate. fds: sealed memfd with the private key in PEM."""

    identity: str
    chain: bytes
    """PEM, leaf first, intermediates after it."""
    not_after_unix_s: float


class KeysGone(_Message, frozen=True, kw_only=True, tag="keys-gone"):
    """No pod of this identity is left on the node."""

    identity: str


class SelfTest(_Message, frozen=True, kw_only=True, tag="selftest"):
    """A listener of this worker alone; requests to it prove the whole data path. fds: the listener.

    Control asks `GET /healthz/worker HTTP/1.1` and takes status 200 as proof; anything else is a reason not to be ready.
    """


class GateWord(_Message, frozen=True, kw_only=True, tag="gate"):
    """Answers `AskGate`: whether the pod may start."""

    uid: str
    waiting: str
    """Why it has to wait, for people; empty: rules, listeners, certificate and configuration are in place everywhere."""


class Drain(_Message, frozen=True, kw_only=True, tag="drain"):
    """Stop accepting, send GOAWAY, finish what is in flight, exit at the deadline."""

    timeout_s: float


ToWorker: TypeAlias = (
    Hello
    | Adopted
    | Update
    | PodListeners
    | PodLeaving
    | PodGone
    | Stock
    | Keys
    | KeysGone
    | SelfTest
    | GateWord
    | Drain
)


# -- worker to control --------------------------------------------------------------------------------------------


class Ready(_Message, frozen=True, kw_only=True, tag="ready"):
    """Privileges are dropped, filter installed, Hello taken: send me work."""

    pid: int


class Applied(_Message, frozen=True, kw_only=True, tag="applied"):
    """The generation is in force; `refused` resources kept their last good version."""

    generation: int
    refused: tuple[tuple[str, str], ...] = ()
    """(key, reason)."""


class NeedStock(_Message, frozen=True, kw_only=True, tag="need"):
    """Send more sockets of this kind; `count` is the number wanted now, learned from use."""

    uid: str
    role: Role
    family: Family
    count: int


class AskGate(_Message, frozen=True, kw_only=True, tag="ask-gate"):
    """A pod asks through its own capture whether it may start; answered with `GateWord`."""

    uid: str


class Series(_Message, frozen=True, kw_only=True, tag="series"):
    """A metric series was given the counter cells `[index, index + cells)`."""

    index: int
    cells: int
    family: str
    """Metric family name, declared in `weft_agent.telemetry.families`."""
    labels: tuple[tuple[str, str], ...]


class SeriesMade(_Message, frozen=True, kw_only=True, tag="series-made"):
    """New series, in batches that fit a message."""

    series: tuple[Series, ...]


class Adopt(_Message, frozen=True, kw_only=True, tag="adopt"):
    """An orphan introduces itself to a new control. fds: counters memfd, buckets memfd.

    It goes on with one `PodListeners` per pod it serves (with the listeners), `SeriesMade`, and ends with `AdoptEnd`.
    """

    worker: int
    token: bytes
    generation: int


class AdoptEnd(_Message, frozen=True, kw_only=True, tag="adopt-end"):
    """The orphan has told everything it holds."""


class Drained(_Message, frozen=True, kw_only=True, tag="drained"):
    """Nothing is left in flight; the worker exits after this."""

    cut: int
    """Connections that were cut at the deadline."""


class Report(_Message, frozen=True, kw_only=True, tag="report"):
    """Something an operator should see: a warning or an internal error, with its traceback."""

    level: Literal["warning", "error"]
    event: str
    detail: str


FromWorker: TypeAlias = (
    Ready | Applied | NeedStock | AskGate | SeriesMade | Adopt | PodListeners | AdoptEnd | Drained | Report
)

to_worker_decoder: Final = msgspec.msgpack.Decoder(cast("type[ToWorker]", ToWorker))
from_worker_decoder: Final = msgspec.msgpack.Decoder(cast("type[FromWorker]", FromWorker))

SELFTEST_REQUEST: Final = b"GET /healthz/worker HTTP/1.1\r\nhost: weft-selftest\r\nconnection: close\r\n\r\n"
"""What control sends to a `SelfTest` listener; the answer must begin with `HTTP/1.1 200`."""
