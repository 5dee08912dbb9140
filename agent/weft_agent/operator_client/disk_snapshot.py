"""The last confirmed configuration on disk: what the agent starts from, at once, whether or not an operator is there.

Theory: one file, replaced whole (`weft_agent.atomic_file`). Its first line names the format and the checksum of the rest, so a
file that was cut, damaged or written by another version is recognised before anything of it is believed. What is wrong with
it is told and the file passed over; the next confirmed configuration replaces it.

    weft-snapshot 1 <sha256 of the rest, hexadecimal> <line feed>
    <msgpack of `Snapshot`>

A resource that this version cannot read costs itself alone (`weft_agent.operator_client.ledger.judge`): policies that are
missing deny.
"""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from weft_agent.atomic_file import replace_file, sweep_unfinished
from weft_agent.control.desired import Entries
from weft_agent.operator_client.assembly import MAX_UPDATE_BYTES, Change
from weft_contract.resources.document import SCHEMA

FILE: Final = "snapshot"
FORMAT: Final = b"weft-snapshot 1 "
FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700


class SnapshotError(Exception):
    """The snapshot cannot be used or written; the message says why and what follows."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a snapshot is, and whose."""

    directory: Path
    node: str
    build: str
    """Version of this agent."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the file holds."""

    schema: str
    """`weft_contract.resources.document.SCHEMA` of the resources."""
    node: str
    build: str
    """Version of the agent that wrote it."""
    saved_unix_s: float
    entries: list[tuple[str, str, bytes]]
    """Key, hash and canonical JSON."""

    def change(self) -> Change:
        """Return the content as a change from nothing."""
        return Change((), {key: (content_hash, body) for key, content_hash, body in self.entries}, frozenset())


def write_snapshot(place: Place, entries: Entries, now_unix_s: float) -> int:
    """Write the snapshot; blocking.

    Args:
        place: its directory is made if it is not there.
        entries: the confirmed resources.
        now_unix_s: wall clock, seconds.

    Returns:
        Bytes written.

    Raises:
        SnapshotError: it could not be written; the last one is still there.
    """
    directory = place.directory
    listed = [(key, content_hash, body) for key, (content_hash, body) in entries.items()]
    snapshot = Snapshot(schema=SCHEMA, node=place.node, build=place.build, saved_unix_s=now_unix_s, entries=listed)
    payload = msgspec.msgpack.encode(snapshot)
    data = FORMAT + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        sweep_unfinished(directory, FILE)
        replace_file(directory / FILE, data, FILE_MODE)
    except OSError as exc:
        raise SnapshotError(
            f"{directory / FILE} cannot be written: {exc.strerror}; after a restart without an operator the node would"
            " serve what was written before"
        ) from exc
    return len(data)


def read_snapshot(place: Place) -> Snapshot | None:
    """Read the snapshot; blocking. None: there is none.

    Raises:
        SnapshotError: there is one that cannot be used.
    """
    path, node = place.directory / FILE, place.node
    try:
        with path.open("rb") as file:
            data = file.read(MAX_UPDATE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SnapshotError(f"{path} cannot be read: {exc.strerror}") from exc
    snapshot = _decode(data, path)
    if snapshot.schema != SCHEMA:
        raise SnapshotError(f"{path} has schema {snapshot.schema!r:.60}, this agent reads {SCHEMA!r}")
    if snapshot.node != node:
        raise SnapshotError(f"{path} is of node {snapshot.node!r:.80}, this agent is of {node!r}; give each its own")
    return snapshot


def _decode(data: bytes, path: Path) -> Snapshot:
    head, newline, payload = data.partition(b"\n")
    if not newline or not head.startswith(FORMAT):
        raise SnapshotError(f"{path} is no snapshot that this version ({FORMAT.decode().strip()}) reads")
    checksum = hashlib.sha256(payload).hexdigest().encode()
    if not hmac.compare_digest(head[len(FORMAT) :], checksum):
        raise SnapshotError(f"{path} is damaged: its checksum does not match")
    try:
        return msgspec.msgpack.decode(payload, type=Snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise SnapshotError(f"{path} cannot be read: {exc}") from exc
