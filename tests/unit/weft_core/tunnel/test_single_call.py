"""One call of HTTP/2 passes as it came, its head first shown; a second one, and everything that is no call, does not."""

from collections.abc import Iterable

import h2.config
import h2.connection
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_core.errors import RemoteProtocolError
from weft_core.tunnel import SingleCall
from weft_core.tunnel.frames import PREFACE

CHECK = b"/grpc.health.v1.Health/Check"
HEAD = [
    (":method", "POST"), (":scheme", "http"), (":path", CHECK.decode()), (":authority", "10.0.0.1:8080"),
    ("content-type", "application/grpc"), ("user-agent", "kube-probe/1.35"), ("te", "trailers"),
    ("grpc-timeout", "999995u"),
]  # fmt: skip


def client() -> h2.connection.H2Connection:
    made = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    made.initiate_connection()
    return made


def call(fields: Iterable[tuple[str, str]] = HEAD, calls: int = 1) -> tuple[bytes, bytes]:
    """Return what a client sends before its first head, and from there on."""
    made = client()
    setup = made.data_to_send()
    for number in range(calls):
        made.send_headers(2 * number + 1, list(fields))
        made.send_data(2 * number + 1, b"\0\0\0\0\0", end_stream=True)
    return setup, made.data_to_send()


def test_the_connection_is_set_up_before_anything_is_known() -> None:
    setup, rest = call()
    screen = SingleCall()
    assert screen.feed(setup) == (setup, None, b"")
    assert screen.feed(rest) == (b"", (b"POST", CHECK), rest)


@given(st.lists(st.integers(min_value=1, max_value=400), max_size=6))
def test_however_it_is_cut_the_same_bytes_go_on(cuts: list[int]) -> None:
    setup, rest = call()
    data = setup + rest
    screen, before, behind, head = SingleCall(), b"", b"", None
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        passing = screen.feed(data[start:stop])
        if head is None:
            before += passing.before
            behind += passing.behind
        else:
            behind += passing.before
        head = head or passing.head
    assert (before, head, behind) == (setup, (b"POST", CHECK), rest)


def test_nothing_of_a_head_goes_on_before_it_is_whole() -> None:
    setup, rest = call()
    screen = SingleCall()
    screen.feed(setup)
    for byte in range(40):
        assert screen.feed(rest[byte : byte + 1]) == (b"", None, b"")


def test_another_path_is_shown_as_it_is() -> None:
    fields = [(name, "/shop.Admin/Drop" if name == ":path" else value) for name, value in HEAD]
    setup, rest = call(fields)
    assert SingleCall().feed(setup + rest).head == (b"POST", b"/shop.Admin/Drop")


def test_acknowledgements_and_credit_pass_on_both_sides_of_the_head() -> None:
    setup, rest = call()
    more = client()
    more.data_to_send()
    more.ping(b"12345678")
    more.increment_flow_control_window(1000)
    extra = more.data_to_send()
    screen = SingleCall()
    assert screen.feed(setup + extra).before == setup + extra
    screen.feed(rest)
    assert screen.feed(extra) == (extra, None, b"")


def test_a_second_call_is_no_single_call() -> None:
    setup, rest = call(calls=2)
    with pytest.raises(RemoteProtocolError, match="a second call"):
        SingleCall().feed(setup + rest)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "does not begin"),
        (b"PRI * HTTP/2.1\r\n", "does not begin"),
        (PREFACE + frame(0, 1, 1, b"x"), "type 0"),
        (PREFACE + frame(9, 4, 1, b"\x82"), "type 9"),
        (PREFACE + frame(5, 4, 1, b"\x82"), "type 5"),
        (PREFACE + frame(77, 0, 0, b""), "type 77"),
        (PREFACE + frame(4, 0, 0, b"")[:0] + b"\xff\xff\xff\x04\0\0\0\0\0", "a frame of"),
        (PREFACE + frame(1, 0, 1, b"\x82\x84"), "in pieces"),
        (PREFACE + frame(1, 4, 2, b"\x82\x84"), "no client opens"),
        (PREFACE + frame(1, 4, 1, b"\x82"), "without method and path"),
        (PREFACE + frame(1, 4, 1, b"\x82\x84\x84"), "or with two"),
        (PREFACE + frame(1, 4, 1, b"\xc0"), "static table"),
        (PREFACE + frame(1, 4, 1, b"\x7f"), "header block"),
        (PREFACE + frame(1, 4 | 8, 1, b"\x09\x82\x84"), "padding"),
        (PREFACE + frame(1, 4 | 8, 1, b""), "single|call|index"),
    ],
)
def test_what_is_no_call_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        SingleCall().feed(data)


def test_padding_and_priority_are_left_out_of_the_head() -> None:
    padded = frame(1, 4 | 8 | 0x20, 1, b"\x02" + b"\0\0\0\0\x10" + b"\x83\x84" + b"\0\0")
    assert SingleCall().feed(PREFACE + padded).head == (b"POST", b"/")


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_waited_for(data: bytes) -> None:
    try:
        SingleCall().feed(PREFACE + data)
    except RemoteProtocolError:
        return
