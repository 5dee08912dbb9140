"""Stream states of RFC 9113 §5.1 as a table: in each state each frame, on both sides; then any order of them at random."""

from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from weft_contract.limits import Limits
from weft_core.facts import Header
from weft_core.tunnel.frames import ErrorCode
from weft_testing.tunnel_wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    OK,
    POST,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    WINDOW_UPDATE,
    RawPeer,
    Recorder,
    raw,
    raw_head,
    raw_long,
)

TRAILERS: list[Header] = [(b"a", b"b")]
Outcome = Literal["ok", "ignored"] | tuple[Literal["stream", "connection"], ErrorCode]

FRAMES: dict[str, bytes] = {
    "DATA": raw(DATA, 0, 1, b"x"),
    "DATA+ES": raw(DATA, END_STREAM, 1, b"x"),
    "HEADERS": raw_head(1, TRAILERS),
    "HEADERS+ES": raw_head(1, TRAILERS, end_stream=True),
    "RST": raw_long(RST_STREAM, 1, 8),
    "WINDOW": raw_long(WINDOW_UPDATE, 1, 5),
    "PRIORITY": raw(PRIORITY, 0, 1, bytes(5)),
    "CONTINUATION": raw(CONTINUATION, END_HEADERS, 1),
    "PUSH": raw(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2\x82"),
}

PROTOCOL: tuple[Literal["connection"], ErrorCode] = ("connection", ErrorCode.PROTOCOL_ERROR)
CLOSED: tuple[Literal["connection"], ErrorCode] = ("connection", ErrorCode.STREAM_CLOSED)
BAD_HEAD: tuple[Literal["stream"], ErrorCode] = ("stream", ErrorCode.PROTOCOL_ERROR)
BEHIND_END: tuple[Literal["stream"], ErrorCode] = ("stream", ErrorCode.STREAM_CLOSED)

Setup = Callable[[], tuple[RawPeer, Recorder | None]]


def server(headers: list[Header] = POST, *, end_stream: bool = False) -> tuple[RawPeer, Recorder]:
    fixture = RawPeer()
    fixture.feed(raw_head(1, headers, end_stream=end_stream))
    return fixture, fixture.recorder


def server_half_closed_local() -> tuple[RawPeer, Recorder]:
    fixture, recorder = server()
    fixture.stream.send_headers(OK, end_stream=True)
    return fixture, recorder


def server_closed() -> tuple[RawPeer, Recorder]:
    fixture, recorder = server(end_stream=True)
    fixture.stream.send_headers(OK, end_stream=True)
    return fixture, recorder


def server_reset_by_us() -> tuple[RawPeer, Recorder]:
    fixture, recorder = server()
    fixture.stream.abort()
    return fixture, recorder


def server_reset_by_peer() -> tuple[RawPeer, Recorder]:
    fixture, recorder = server()
    fixture.feed(raw_long(RST_STREAM, 1, 8))
    return fixture, recorder


def server_skipped() -> tuple[RawPeer, Recorder | None]:
    fixture = RawPeer()
    fixture.feed(raw_head(3, POST))
    return fixture, None


def client(*, answered: bool = True, end_stream: bool = False) -> tuple[RawPeer, Recorder]:
    fixture = RawPeer(client=True)
    recorder = Recorder()
    recorder.stream = fixture.connection.open(POST, recorder, end_stream=end_stream)
    if answered:
        fixture.feed(raw_head(1, OK))
    return fixture, recorder


def client_half_closed_remote() -> tuple[RawPeer, Recorder]:
    fixture, recorder = client()
    fixture.feed(raw(DATA, END_STREAM, 1))
    return fixture, recorder


def client_closed() -> tuple[RawPeer, Recorder]:
    fixture, recorder = client(end_stream=True)
    fixture.feed(raw(DATA, END_STREAM, 1))
    return fixture, recorder


def client_reset_by_us() -> tuple[RawPeer, Recorder]:
    fixture, recorder = client()
    assert recorder.stream is not None
    recorder.stream.abort()
    return fixture, recorder


STATES: dict[str, tuple[Setup, dict[str, Outcome]]] = {
    "server idle": (
        lambda: (RawPeer(), None),
        # HEADERS opens; these are trailers, so they are a malformed request
        {"DATA": PROTOCOL, "DATA+ES": PROTOCOL, "HEADERS": BAD_HEAD, "HEADERS+ES": BAD_HEAD, "RST": PROTOCOL,
         "WINDOW": PROTOCOL},
    ),
    "server skipped id": (
        server_skipped,
        {"DATA": CLOSED, "DATA+ES": CLOSED, "HEADERS": CLOSED, "HEADERS+ES": CLOSED, "RST": "ignored", "WINDOW": "ignored"},
    ),
    "server open": (
        server,
        {"DATA": "ok", "DATA+ES": "ok", "HEADERS": BAD_HEAD, "HEADERS+ES": "ok", "RST": "ok", "WINDOW": "ok"},
    ),
    "server half-closed (local)": (
        server_half_closed_local,
        {"DATA": "ok", "DATA+ES": "ok", "HEADERS": BAD_HEAD, "HEADERS+ES": "ok", "RST": "ok", "WINDOW": "ok"},
    ),
    "server half-closed (remote)": (
        lambda: server(end_stream=True),
        {"DATA": BEHIND_END, "DATA+ES": BEHIND_END, "HEADERS": BEHIND_END, "HEADERS+ES": BEHIND_END, "RST": "ok",
         "WINDOW": "ok"},
    ),
    "server closed": (
        server_closed,
        {"DATA": CLOSED, "DATA+ES": CLOSED, "HEADERS": CLOSED, "HEADERS+ES": CLOSED, "RST": "ignored", "WINDOW": "ignored"},
    ),
    "server closed by our reset": (
        server_reset_by_us,
        {"DATA": "ignored", "DATA+ES": "ignored", "HEADERS": "ignored", "HEADERS+ES": "ignored", "RST": "ignored",
         "WINDOW": "ignored"},
    ),
    "server closed by the peer's reset": (
        server_reset_by_peer,
        {"DATA": CLOSED, "DATA+ES": CLOSED, "HEADERS": CLOSED, "HEADERS+ES": CLOSED, "RST": "ignored", "WINDOW": "ignored"},
    ),
    "client idle": (
        lambda: (RawPeer(client=True), None),
        {"DATA": PROTOCOL, "DATA+ES": PROTOCOL, "HEADERS": PROTOCOL, "HEADERS+ES": PROTOCOL, "RST": PROTOCOL,
         "WINDOW": PROTOCOL},
    ),
    "client open, unanswered": (
        lambda: client(answered=False),
        {"DATA": BAD_HEAD, "DATA+ES": BAD_HEAD, "HEADERS": BAD_HEAD, "HEADERS+ES": BAD_HEAD, "RST": "ok", "WINDOW": "ok"},
    ),
    "client open": (
        client,
        {"DATA": "ok", "DATA+ES": "ok", "HEADERS": BAD_HEAD, "HEADERS+ES": "ok", "RST": "ok", "WINDOW": "ok"},
    ),
    "client half-closed (local)": (
        lambda: client(end_stream=True),
        {"DATA": "ok", "DATA+ES": "ok", "HEADERS": BAD_HEAD, "HEADERS+ES": "ok", "RST": "ok", "WINDOW": "ok"},
    ),
    "client half-closed (remote)": (
        client_half_closed_remote,
        {"DATA": BEHIND_END, "DATA+ES": BEHIND_END, "HEADERS": BEHIND_END, "HEADERS+ES": BEHIND_END, "RST": "ok",
         "WINDOW": "ok"},
    ),
    "client closed": (
        client_closed,
        {"DATA": CLOSED, "DATA+ES": CLOSED, "HEADERS": CLOSED, "HEADERS+ES": CLOSED, "RST": "ignored", "WINDOW": "ignored"},
    ),
    "client closed by our reset": (
        client_reset_by_us,
        {"DATA": "ignored", "DATA+ES": "ignored", "HEADERS": "ignored", "HEADERS+ES": "ignored", "RST": "ignored",
         "WINDOW": "ignored"},
    ),
}  # fmt: skip
EVERYWHERE: dict[str, Outcome] = {"PRIORITY": "ignored", "CONTINUATION": PROTOCOL, "PUSH": PROTOCOL}
CASES = [
    pytest.param(setup, FRAMES[name], outcome, id=f"{state} {name}")
    for state, (setup, outcomes) in STATES.items()
    for name, outcome in {**outcomes, **EVERYWHERE}.items()
]


def observe(fixture: RawPeer, frame: bytes, recorder: Recorder | None) -> Outcome:
    fixture.frames()
    heard = len(recorder.events) if recorder is not None else 0
    window = [stream._credit for stream in fixture.connection._engine.roll.open.values()]
    frames = fixture.ask(frame)
    codes = [ErrorCode(f.number) for f in frames if f.kind == RST_STREAM]
    if fixture.connection.closed:
        (breach,) = fixture.handler.errors
        return ("connection", getattr(breach, "code"))  # noqa: B009 - the handler's errors are typed as any fault
    if codes:
        return ("stream", codes[0])
    moved = window != [stream._credit for stream in fixture.connection._engine.roll.open.values()]
    told = recorder is not None and len(recorder.events) > heard
    return "ok" if told or moved else "ignored"


def test_the_table_is_complete() -> None:
    assert all({*outcomes, *EVERYWHERE} == set(FRAMES) for _, outcomes in STATES.values())


@pytest.mark.parametrize(("setup", "frame", "outcome"), CASES)
def test_each_frame_in_each_state(setup: Setup, frame: bytes, outcome: Outcome) -> None:
    fixture, recorder = setup()
    found = observe(fixture, frame, recorder)
    if outcome == "ok" and frame == FRAMES["WINDOW"] and found == "ignored":
        assert fixture.handler.errors == []  # credit of a side that ended is taken and useless
        return
    assert found == outcome


@pytest.mark.parametrize("stream_id", [2, 4, 100])
@pytest.mark.parametrize("is_client", [False, True])
def test_even_ids_do_not_exist(stream_id: int, is_client: bool) -> None:
    for frame in (raw_head(stream_id, POST), raw(DATA, 0, stream_id, b"x"), raw_long(RST_STREAM, stream_id, 8)):
        fixture = RawPeer(client=is_client)
        fixture.feed(frame)
        assert fixture.error_code == ErrorCode.PROTOCOL_ERROR


def test_ids_rise() -> None:
    fixture = RawPeer()
    fixture.feed(raw_head(5, POST) + raw_head(7, POST))
    assert fixture.handler.errors == []
    fixture.feed(raw_head(3, POST))
    assert fixture.error_code == ErrorCode.STREAM_CLOSED


class StreamLife(RuleBasedStateMachine):
    """One server stream: any legal or illegal frame of the peer, any call of the owner, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.fixture = RawPeer(
            limits=Limits(tunnel_stream_window_bytes=50, tunnel_glitch_burst=10_000, reset_burst=1000)
        )
        self.sent = bytearray()
        self.fed = bytearray()
        self.peer_ended = self.ended = self.dead = self.answered = self.paused = False

    @initialize(end_stream=st.booleans())
    def open(self, end_stream: bool) -> None:
        self.fixture.feed(raw_head(1, POST, end_stream=end_stream))
        self.peer_ended = end_stream
        self.stream, self.recorder = self.fixture.stream, self.fixture.recorder

    @precondition(lambda self: not self.dead)
    @rule(size=st.integers(1, 60), end=st.booleans(), padding=st.none() | st.integers(0, 9))
    def data(self, size: int, end: bool, padding: int | None) -> None:
        payload = bytes(at % 251 for at in range(len(self.fed), len(self.fed) + size))
        body = payload if padding is None else bytes((padding,)) + payload + bytes(padding)
        fits = len(body) <= self.stream._window
        flags = (0x8 if padding is not None else 0) | (END_STREAM if end else 0)
        self.fixture.feed(raw(DATA, flags, 1, body))
        if self.fixture.connection._engine.roll.open.get(1) is not self.stream:
            self.dead = True
        if fits and not self.peer_ended:
            self.fed += payload
            self.peer_ended = end
        else:
            self.dead = True

    @precondition(lambda self: not self.dead)
    @rule()
    def peer_resets(self) -> None:
        self.fixture.feed(raw_long(RST_STREAM, 1, 8))
        self.dead = True
        assert self.recorder.lost_called or self.stream.closed

    @rule(credit=st.integers(1, 1000))
    def grant(self, credit: int) -> None:
        self.fixture.feed(raw_long(WINDOW_UPDATE, 1, credit))

    @precondition(lambda self: not self.answered and not self.dead)
    @rule(end=st.booleans())
    def answer(self, end: bool) -> None:
        self.stream.send_headers(OK, end)
        self.answered, self.ended = True, end

    @precondition(lambda self: self.answered and not self.ended)
    @rule(size=st.integers(0, 40_000))
    def write(self, size: int) -> None:
        self.stream.write(bytes(size))
        if not self.dead:
            self.sent += bytes(size)

    @precondition(lambda self: self.answered)
    @rule()
    def finish(self) -> None:
        self.stream.finish()
        self.ended = True

    @rule()
    def pause(self) -> None:
        self.stream.pause()
        self.paused = True

    @rule()
    def resume(self) -> None:
        self.stream.resume()
        self.paused = False

    @rule()
    def turn(self) -> None:
        self.fixture.frames()

    @precondition(lambda self: not self.dead)
    @rule()
    def abort(self) -> None:
        self.stream.abort()
        self.dead = True

    @invariant()
    def bytes_are_in_order(self) -> None:
        if self.fixture.handler.streams:
            assert self.fed.startswith(self.recorder.data)
            if not self.dead and not self.paused and not self.stream.closed:
                assert self.recorder.data == self.fed

    @invariant()
    def windows_hold(self) -> None:
        if self.fixture.handler.streams:
            assert self.stream.unread_bytes <= self.stream._size
            assert self.stream.bytes_out <= len(self.sent)

    @invariant()
    def the_connection_lives_unless_the_stream_was_over(self) -> None:
        if self.fixture.connection.closed:
            assert self.dead or self.peer_ended


StreamLife.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStreamLife = StreamLife.TestCase
