"""A hosts file that is changed in place while programs read it. Pure: it says which bytes to write where.

Theory: the file is bind-mounted into containers, so it cannot be replaced by renaming; it must be written in place, and a
reader may look at any moment. Therefore a line never moves: new lines are appended, a line that is gone is overwritten by
a comment of its length. Whoever reads during a change sees every line that was there before and stays, whole. Once dead
lines outweigh living ones by far, the file is written anew (`compact`), which is the only moment a reader may stumble.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from weft_lab.plan.hostnames import HostEntry

_DEAD_BYTES_ALLOWED: Final = 64 * 1024
"""About a thousand lines; a lab that churns so much is compacted."""

_FILLER_LINE: Final = 80


class Patch(NamedTuple):
    """Bytes to write at an offset."""

    offset: int
    data: bytes


class HostsFile:
    """Content of one hosts file and the way from one state to the next."""

    def __init__(self, entries: Iterable[HostEntry] = ()) -> None:
        self._data = bytearray()
        self._at: dict[str, int] = {}
        self._end = 0
        self._dead = 0
        self.patches(entries)

    def patches(self, entries: Iterable[HostEntry]) -> list[Patch]:
        """Return the writes that lead to exactly these entries, additions first, so that no name is missing meanwhile."""
        wanted = dict.fromkeys(entry.line() for entry in entries)
        added = [self._append(line) for line in wanted if line not in self._at]
        removed = [self._kill(line) for line in list(self._at) if line not in wanted]
        if self._dead > max(_DEAD_BYTES_ALLOWED, self._end // 2):
            return [self._compact()]
        return added + removed

    def content(self) -> bytes:
        """Return the whole file."""
        return bytes(self._data)

    def _append(self, line: str) -> Patch:
        patch = Patch(self._end, line.encode())
        self._at[line] = self._end
        self._end += len(patch.data)
        return self._write(patch)

    def _kill(self, line: str) -> Patch:
        length = len(line.encode())
        self._dead += length
        return self._write(Patch(self._at.pop(line), _filler(length)))

    def _compact(self) -> Patch:
        """Write the living lines to the front and blank the rest: the file keeps its size, so no tail is left over."""
        living = "".join(self._at).encode()
        lines, self._at, self._end, self._dead = list(self._at), {}, 0, 0
        for line in lines:
            self._at[line] = self._end
            self._end += len(line.encode())
        return self._write(Patch(0, living + _filler(len(self._data) - len(living))))

    def _write(self, patch: Patch) -> Patch:
        self._data[patch.offset : patch.offset + len(patch.data)] = patch.data
        return patch


def _filler(length: int) -> bytes:
    """Return comment lines of 80 bytes at most that fill a gap; any length is possible, one byte is an empty line."""
    whole, rest = divmod(length, _FILLER_LINE)
    return (b"#" * (_FILLER_LINE - 1) + b"\n") * whole + (b"#" * (rest - 1) + b"\n" if rest else b"")
