"""What every worker should know: resources, certificates, pods. One value for all; a fresh worker gets the whole of it.

Theory: control keeps the desired state here and, per worker, what that worker was told. Telling is the difference, so the
same code serves a change, a fresh worker, and an orphan that lost track.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from weft_agent.channel import memfd
from weft_agent.channel.messages import PodListeners, Update, UpdateContent

Entries = Mapping[str, tuple[str, bytes]]
"""Hash and canonical JSON by resource key; never changed once made, since workers' states are compared with it."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One workload certificate, ready to be handed out."""

    identity: str
    chain: bytes
    not_before_unix_s: float
    not_after_unix_s: float
    digest: str
    key_fd: int
    """Sealed memory; control's own, handed to each worker."""


@dataclass(frozen=True, slots=True)
class PodSockets:
    """A captured pod and its listeners, which control keeps for the pod's life."""

    listeners: PodListeners
    sockets: tuple[socket.socket, ...]


@dataclass(slots=True)
class Desired:
    """The present state of things."""

    generation: int = 0
    entries: Entries | None = None
    """None until there is a configuration: workers keep what they have."""
    certificates: dict[str, Certificate] = field(default_factory=dict)
    """By identity."""
    pods: dict[str, PodSockets] = field(default_factory=dict)
    """By pod uid."""
    leaving: set[str] = field(default_factory=set)
    """Uids of those among `pods` whose new connections pass the agent by already."""


def difference(told: Entries | None, entries: Entries, generation: int) -> tuple[Update, int | None, frozenset[str]]:
    """Return the update that brings a worker up to date.

    Besides, the memory that goes with it (to be closed by the caller), and the keys of what it changes or removes.

    Args:
        told: what the worker was told; None when it knows nothing or lost track.
        entries: what it should know.
        generation: of `entries`.
    """
    known = told or {}
    changed = [
        (key, *item)
        for key, item in entries.items()
        if (old := known.get(key)) is not item and (old is None or old[0] != item[0])  # most are the same objects
    ]
    removes = [] if told is None else sorted(key for key in known if key not in entries)
    update = Update(generation=generation, whole=told is None)
    if not changed and not removes:
        return update, None, frozenset()
    content: UpdateContent = (changed, removes)
    keys = frozenset((*(key for key, _, _ in changed), *removes))
    return update, memfd.sealed("weft-update", msgspec.msgpack.encode(content)), keys
