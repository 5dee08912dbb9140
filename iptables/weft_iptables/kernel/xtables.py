"""The legacy iptables tables of this namespace, read by socket option: rules as bytes that can be compared.

Theory. The kernel gives a table as one block of entries, each with matches and a target. Two entries are equal when their
bytes are, once the counters and the kernel's scratch field are zeroed, jumps name their chain instead of an offset in the
block, and set matches name their set instead of its number. A chain of the user's begins with an ERROR target that carries
its name; a built-in chain begins at its hook's offset.

Source: include/uapi/linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h, netfilter/x_tables.h.
"""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

HOOKS: Final = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
Normalise = Callable[[str, bytes], bytes]
"""Given the name of a match or target and its data, returns the data to compare."""

_GET_INFO: Final = 64
_GET_ENTRIES: Final = 65
_NAME_BYTES: Final = 32
_ENTRIES_AT: Final = 40
_ATTEMPTS: Final = 5

_info = struct.Struct("=32sI5I5III")
_part = struct.Struct("=H29sB")
_verdict = struct.Struct("=i")
_counts = struct.Struct("=QQ")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the fields of an entry are; the two families differ in the size of the addresses."""

    level: int
    family: socket.AddressFamily
    target_offset: int
    counters: int
    parts: int

    @property
    def scratch(self) -> slice:
        """`comefrom`, which the kernel uses while it checks a table."""
        return slice(self.target_offset + 4, self.target_offset + 8)


_LAYOUTS: Final[dict[Literal[4, 6], _Layout]] = {
    4: _Layout(socket.SOL_IP, socket.AF_INET, target_offset=88, counters=96, parts=112),
    6: _Layout(socket.IPPROTO_IPV6, socket.AF_INET6, target_offset=140, counters=152, parts=168),
}


@dataclass(frozen=True, slots=True)
class XtRule:
    """A rule of a chain, in the kernel's order."""

    chain: str
    body: bytes
    packets: int
    octets: int
    jump: str
    """The chain it jumps to without condition, else empty."""


def table_names(family: Literal[4, 6]) -> frozenset[str]:
    """Return the legacy tables that exist in this namespace; reading one that does not exist would make it."""
    path = Path("/proc/thread-self/net") / ("ip_tables_names" if family == 4 else "ip6_tables_names")
    try:
        return frozenset(path.read_text().split())
    except FileNotFoundError:
        return frozenset()


def rules(family: Literal[4, 6], table: str, normalise: Normalise) -> tuple[frozenset[str], list[XtRule]]:
    """Return the chains of a table (built-in and own) and its rules.

    Raises:
        OSError: the kernel's answer; EAGAIN if the table changed at every attempt.
    """
    layout = _LAYOUTS[family]
    with socket.socket(layout.family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as raw:
        for _ in range(_ATTEMPTS):
            try:
                hooks, block = _read(raw, layout, table)
            except BlockingIOError:
                continue
            return _parse(block, hooks, layout, normalise)
    raise BlockingIOError(errno.EAGAIN, f"table {table} changed while it was read, {_ATTEMPTS} times")


def _read(raw: socket.socket, layout: _Layout, table: str) -> tuple[dict[int, str], bytes]:
    name = table.encode().ljust(_NAME_BYTES, b"\0")
    fields = _info.unpack(_getsockopt(raw, layout.level, _GET_INFO, name.ljust(_info.size, b"\0")))
    valid, entries, size = fields[1], fields[2:7], fields[13]
    hooks = {entries[number]: HOOKS[number] for number in range(5) if valid & (1 << number)}
    request = (name + struct.pack("=I", size)).ljust(_ENTRIES_AT + size, b"\0")
    return hooks, _getsockopt(raw, layout.level, _GET_ENTRIES, request)[_ENTRIES_AT:]


def _parse(
    block: bytes, hooks: dict[int, str], layout: _Layout, normalise: Normalise
) -> tuple[frozenset[str], list[XtRule]]:
    """Cut the block into chains and these into rules; the last entry of a chain is its policy or its return."""
    chains: list[tuple[str, list[bytes]]] = []
    starts: dict[int, str] = {}
    for offset, entry in _entries(block, layout):
        name = _error_name(entry, layout)
        if name:
            chains.append((name, []))
            starts[offset + len(entry)] = name
            continue
        if offset in hooks:
            chains.append((hooks[offset], []))
            starts[offset] = hooks[offset]
        chains[-1][1].append(entry)
    found = [_rule(name, entry, layout, starts, normalise) for name, entries in chains for entry in entries[:-1]]
    return frozenset(name for name, _ in chains) - {"ERROR"}, found


def _entries(block: bytes, layout: _Layout) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(block):
        (length,) = struct.unpack_from("=H", block, offset + layout.target_offset + 2)
        yield offset, block[offset : offset + length]
        offset += length


def _error_name(entry: bytes, layout: _Layout) -> str:
    """Return the name that an ERROR target carries: a chain's, or ERROR itself at the end of the table."""
    (target,) = struct.unpack_from("=H", entry, layout.target_offset)
    _, name, _ = _part.unpack_from(entry, target)
    return _text(entry[target + _part.size :]) if _text(name) == "ERROR" else ""


def _rule(chain: str, entry: bytes, layout: _Layout, starts: dict[int, str], normalise: Normalise) -> XtRule:
    head = bytearray(entry[: layout.counters])
    head[layout.scratch] = bytes(4)
    (target,) = struct.unpack_from("=H", entry, layout.target_offset)
    packets, octets = _counts.unpack_from(entry, layout.counters)
    body = [bytes(head)]
    offset = layout.parts
    while offset < len(entry):
        length, name, revision = _part.unpack_from(entry, offset)
        body.append(
            _part.pack(0, name, revision) + normalise(_text(name), entry[offset + _part.size : offset + length])
        )
        offset += length
    jump = ""
    if not _text(_part.unpack_from(entry, target)[1]):
        (verdict,) = _verdict.unpack_from(entry, target + _part.size)
        if verdict >= 0:
            body[-1] = b"jump " + starts.get(verdict, "?").encode()
            jump = starts.get(verdict, "?") if len(body) == 2 and not any(head[: layout.target_offset - 4]) else ""
    return XtRule(chain, b"".join(body), packets, octets, jump)


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode("ascii", "backslashreplace")


_libc: Final = ctypes.CDLL(None, use_errno=True)


def _getsockopt(raw: socket.socket, level: int, option: int, request: bytes) -> bytes:
    """Call getsockopt with a buffer that also carries the question, which Python's own cannot."""
    buffer = ctypes.create_string_buffer(request, len(request))
    length = ctypes.c_uint(len(request))
    if _libc.getsockopt(raw.fileno(), level, option, buffer, ctypes.byref(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw[: length.value]
