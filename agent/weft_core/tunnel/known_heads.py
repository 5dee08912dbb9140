"""Heads read, judged and encoded; short ones that come again and again only once.

Theory: the CONNECT heads of a workload's connections to one destination are the same bytes, and so are the answers. To read,
judge and encode them anew was 31 of the 77 us of CPU that opening, answering and ending a stream took in both engines
(perf/micro/tunnel.py). All of it is a pure function of the bytes, so what came out of it is kept, whoever sent it. Faults are
not kept, and long blocks are not, so a peer that sends ever new heads costs what it costs without this, and memory stays
below a megabyte.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from weft_core.errors import LocalProtocolError
from weft_core.facts import Header
from weft_core.tunnel import hpack
from weft_core.tunnel.breach import StreamBreachError
from weft_core.tunnel.heads import check_request, check_response

T = TypeVar("T")

SHORT_BYTES: Final = 256
"""Of a block: a CONNECT head with the longest names that Kubernetes allows for workload and version is a little longer."""
KEPT: Final = 512
"""Heads of a kind that a worker remembers: more destinations than most pods talk to at a time."""
_CONNECT: Final = (b":method", b"CONNECT")
"""Heads of ours that begin with it come from the configuration and are short; other requests are an application's."""


class Request(NamedTuple):
    """A request's head that passed."""

    headers: tuple[Header, ...]
    forward: bytes
    """The block as it may be sent on."""
    expected: int
    """Bytes of the body, or `heads.UNMEASURED`."""


class Response(NamedTuple):
    """A response's head that passed."""

    headers: tuple[Header, ...]
    forward: bytes
    status: int
    expected: int


class Encoded(NamedTuple):
    """A head of ours that passed."""

    block: bytes
    size: int
    """As SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
    status: int
    """Of a response; 0 for requests."""


def read_request(block: bytes, count: int, size_bytes: int, end_stream: bool) -> Request:
    """Read and check a request's block; arguments and errors as in `hpack.scan` and `heads.check_request`."""
    if len(block) <= SHORT_BYTES:
        return _known_request(block, count, size_bytes, end_stream)
    return _read_request(block, count, size_bytes, end_stream)


def read_response(block: bytes, count: int, size_bytes: int, end_stream: bool, method: bytes) -> Response:
    """Read and check a response's block; arguments and errors as in `hpack.scan` and `heads.check_response`."""
    if len(block) <= SHORT_BYTES:
        return _known_response(block, count, size_bytes, end_stream, method)
    return _read_response(block, count, size_bytes, end_stream, method)


def encode_request(headers: Sequence[Header], end_stream: bool, block: bytes | None) -> Encoded:
    """Check and encode a request's head of ours.

    Args:
        headers: pseudo headers first, names in lower case.
        end_stream: whether the request ends with it.
        block: the same head as it came on another stream; None: it has to be encoded.

    Raises:
        LocalProtocolError: the head is malformed.
    """
    if block is None and headers and headers[0] == _CONNECT:
        return _known_encoded_request(tuple(headers), end_stream)
    return _encode_request(headers, end_stream, block)


def encode_response(headers: Sequence[Header], end_stream: bool, block: bytes | None, method: bytes) -> Encoded:
    """Check and encode a response's head of ours; `method` is its request's, the rest as in `encode_request`."""
    if block is None and len(headers) == 1:
        return _known_encoded_response(headers[0], end_stream, method)
    return _encode_response(headers, end_stream, block, method)


def list_size(headers: Sequence[Header]) -> int:
    """Return the size of a head as SETTINGS_MAX_HEADER_LIST_SIZE counts it (RFC 9113 §6.5.2)."""
    return sum([len(name) + len(value) + hpack.FIELD_OVERHEAD_BYTES for name, value in headers])


def ours(check: Callable[[], T]) -> T:
    """Run a check on a head of ours.

    Raises:
        LocalProtocolError: it did not pass.
    """
    try:
        return check()
    except StreamBreachError as exc:
        raise LocalProtocolError(f"our own head: {exc}") from exc


def _read_request(block: bytes, count: int, size_bytes: int, end_stream: bool) -> Request:
    headers, forward = hpack.scan(block, count=count, size_bytes=size_bytes)
    return Request(tuple(headers), forward, check_request(headers, end_stream=end_stream))


def _read_response(block: bytes, count: int, size_bytes: int, end_stream: bool, method: bytes) -> Response:
    headers, forward = hpack.scan(block, count=count, size_bytes=size_bytes)
    return Response(tuple(headers), forward, *check_response(headers, end_stream=end_stream, method=method))


def _encode_request(headers: Sequence[Header], end_stream: bool, block: bytes | None) -> Encoded:
    ours(lambda: check_request(headers, end_stream=end_stream))
    return Encoded(hpack.encode(headers) if block is None else block, list_size(headers), 0)


def _encode_response(headers: Sequence[Header], end_stream: bool, block: bytes | None, method: bytes) -> Encoded:
    status, _ = ours(lambda: check_response(headers, end_stream=end_stream, method=method))
    return Encoded(hpack.encode(headers) if block is None else block, list_size(headers), status)


_known_request = lru_cache(maxsize=KEPT)(_read_request)
_known_response = lru_cache(maxsize=KEPT)(_read_response)


@lru_cache(maxsize=KEPT)
def _known_encoded_request(headers: tuple[Header, ...], end_stream: bool) -> Encoded:
    return _encode_request(headers, end_stream, None)


@lru_cache(maxsize=KEPT)
def _known_encoded_response(header: Header, end_stream: bool, method: bytes) -> Encoded:
    return _encode_response([header], end_stream, None, method)
