"""Whole conversations between two engines of ours, recorded, then replayed to each side split at every byte."""

from functools import cache

import pytest

from weft_contract.limits import Limits
from weft_core.facts import Header
from weft_core.tunnel import TunnelStream
from weft_testing.tunnel_wire import (
    CONNECT,
    GET,
    POST,
    Event,
    RawPeer,
    Recorder,
    WirePair,
    answer_ok,
    byte_by_byte,
    split_at,
    whole,
)

LIMITS = Limits(tunnel_stream_window_bytes=400)
REQUESTS: list[list[Header]] = [CONNECT, POST, [*GET, (b"x-field", b"value " * 20 + b".")]]


def act(side: str, number: int, stream: TunnelStream) -> None:
    """What either side does on its stream once the answers are there."""
    if number == 0:
        stream.write(f"{side} says ".encode() * 40)
        stream.finish()
    elif number == 1 and side == "server":
        stream.write(b"partial")
        stream.abort()
    elif number == 2 and side == "server":
        stream.write(b"body")
        stream.send_headers([(b"x-trailer", b"end")], end_stream=True)


@cache
def recording() -> tuple[bytes, bytes]:
    """Return what the client and the server sent in one conversation."""
    pair = WirePair(LIMITS)
    pair.server_handler.on_opened = answer_ok
    streams = [pair.client.open(head, Recorder(), end_stream=head is REQUESTS[2]) for head in REQUESTS]
    pair.settle()
    for number, (near, far) in enumerate(zip(streams, pair.server_handler.streams, strict=True)):
        act("client", number, near)
        act("server", number, far)
        pair.settle()
    pair.server.drain()
    pair.settle()
    return bytes(pair.up.log), bytes(pair.down.log)


def server_hears(data: bytes, *cuts: int, slowly: bool = False) -> list[list[Event]]:
    fixture = RawPeer(limits=LIMITS, greet=False)
    fixture.handler.on_opened = answer_ok
    fixture.feed(data, byte_by_byte if slowly else split_at(*cuts) if cuts else whole)
    assert fixture.handler.errors == []
    return [recorder.events for recorder in fixture.handler.recorders]


def client_hears(data: bytes, *cuts: int, slowly: bool = False) -> list[list[Event]]:
    fixture = RawPeer(client=True, limits=LIMITS, greet=False)
    recorders = [Recorder() for _ in REQUESTS]
    for head, recorder in zip(REQUESTS, recorders, strict=True):
        fixture.connection.open(head, recorder, end_stream=head is REQUESTS[2])
    fixture.feed(data, byte_by_byte if slowly else split_at(*cuts) if cuts else whole)
    assert fixture.handler.errors == []
    return [fixture.handler.events, *(recorder.events for recorder in recorders)]


def test_the_recordings_hold_what_they_should() -> None:
    up, down = recording()
    connect, post, get = server_hears(up)
    assert [event[0] for event in connect] == ["opened", "data", "eof"]
    assert connect[1] == ("data", b"client says " * 40)
    assert [event[0] for event in post] == ["opened"]
    assert get[0][2] is True
    handler, connect, post, get = client_hears(down)
    assert handler == [("goaway",)]
    assert connect[-2:] == [("data", b"server says " * 40), ("eof",)]
    assert [event[0] for event in post] == ["headers", "data", "lost"]
    assert get[-2] == ("headers", ((b"x-trailer", b"end"),), True)


@pytest.mark.parametrize("at", range(1, len(recording()[0])))
def test_the_server_split_everywhere(at: int) -> None:
    up, _ = recording()
    assert server_hears(up, at) == server_hears(up)


@pytest.mark.parametrize("at", range(1, len(recording()[1])))
def test_the_client_split_everywhere(at: int) -> None:
    _, down = recording()
    assert client_hears(down, at) == client_hears(down)


def test_both_byte_by_byte() -> None:
    up, down = recording()
    assert server_hears(up, slowly=True) == server_hears(up)
    assert client_hears(down, slowly=True) == client_hears(down)
