"""The access log: one record is one line whatever a client put into it, and a full pipe loses records, not time."""

import json
import os
import time
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from weft_agent.telemetry import access_log
from weft_agent.telemetry.access_log import MAX_FIELD_CHARACTERS, AccessLog, AccessRecord, format_line

PLAIN = AccessRecord(
    unix_s=1_700_000_000.25,
    direction="inbound",
    source="spiffe://cluster.local/ns/a/sa/client",
    source_workload="a/client",
    source_address="10.0.0.1",
    destination="spiffe://cluster.local/ns/b/sa/web",
    destination_workload="b/web",
    destination_address="10.0.0.2:8080",
    method=b"GET",
    host=b"web.b",
    path=b"/foo",
    status=200,
    flags="",
    reason="",
    policy="b/web-allow",
    rule="rules[0]",
    bytes_in=0,
    bytes_out=1234,
    duration_s=0.0123456,
    protocol="http",
    request_id=b"abc",
    route="",
    upstream="10.0.0.2:8080",
)
HOSTILE = st.text(alphabet=st.characters(), max_size=50) | st.sampled_from(
    ["\n", "\r\n", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\ud800", "\\", '"', "}{"]
)


def decoded(line: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(line)
    return value


def test_a_record_says_what_happened() -> None:
    assert decoded(format_line(PLAIN, "json")) == {
        "time": "2023-11-14T22:13:20.250Z",
        "direction": "inbound",
        "source": "spiffe://cluster.local/ns/a/sa/client",
        "source_workload": "a/client",
        "source_address": "10.0.0.1",
        "destination": "spiffe://cluster.local/ns/b/sa/web",
        "destination_workload": "b/web",
        "destination_address": "10.0.0.2:8080",
        "method": "GET",
        "host": "web.b",
        "path": "/foo",
        "status": 200,
        "policy": "b/web-allow",
        "rule": "rules[0]",
        "bytes_out": 1234,
        "duration_ms": 12.346,
        "protocol": "http",
        "request_id": "abc",
        "upstream": "10.0.0.2:8080",
        "log": "access",
    }


def test_a_plain_tuple_will_do() -> None:
    assert format_line(tuple(PLAIN), "json") == format_line(PLAIN, "json")


def test_text_is_one_line_of_pairs() -> None:
    line = format_line(PLAIN._replace(host=b"evil\nhost"), "text").decode()
    assert line.startswith('time="2023-11-14T22:13:20.250Z" direction="inbound"')
    assert ' host="evil\\nhost" ' in line
    assert line.count("\n") == 1


@given(text=HOSTILE, style=st.sampled_from(["json", "text"]))
def test_whatever_a_field_holds_one_record_is_one_harmless_line(text: str, style: access_log.Format) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    line = format_line(PLAIN._replace(path=raw, host=raw, reason=text, request_id=b"\xff\xfe" + raw), style)
    body = line[:-1].decode()
    assert line.endswith(b"\n")
    assert body.isprintable() or not any(ord(c) < 32 or 0x7F <= ord(c) <= 0x9F for c in body)
    assert not set(body) & set("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\ufeff")
    assert len(body.splitlines()) == 1
    if style == "json":
        assert decoded(line)["direction"] == "inbound"


def test_escaping_does_not_change_what_json_means() -> None:
    text = "a\u202eb\u2028c\x7fd\x85e"
    assert decoded(format_line(PLAIN._replace(reason=text), "json"))["reason"] == text


def test_a_long_field_is_cut() -> None:
    value = decoded(format_line(PLAIN._replace(path=b"/" + b"x" * 100_000), "json"))["path"]
    assert len(value) == MAX_FIELD_CHARACTERS
    assert value.endswith("…")
    exact = b"/" + b"x" * (MAX_FIELD_CHARACTERS - 1)
    assert decoded(format_line(PLAIN._replace(path=exact), "json"))["path"] == exact.decode()


class Rig:
    """A log that writes to a pipe."""

    def __init__(self, limit: int = 1000) -> None:
        self.dropped = 0
        self.rest = b""
        self.log = AccessLog(limit, "json", self.drop)
        self.read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.log.attach(write_end)

    def drop(self, count: int) -> None:
        self.dropped += count

    def lines(self) -> list[bytes]:
        try:
            while piece := os.read(self.read_end, 1 << 20):
                self.rest += piece
        except BlockingIOError:
            pass
        whole, _, self.rest = self.rest.rpartition(b"\n")
        return whole.split(b"\n") if whole else []


@pytest.mark.trio
async def test_n_records_are_n_lines_in_order(autojump_clock: trio.testing.MockClock) -> None:
    rig = Rig()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.log.run)
        for number in range(500):
            rig.log.record(PLAIN._replace(status=number))
        lines: list[bytes] = []
        for _ in range(50):
            await trio.sleep(0.1)
            lines += rig.lines()
        nursery.cancel_scope.cancel()
    assert [decoded(line).get("status", 0) for line in lines] == list(range(500))


@pytest.mark.trio
async def test_a_reader_that_stops_costs_records_and_nothing_else(autojump_clock: trio.testing.MockClock) -> None:
    rig = Rig(limit=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.log.run)
        for _ in range(200):
            for _ in range(100):
                rig.log.record(PLAIN)
            await trio.sleep(0.2)
        assert rig.dropped > 10_000
        whole = 0
        for _ in range(100):  # the reader comes back: whole lines, none torn
            for line in rig.lines():
                assert decoded(line)
                whole += 1
            await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    assert abs(rig.dropped + whole - 20_000) <= 100


@pytest.mark.trio
async def test_without_control_records_wait_for_the_next_one(autojump_clock: trio.testing.MockClock) -> None:
    rig = Rig()
    os.close(rig.read_end)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.log.run)
        rig.log.record(PLAIN)
        await trio.sleep(1)
        rig.read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        rig.log.attach(write_end)
        await trio.sleep(1)
        assert len(rig.lines()) == 1
        nursery.cancel_scope.cancel()


def test_the_last_records_of_a_process_can_be_written_without_a_loop() -> None:
    rig = Rig()
    rig.log.record(PLAIN)
    rig.log.flush()
    assert len(rig.lines()) == 1


def test_recording_is_cheap() -> None:
    log = AccessLog(10**6, "json", lambda count: None)
    record = tuple(PLAIN)
    best = min(_seconds(log, record) for _ in range(5))
    assert best / 10_000 < 5e-6, "a microsecond or so; the bar leaves room for a slow machine"


def _seconds(log: AccessLog, record: tuple[object, ...]) -> float:
    began = time.perf_counter()
    for _ in range(10_000):
        log.record(record)
    return time.perf_counter() - began
