"""An auditor of the tunnel's flow control: reads the wire, knows nothing of the engine, and finds bytes beyond a window."""

from collections import defaultdict
from dataclasses import dataclass, field

from weft_contract.limits import Limits
from weft_core.tunnel import TunnelConnection
from weft_testing.tunnel_wire import DATA, PREFACE, SETTINGS, WINDOW_UPDATE, Cut, Frame, WirePair, frames_of, whole


class Cutter:
    """Cuts a growing byte stream into frames."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False

    def feed(self, data: bytes) -> list[Frame]:
        self._rest += data
        if not self._started and self._rest.startswith(PREFACE):
            self._rest = self._rest[len(PREFACE) :]
        self._started = True
        at = 0
        while len(self._rest) - at >= 9:
            size = int.from_bytes(self._rest[at : at + 3], "big")
            if len(self._rest) - at < 9 + size:
                break
            at += 9 + size
        frames, self._rest = frames_of(self._rest[:at]), self._rest[at:]
        return frames


@dataclass
class Ledger:
    """What one side has been granted, and has spent."""

    initial: int = 65_535
    connection: int = 65_535
    streams: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    spent: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    spent_in_all: int = 0

    def heard(self, frame: Frame) -> None:
        if frame.kind == WINDOW_UPDATE and frame.stream_id & 0x7FFFFFFF:
            self.streams[frame.stream_id & 0x7FFFFFFF] += frame.number & 0x7FFFFFFF
        elif frame.kind == WINDOW_UPDATE:
            self.connection += frame.number & 0x7FFFFFFF
        elif frame.kind == SETTINGS and not frame.flags & 1:
            for at in range(0, len(frame.payload) - 5, 6):
                if frame.payload[at : at + 2] == b"\0\4":
                    self.initial = int.from_bytes(frame.payload[at + 2 : at + 6], "big")

    def says(self, frame: Frame) -> None:
        if frame.kind == DATA:
            size = len(frame.payload)
            self.spent[frame.stream_id] += size
            self.spent_in_all += size
            assert self.spent[frame.stream_id] <= max(self.initial, 0) + self.streams[frame.stream_id]
            assert self.spent_in_all <= self.connection


class AuditedPair(WirePair):
    """A pair whose wire is read by two ledgers."""

    def __init__(self, limits: Limits | None = None, *, cut: Cut = whole, capacity: int | None = None) -> None:
        super().__init__(limits, cut=cut, capacity=capacity)
        self.ledgers = {id(self.client): Ledger(), id(self.server): Ledger()}
        self.cutters = {(id(side), way): Cutter() for side in (self.client, self.server) for way in ("out", "in")}
        self.logged = {id(self.client): 0, id(self.server): 0}

    def flush(self, connection: TunnelConnection) -> None:
        super().flush(connection)
        wire = self.up if connection is self.client else self.down
        key = id(connection)
        for frame in self.cutters[key, "out"].feed(bytes(wire.log[self.logged[key] :])):
            self.ledgers[key].says(frame)
        self.logged[key] = len(wire.log)

    def deliver(self, connection: TunnelConnection, size: int | None = None) -> None:
        wire = self.down if connection is self.client else self.up
        # what this side sent until now was sent without knowing what is delivered next
        self.flush(connection)
        for frame in self.cutters[id(connection), "in"].feed(bytes(wire.in_flight[:size])):
            self.ledgers[id(connection)].heard(frame)
        super().deliver(connection, size)
