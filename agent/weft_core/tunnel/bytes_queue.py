"""A queue of bytes that keeps large pieces as they came and small ones together.

Theory: what waits for credit, and what waits for a paused receiver, comes in pieces of any size. Large pieces stay objects of
their own, so that bulk is not copied twice; small ones are collected in one bytearray, so that a peer sending single bytes
costs us bytes and not objects. A bytearray is only extended while it is the last piece and whole: once a part of it was
taken, what is left is a memoryview, which nobody extends.
"""

from collections import deque
from typing import Final

from weft_core.tunnel.seams import Buffer

SMALL_BYTES: Final = 2048
COLLECTED_BYTES: Final = 16_384


class BytesQueue:
    """First in, first out. `size` is what it holds, in bytes."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[Buffer] = deque()
        self.size = 0

    def append(self, data: Buffer) -> None:
        """Add bytes; a copy is made of everything that could change."""
        size = len(data)
        if not size:
            return
        self.size += size
        pieces = self._pieces
        if size >= SMALL_BYTES:
            pieces.append(bytes(data))  # no copy where it is bytes already
            return
        last = pieces[-1] if pieces else None
        if type(last) is bytearray and len(last) < COLLECTED_BYTES:
            last += data
        else:
            pieces.append(bytearray(data))

    def take(self, size: int) -> list[Buffer]:
        """Remove and return the first `size` bytes in pieces; the queue must hold as many."""
        self.size -= size
        pieces = self._pieces
        taken: list[Buffer] = []
        while size:
            piece = pieces[0]
            length = len(piece)
            if length > size:
                view = memoryview(piece)
                taken.append(view[:size])
                pieces[0] = view[size:]
                break
            taken.append(pieces.popleft())
            size -= length
        return taken

    def pop(self) -> Buffer:
        """Remove and return the first piece; the queue must not be empty."""
        piece = self._pieces.popleft()
        self.size -= len(piece)
        return piece

    def clear(self) -> None:
        """Drop everything."""
        self._pieces.clear()
        self.size = 0
