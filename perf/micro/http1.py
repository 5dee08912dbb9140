"""Micro benchmark of the HTTP/1.1 hot path: µs per head, body, target and first look. Run it alone on a core.

    PYTHONPATH=agent python perf/micro/http1.py

Prints one line per case, best of nine rounds (CPU time of this process), with the loop's own cost taken off, and the bar
where there is one. A whole proxied request costs about 25 µs, of which the kernel takes 13.
"""

import time
from collections.abc import Callable

from weft_contract.limits import Limits
from weft_core.canonical import canonical_host, canonical_target
from weft_core.canonical.path import canonical_path
from weft_core.detect import sniff
from weft_core.http1 import ChunkedDecoder, parse_request, parse_response, request_bytes, response_bytes

ROUNDS = 9
LOOPS = 30_000
LIMITS = Limits()

FIELDS = (
    b"Host: 127.0.0.1:8080\r\n"
    b"user-agent: wrk-bench/1.0\r\n"
    b"accept: */*\r\n"
    b"x-b3-traceid: 80f198ee56343ba864fe8b2a57d3eff7\r\n"
    b"authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqr\r\n"
)
GET = b"GET /api/v1/items?id=7&color=blue HTTP/1.1\r\n" + FIELDS + b"\r\n"
KEEP_ALIVE = b"GET /api/v1/items HTTP/1.1\r\n" + FIELDS + b"Connection: keep-alive\r\n\r\n"
POST = b"POST /api/v1/items HTTP/1.1\r\n" + FIELDS + b"Content-Length: 13\r\n\r\nhello, world!"
CHUNKED = b"POST /api/v1/items HTTP/1.1\r\n" + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n"
RARE = b"\r\n" + GET
RESPONSE = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: nginx\r\n"
    b"Date: Sat, 21 Nov 2026 07:00:00 GMT\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: 13\r\n"
    b"X-Request-Id: 80f198ee56343ba8\r\n"
    b"\r\nhello, world!"
)
RESPONSE_CHUNKED = RESPONSE.replace(b"Content-Length: 13", b"Transfer-Encoding: chunked")
CHUNKS = memoryview(bytearray((b"1000\r\n" + b"x" * 4096 + b"\r\n") * 16))
SMALL_CHUNKED = b"d\r\nhello, world!\r\n0\r\n\r\n"


def measure(name: str, step: Callable[[], object], *, bar_us: float = 0.0) -> None:
    def empty() -> None:
        return None

    floor = min(_spent(empty) for _ in range(ROUNDS))
    best = min(_spent(step) for _ in range(ROUNDS))
    spent_us = (best - floor) / LOOPS * 1e6
    bar = f"   bar {bar_us:.1f} {'held' if spent_us <= bar_us else 'MISSED'}" if bar_us else ""
    print(f"{name:62} {spent_us:8.2f} us{bar}")


def _spent(step: Callable[[], object]) -> float:
    start = time.process_time()
    for _ in range(LOOPS):
        step()
    return time.process_time() - start


def heads() -> None:
    view = memoryview(bytearray(GET))
    measure(f"request head, GET with 5 fields, {len(GET)} B", lambda: parse_request(GET, LIMITS), bar_us=3.0)
    measure("  the same from a view of a receive buffer", lambda: parse_request(view, LIMITS), bar_us=3.0)
    measure("  with Content-Length", lambda: parse_request(POST, LIMITS))
    measure("  with Connection: keep-alive (removed)", lambda: parse_request(KEEP_ALIVE, LIMITS))
    measure("  with Transfer-Encoding: chunked", lambda: parse_request(CHUNKED, LIMITS))
    measure("  with an empty line before it: the slow way", lambda: parse_request(RARE, LIMITS))
    measure("  incomplete, first 200 B", lambda: parse_request(GET[:200], LIMITS))
    measure("response head, 5 fields", lambda: parse_response(RESPONSE, LIMITS, b"GET"), bar_us=2.0)
    measure("  chunked", lambda: parse_response(RESPONSE_CHUNKED, LIMITS, b"GET"))
    request = parse_request(GET, LIMITS)
    response = parse_response(RESPONSE, LIMITS, b"GET")
    assert request is not None
    assert response is not None
    measure("request_bytes", lambda: request_bytes(request.method, request.target, 1, request.block))
    measure("response_bytes", lambda: response_bytes(200, b"OK", response.block))
    measure("all fields as values (policy conditions)", request.headers)


def bodies() -> None:
    endless = ChunkedDecoder(LIMITS)
    measure("chunked: 16 chunks of 4 KiB in one view", lambda: endless.feed(CHUNKS))
    measure("chunked: a whole small body, decoder included", lambda: ChunkedDecoder(LIMITS).feed(SMALL_CHUNKED))


def names() -> None:
    measure("canonical target, seen before", lambda: canonical_target(b"/api/v1/items"), bar_us=0.3)
    measure("  with a query", lambda: canonical_target(b"/api/v1/items?id=7"), bar_us=0.3)
    measure("  never seen, canonical", lambda: canonical_path(b"/api/v1/items/17", keep_escaped_slashes=False))
    measure("  never seen, to be changed", lambda: canonical_path(b"/a/%2e./b//%7e", keep_escaped_slashes=False))
    measure("canonical host, seen before", lambda: canonical_host(b"127.0.0.1:8080"))
    measure("first look: HTTP/1", lambda: sniff(GET, LIMITS))
    measure("first look: opaque", lambda: sniff(b"\x00\x00\x00\x10abcd", LIMITS))


def main() -> None:
    heads()
    bodies()
    names()


if __name__ == "__main__":
    main()
