"""The fuzz targets of HTTP/1.1, canonical forms and detection: seeds, promises, and what counts as a new outcome."""

from collections.abc import Hashable
from random import Random

from weft_core.canonical import canonical_host, canonical_target
from weft_core.detect import sniff
from weft_core.errors import RemoteProtocolError
from weft_core.http1 import RequestHead
from weft_testing.fuzzing import FuzzTarget
from weft_testing.hellos import alpn, message, records, server_name
from weft_testing.http1_mutations import CHUNK_SEEDS, HOST_SEEDS, REQUEST_SEEDS, RESPONSE_SEEDS, TARGET_SEEDS
from weft_testing.http1_properties import (
    check_chunks,
    check_connection,
    check_fast_equals_slow,
    check_h11,
    check_host,
    check_sniff,
    check_target,
)
from weft_testing.http1_reader import LIMITS, Reader, read

METHODS = (b"GET", b"HEAD", b"CONNECT")


def outcome(reader: Reader) -> Hashable:
    """Tell apart what happened: the rule, and the shape of every message."""
    shapes = tuple(
        (
            message.head.length if message.head.length < 2 else 2,
            message.head.keep_alive,
            message.head.raw,
            bool(message.head.upgrade),
            message.head.method if isinstance(message.head, RequestHead) and len(message.head.method) < 8 else b"",
            message.complete,
            bool(message.trailers),
        )
        for message in reader.messages[:3]
    )
    return reader.rule, reader.incomplete, shapes


def check_requests(data: bytes, rng: Random) -> Hashable:
    check_fast_equals_slow(data, None)
    reader = check_connection(data, None, rng)
    check_h11(data, None)
    return outcome(reader)


def check_responses(data: bytes, rng: Random) -> Hashable:
    method = rng.choice(METHODS)
    check_fast_equals_slow(data, method)
    reader = check_connection(data, method, rng)
    if method != b"CONNECT":
        check_h11(data, method)
    return method, outcome(reader)


def check_chunked(data: bytes, rng: Random) -> Hashable:
    check_chunks(data, rng)
    request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data
    check_h11(request, None)
    reader = read([request])
    message = reader.messages[0]
    return outcome(reader), len(message.body).bit_length(), message.framed == data


def check_targets(data: bytes, _rng: Random) -> Hashable:
    check_target(data)
    try:
        found = canonical_target(data)
    except RemoteProtocolError as exc:
        return exc.detail
    return (
        found.form,
        found.forward == data,
        found.path == data,
        found.path.count(b"/"),
        b";" in data,
        b"%" in found.path,
    )


def check_hosts(data: bytes, _rng: Random) -> Hashable:
    check_host(data)
    try:
        found = canonical_host(data)
    except RemoteProtocolError as exc:
        return exc.detail
    return found == data, found[:1] == b"[", b":" in data


def check_detection(data: bytes, _rng: Random) -> Hashable:
    check_sniff(data)
    found = sniff(data, LIMITS)
    return None if found is None else (found.kind, found.hello and (bool(found.hello.sni), len(found.hello.alpn)))


HELLO = message(server_name(b"a.example"), alpn(b"weft/1"))
TARGETS = (
    FuzzTarget("h1_head", REQUEST_SEEDS, check_requests),
    FuzzTarget("h1_response", tuple(data for data, _ in RESPONSE_SEEDS), check_responses),
    FuzzTarget("h1_chunk", CHUNK_SEEDS, check_chunked),
    FuzzTarget("path_canonical", TARGET_SEEDS, check_targets),
    FuzzTarget("authority", HOST_SEEDS, check_hosts),
    FuzzTarget(
        "protocol_detect",
        (
            records(HELLO),
            records(HELLO, 20),
            b"GET / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"CONNECT {}\r\n",
        ),
        check_detection,
    ),
)
