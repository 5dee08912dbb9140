"""Standard output that blocks never blocks us: lines wait, then are dropped and counted, and flow again."""

import os
import threading
import time

import pytest

from weft_agent.telemetry import sink as sink_module
from weft_agent.telemetry.sink import Sink

LINE = b"x" * 999 + b"\n"


class Reader:
    """The other end of the pipe."""

    def __init__(self) -> None:
        self.fd, self.write_end = os.pipe()

    def read_all(self) -> bytes:
        os.close(self.write_end)
        pieces = []
        while piece := os.read(self.fd, 1 << 20):
            pieces.append(piece)
        os.close(self.fd)
        return b"".join(pieces)


def test_lines_arrive_in_order_and_whole() -> None:
    reader = Reader()
    sink = Sink(reader.write_end, lambda count: None)
    for number in range(1000):
        sink.put(b"%d\n" % number)
    sink.close(5.0)
    assert reader.read_all() == b"".join(b"%d\n" % number for number in range(1000))


def test_a_reader_that_stops_never_makes_us_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "MAX_QUEUED_BYTES", 100_000)
    reader = Reader()
    dropped: list[int] = []
    sink = Sink(reader.write_end, dropped.append)
    slowest = 0.0
    for _ in range(2000):
        began = time.perf_counter()
        sink.put(LINE)
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 0.5
    assert sum(dropped) > 1500
    received: list[bytes] = []
    drain = threading.Thread(target=lambda: received.append(reader_until_end(reader.fd)))
    drain.start()
    sink.close(5.0)
    os.close(reader.write_end)
    drain.join(5.0)
    os.close(reader.fd)
    assert received[0].count(b"\n") == 2000 - sum(dropped)
    assert received[0].replace(LINE, b"") == b"", "no torn line"


def reader_until_end(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def test_closing_does_not_wait_for_ever_for_a_reader_that_stopped() -> None:
    reader = Reader()
    sink = Sink(reader.write_end, lambda count: None)
    for _ in range(500):
        sink.put(LINE)
    began = time.monotonic()
    sink.close(0.2)
    assert time.monotonic() - began < 2.0
    sink.put(LINE)  # harmless
    drain = threading.Thread(target=reader_until_end, args=(reader.fd,))
    drain.start()
    sink.close(10.0)  # before its descriptor's number is given to another test's file
    os.close(reader.write_end)
    drain.join(10.0)
    os.close(reader.fd)


def test_a_descriptor_that_somebody_made_non_blocking_loses_nothing() -> None:
    reader = Reader()
    os.set_blocking(reader.write_end, False)
    sink = Sink(reader.write_end, lambda count: None)
    for _ in range(500):
        sink.put(LINE)
    received: list[bytes] = []
    drain = threading.Thread(target=lambda: received.append(reader_until_end(reader.fd)))
    drain.start()
    sink.close(5.0)
    os.close(reader.write_end)
    drain.join(5.0)
    os.close(reader.fd)
    assert received[0] == LINE * 500


def test_nobody_reading_any_more_is_counted() -> None:
    reader = Reader()
    dropped: list[int] = []
    sink = Sink(reader.write_end, dropped.append)
    os.close(reader.fd)
    sink.put(LINE * 3)
    sink.close(5.0)
    os.close(reader.write_end)
    assert sum(dropped) == 3
