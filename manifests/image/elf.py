"""Which shared libraries a program or library asks for, so that an image that lacks one is noticed when it is made.

Source: elf(5): program headers, the dynamic section (DT_NEEDED, DT_STRTAB). 64-bit little-endian files only, which is what
the architectures of `debian.ARCHITECTURES` have.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final

from manifests.image.tree import File, Link, Node

_MAGIC: Final = b"\x7fELF\x02\x01"
_PT_LOAD: Final = 1
_PT_DYNAMIC: Final = 2
_DT_NULL: Final = 0
_DT_NEEDED: Final = 1
_DT_STRTAB: Final = 5


def missing_libraries(tree: Mapping[str, Node]) -> dict[str, list[str]]:
    """Return the libraries that are asked for and not there, with the files that ask; by file name, wherever it lies."""
    there = {path.rpartition("/")[2] for path, node in tree.items() if isinstance(node, File | Link)}
    found: dict[str, list[str]] = {}
    for path, node in tree.items():
        if isinstance(node, File):
            for name in needed(node.content):
                if name not in there:
                    found.setdefault(name, []).append(path)
    return found


def needed(data: bytes) -> list[str]:
    """Return the names of the libraries that a file asks for; none where it is no ELF file or asks for none."""
    if not data.startswith(_MAGIC):
        return []
    segments = list(_segments(data))
    dynamic = next((segment for segment in segments if segment[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return []
    _, offset, _, size = dynamic
    entries = [struct.unpack_from("<qQ", data, at) for at in range(offset, offset + size, 16)]
    end = next((index for index, (tag, _) in enumerate(entries) if tag == _DT_NULL), len(entries))
    strings = next((value for tag, value in entries[:end] if tag == _DT_STRTAB), None)
    if strings is None:
        return []
    start = _file_offset(segments, strings)
    return [_text(data, start + value) for tag, value in entries[:end] if tag == _DT_NEEDED]


def _segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield type, offset in the file, address and size of each segment."""
    (table,) = struct.unpack_from("<Q", data, 32)
    size, number = struct.unpack_from("<HH", data, 54)
    for index in range(number):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, table + index * size)
        yield kind, offset, address, length


def _file_offset(segments: list[tuple[int, int, int, int]], address: int) -> int:
    for kind, offset, start, size in segments:
        if kind == _PT_LOAD and start <= address < start + size:
            return offset + address - start
    return address


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()
