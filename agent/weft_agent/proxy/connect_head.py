"""The head that opens a CONNECT stream on a tunnel, and the one that answers it: what two agents tell each other.

Theory: the destination is the tunnel's own original destination, repeated so that a mistake shows (`hbone_ip_mismatch`);
identity is the certificate's, never a header's. What else is said is a hint (`weft-protocol`) or for telemetry
(`weft-source`), and wrong hints can only make the answer stricter: bytes called HTTP are parsed strictly, bytes called
opaque match no HTTP rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from weft_core.errors import ConnectFailedError, NoEndpointsError, PolicyRevokedError, UpstreamError, WeftError
from weft_core.facts import Header

Kind = Literal["http1", "opaque"]

_REASON_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class ConnectHead:
    """A request to connect."""

    address: str
    port: int
    kind: Kind
    source: str
    """`workload;app;version` of the caller, for telemetry."""


class RefusedByPeerError(PolicyRevokedError):
    """The destination's agent refused the connection by policy."""

    reason = "refused_by_destination"


@lru_cache(maxsize=1024)
def request_head(address: str, port: int, kind: Kind, source: str) -> tuple[Header, ...]:
    """Return the headers that open a stream; the same ones for all connections of a workload to a destination."""
    return (
        (b":method", b"CONNECT"),
        (b":authority", authority(address, port)),
        (b"weft-protocol", kind.encode()),
        (b"weft-source", source.encode("ascii", "replace")),
    )


def authority(address: str, port: int) -> bytes:
    """Return `ip:port`, IPv6 in brackets."""
    return (f"[{address}]:{port}" if ":" in address else f"{address}:{port}").encode()


def read_request(headers: Sequence[Header], expected: bytes) -> ConnectHead | str:
    """Read a peer's request.

    Args:
        headers: as received, validated as HTTP/2 by the tunnel.
        expected: authority of the tunnel's original destination.

    Returns:
        What it asks for, or why it is refused.
    """
    found = dict(headers)
    if found.get(b":method") != b"CONNECT":
        return "only CONNECT streams are taken"
    if found.get(b":authority") != expected:
        return f"stream asks for {found.get(b':authority', b'')!r:.80}, the tunnel leads to {expected!r}"
    kind: Kind = "http1" if found.get(b"weft-protocol") == b"http1" else "opaque"
    address, _, port = expected.decode().rpartition(":")
    return ConnectHead(address.strip("[]"), int(port), kind, found.get(b"weft-source", b"").decode("latin-1"))


ACCEPTED: Final[list[Header]] = [(b":status", b"200")]


def refusal_head(status: int, reason: str, detail: str) -> list[Header]:
    """Return the header list that refuses a stream."""
    text = "".join(ch if " " <= ch <= "~" else "?" for ch in detail)[:_REASON_MAX].strip()
    head = [(b":status", b"%d" % status), (b"weft-reason", reason.encode())]
    return [*head, (b"weft-detail", text.encode())] if text else head


def read_answer(headers: list[Header]) -> WeftError | None:
    """Return None if the stream was accepted, else what to make of the refusal."""
    found = dict(headers)
    status = found.get(b":status", b"")
    if status == b"200":
        return None
    reason = found.get(b"weft-reason", b"?").decode("latin-1")
    detail = found.get(b"weft-detail", b"").decode("latin-1")
    text = f"destination's agent answered {status.decode('latin-1')} {reason}: {detail}"
    kinds: dict[bytes, type[UpstreamError]] = {b"503": ConnectFailedError, b"404": NoEndpointsError}
    return kinds[status](text) if status in kinds else RefusedByPeerError(text)
