"""What the demo server answers to which path. Pure: from a request's head to a plan for the answer."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal

MAX_BYTES: Final = 16 * 1024 * 1024 * 1024
MAX_DELAY_S: Final = 600.0
_BLOCK: Final = bytes(range(256)) * 256
_CHUNK_BYTES: Final = 16 * 1024

Kind = Literal["text", "bytes", "chunked", "echo", "upgrade", "abort"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server sees of a request."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    peer_address: str
    peer_port: int
    local_address: str
    local_port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """How to answer."""

    kind: Kind = "text"
    status: int = 200
    body: bytes = b""
    length: int = 0
    """For `bytes` and `chunked`."""
    delay_s: float = 0.0
    close: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(("content-type", "application/json"),))


def answer(seen: Seen, about: dict[str, str], status: int = HTTPStatus.OK) -> Answer:
    """Decide what to answer.

    Args:
        seen: the request.
        about: what the server knows of itself: pod, namespace, node.
        status: of answers whose path asks for nothing in particular.
    """
    path = seen.target.partition("?")[0]
    _, _, rest = path.partition("/")
    word, _, argument = rest.partition("/")
    body = describe(seen, about)
    match word:
        case "status":
            return _status(argument, body)
        case "bytes":
            return _sized("bytes", argument)
        case "chunked":
            return _sized("chunked", argument)
        case "delay":
            return _delay(argument, body)
        case "echo":
            return Answer(kind="echo", headers=())
        case "close":
            return Answer(body=body, close=True)
        case "abort":
            return Answer(kind="abort")
        case "upgrade":
            return _upgrade(seen)
        case _:
            return Answer(status=status, body=body)


def describe(seen: Seen, about: dict[str, str]) -> bytes:
    """Return the JSON that tells a client what the server sees."""
    told = {
        **about,
        "peer": seen.peer_address,
        "peerPort": seen.peer_port,
        "local": seen.local_address,
        "localPort": seen.local_port,
        "method": seen.method,
        "path": seen.target,
        "headers": joined(seen.headers),
    }
    return json.dumps(told, indent=1).encode() + b"\n"


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return header fields by name; of a field that is there several times, all values in order."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return {name: ", ".join(values) for name, values in found.items()}


def blocks(length: int, size: int = len(_BLOCK)) -> Iterator[bytes]:
    """Yield so many bytes of a fixed pattern."""
    while length > 0:
        block = _BLOCK[: min(length, size)]
        yield block
        length -= len(block)


def chunks(length: int) -> Iterator[bytes]:
    """Yield so many bytes in pieces that become one chunk each."""
    return blocks(length, _CHUNK_BYTES)


def _status(argument: str, body: bytes) -> Answer:
    if not argument.isdecimal() or not 200 <= int(argument) <= 599:
        return _wrong("give a status from 200 to 599: /status/503")
    status = int(argument)
    bodyless = status in {HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED}
    return Answer(status=status, body=b"" if bodyless else body)


def _sized(kind: Literal["bytes", "chunked"], argument: str) -> Answer:
    if not argument.isdecimal() or int(argument) > MAX_BYTES:
        return _wrong(f"give a number of bytes: /{kind}/1024")
    return Answer(kind=kind, length=int(argument), headers=(("content-type", "application/octet-stream"),))


def _delay(argument: str, body: bytes) -> Answer:
    try:
        delay_s = float(argument)
    except ValueError:
        delay_s = -1.0
    if not 0 <= delay_s <= MAX_DELAY_S:
        return _wrong("give seconds: /delay/0.5")
    return Answer(body=body, delay_s=delay_s)


def _upgrade(seen: Seen) -> Answer:
    wished = next((value for name, value in seen.headers if name == "upgrade"), "")
    if not wished:
        return Answer(status=426, body=b'{"error": "ask for an upgrade"}\n', headers=(("upgrade", "echo"),))
    return Answer(kind="upgrade", status=101, headers=(("upgrade", wished), ("connection", "upgrade")))


def _wrong(remedy: str) -> Answer:
    return Answer(status=400, body=json.dumps({"error": remedy}).encode() + b"\n")
