"""Memory that is handed over by descriptor: sealed bytes (keys, updates) and shared pages that nobody can shrink.

Theory: whoever maps a file that another process may truncate can be killed with SIGBUS. So every memory that control maps
is created by control, sealed against shrinking and growing, and checked again (`is_shared`) when a worker hands it back.

Source: memfd_create(2), fcntl(2) "File sealing".
"""

import fcntl
import mmap
import os
from typing import Final

_SIZE_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_ALL_SEALS: Final = _SIZE_SEALS | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def sealed(name: str, data: bytes) -> int:
    """Return a descriptor of memory that holds `data` and can never change.

    Args:
        name: shown in `/proc/<pid>/fd`, for humans.
        data: the content.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _ALL_SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def content(fd: int) -> bytes:
    """Return everything a sealed memory holds; the descriptor's own offset is neither used nor moved."""
    size = os.fstat(fd).st_size
    pieces: list[bytes] = []
    offset = 0
    while offset < size and (piece := os.pread(fd, size - offset, offset)):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def shared(name: str, size_bytes: int) -> int:
    """Return a descriptor of zeroed memory of a fixed size, for several processes to map and write."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SIZE_SEALS | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_shared(fd: int, size_bytes: int) -> bool:
    """Tell whether `fd` is memory of exactly this size that can no longer be shrunk."""
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:  # not a memfd at all
        return False
    return seals & _SIZE_SEALS == _SIZE_SEALS and os.fstat(fd).st_size == size_bytes


def mapped(fd: int) -> mmap.mmap:
    """Map shared memory for reading and writing; the descriptor may be closed afterwards."""
    return mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
