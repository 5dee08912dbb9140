"""What must hold for any bytes whatever: shared by the property tests, the corpus replay and the long fuzz run.

Every function takes bytes and raises AssertionError if a promise is broken; each promise is written above its check.
"""

from random import Random

import h11

from weft_contract.limits import Limits
from weft_core.canonical import RULES as TARGET_RULES
from weft_core.canonical import Target, canonical_host, canonical_target
from weft_core.detect import sniff
from weft_core.errors import RemoteProtocolError
from weft_core.http1 import (
    CHUNKED,
    RULES,
    ChunkedDecoder,
    RequestHead,
    ResponseHead,
    parse_request,
    parse_response,
    request_bytes,
    response_bytes,
)
from weft_core.http1.request import slow_request
from weft_core.http1.response import slow_response
from weft_testing.http1_reader import LIMITS, Message, Reader, read

TE = b"transfer-encoding: chunked\r\n"


def cuts(data: bytes, rng: Random) -> list[bytes]:
    """Cut bytes at random places."""
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 6)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def seen(reader: Reader) -> list[tuple[RequestHead | ResponseHead, bytes, bytes]]:
    """Return what a reader saw of complete messages."""
    return [(message.head, message.body, message.trailers) for message in reader.messages if message.complete]


def check_connection(data: bytes, method: bytes | None, rng: Random) -> Reader:
    """Check everything about the bytes of one direction of a connection."""
    whole = read([data], method)
    # any cutting gives the same messages, and refuses if and only if the whole is refused
    cut = read(cuts(data, rng), method)
    assert seen(cut) == seen(whole)
    assert (cut.refused is None) == (whole.refused is None)
    # a refusal names its rule
    if whole.refused is not None:
        assert whole.refused.detail in RULES
    for message in whole.messages:
        check_message(message, method)
    return whole


def check_message(message: Message, method: bytes | None) -> None:
    """Check what is forwarded for one accepted message: strict parsers read it as we did."""
    head = message.head
    extra = TE if head.length == CHUNKED else b""
    if isinstance(head, RequestHead):
        sent = request_bytes(head.method, head.target, head.minor, head.block, extra)
    else:
        sent = response_bytes(head.status, head.reason, head.block, extra)
    again = parse_request(sent, LIMITS) if method is None else parse_response(sent, LIMITS, method)
    # what we forward we would accept, with the same meaning and nothing left to remove
    assert again is not None
    assert again.size == len(sent)
    if not (isinstance(head, ResponseHead) and head.minor == 0):  # our version line says 1.1
        assert again.length == head.length
    names = {name for name, _ in again.headers()}
    assert not names & {b"connection", b"keep-alive", b"te", b"upgrade", b"http2-settings", b"proxy-connection"}
    assert not any(name.startswith((b"weft-", b"weft_")) for name in names)
    if head.length == CHUNKED and message.complete:
        check_framed(message)


def check_framed(message: Message) -> None:
    """Check that forwarded chunks carry the payload, are canonical, and mean the same to h11."""
    decoder = ChunkedDecoder(LIMITS, decode=True, response=True)
    pieces, finished, taken = decoder.feed(message.framed)
    assert finished
    assert taken == len(message.framed)
    assert b"".join(pieces) == message.body
    # canonical framing passes unchanged, and as one piece when there are no trailers
    again, _, _ = ChunkedDecoder(LIMITS, response=True).feed(message.framed)
    assert b"".join(again) == message.framed
    if not message.trailers:
        assert len(again) == 1


def check_fast_equals_slow(data: bytes, method: bytes | None) -> None:
    """Fast accepts implies slow accepts, with an equal result; fast refuses implies slow refuses by the same rule."""
    end = data.find(b"\r\n\r\n")
    if end < 0 or end + 4 > LIMITS.head_bytes:
        return
    fast: object
    slow: object
    try:
        fast = parse_request(data, LIMITS) if method is None else parse_response(data, LIMITS, method)
    except RemoteProtocolError as exc:
        fast = exc.detail
    try:
        slow = slow_request(data, end, LIMITS) if method is None else slow_response(data, end, LIMITS, method)
    except RemoteProtocolError as exc:
        slow = exc.detail
    assert fast == slow


def check_chunks(data: bytes, rng: Random) -> None:
    """Check a chunked body: any cutting, both modes, canonical output."""
    check_connection(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data, None, rng)
    check_connection(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data, b"GET", rng)


def check_target(target: bytes) -> None:
    """A target is refused by name, or has one reading that stays as it is when read again and never leaves the root."""
    for keep in (False, True):
        found = _target(target, keep)
        if found is None:
            continue
        assert found.path.startswith(b"/")
        assert canonical_target(found.forward, keep_escaped_slashes=keep).forward == found.forward
        assert canonical_target(found.forward, keep_escaped_slashes=keep).path == found.path
        assert canonical_target(found.path, keep_escaped_slashes=keep).forward == found.path
        segments = found.path.split(b"/")[1:]
        assert not {b".", b".."} & set(segments)
        assert b"" not in segments[:-1]
        assert b";" not in found.path
        forwarded, _, query = found.forward.partition(b"?")
        assert query == found.query
        assert b"/".join(segment.partition(b";")[0] for segment in forwarded.split(b"/")) == found.path
        # what is forwarded is a target that the parser takes
        assert parse_request(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % found.forward, Limits(target_bytes=30_000))


def _target(target: bytes, keep: bool) -> Target | None:
    refused = None
    try:
        return canonical_target(target, keep_escaped_slashes=keep)
    except RemoteProtocolError as exc:
        refused = exc
    assert refused.detail in TARGET_RULES
    return None


def check_host(host: bytes) -> None:
    """A host is refused by name, or has one reading that stays as it is when read again."""
    refused = None
    try:
        found = canonical_host(host)
    except RemoteProtocolError as exc:
        refused = exc
    else:
        assert canonical_host(found) == found
        assert found == found.lower()
    assert refused is None or refused.detail == "bad_host"


def check_sniff(data: bytes) -> None:
    """Detection never raises, and never takes back an answer when more bytes arrive."""
    answer = None
    for end in range(1, len(data) + 1):
        now = sniff(data[:end], LIMITS)
        if answer is not None:
            assert now == answer
        answer = now


def as_h11_can(data: bytes, reader: Reader) -> bytes:
    """Return the requests that were read, as far and in the way that h11 0.16 takes what the RFC lets pass.

    Without the one empty line before a request (RFC 9112 §2.2 wants it ignored), and up to the first HTTP/1.0 request
    (h11 keeps no HTTP/1.0 connection alive; RFC 9112 §9.3 and §C.2.2 let it).
    """
    ends = [*(message.start for message in reader.messages[1:]), reader.consumed]
    taken = b""
    for message, end in zip(reader.messages, ends, strict=True):
        taken += data[message.start : end].removeprefix(b"\r\n")
        if message.head.minor == 0:
            break
    return taken


def check_h11(data: bytes, method: bytes | None) -> None:
    """What we accept, h11 accepts: we may be stricter, never laxer.

    Not compared: 101, which h11 refuses if it was not asked for; of ours, only the session knows that.
    """
    reader = read([data], method)
    switched = any(isinstance(message.head, ResponseHead) and message.head.status == 101 for message in reader.messages)
    if reader.refused is None and reader.messages and not reader.incomplete and not switched:
        plain = as_h11_can(data, reader) if method is None else data[: reader.consumed]
        assert h11_refuses(plain, method) is None


def h11_refuses(data: bytes, method: bytes | None) -> str | None:
    """Return why h11 refuses the bytes of a connection, or None if it takes them (complete or not)."""
    try:
        if method is None:
            _h11_server(data)
        else:
            _h11_client(data, method)
    except h11.RemoteProtocolError as exc:
        return str(exc)
    return None


def _h11_server(data: bytes) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            return
        if event is h11.PAUSED:  # a whole request is there: answer it and go on with the next
            connection.send(h11.Response(status_code=403, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


def _h11_client(data: bytes, method: bytes) -> None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if event is h11.PAUSED or event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed | h11.EndOfMessage):
            return
