"""A page of 64-bit counters in shared memory: one process writes, another reads, nobody waits.

Theory: `page[i] += 1` is one load and one store of an aligned word, so a reader never sees half a number, and control reads
pages of workers that are busy or dead alike. A page has exactly one writer, therefore no lock.
"""

import mmap
from collections.abc import Sequence
from typing import Final

from weft_agent.channel import memfd

CELLS: Final = 256 * 1024
"""Enough for 10 000 series of which every second one is a histogram of 21 cells, and more; untouched pages cost nothing."""
CELL_BYTES: Final = 8
PAGE_BYTES: Final = CELLS * CELL_BYTES


def new_page(worker: int) -> int:
    """Return the descriptor of a zeroed page."""
    return memfd.shared(f"weft-counters-{worker}", PAGE_BYTES)


class CounterPage:
    """One mapped page.

    Args:
        fd: from `new_page`; stays the caller's.
    """

    __slots__ = ("_map", "cells")

    def __init__(self, fd: int) -> None:
        self._map: mmap.mmap = memfd.mapped(fd)
        self.cells = memoryview(self._map).cast("Q")
        """The cells; the hot path writes `cells[index] += n`."""

    def read(self, index: int, count: int) -> Sequence[int]:
        """Return the present value of `count` cells."""
        return self.cells[index : index + count].tolist()

    def close(self) -> None:
        """Unmap the page; its memory lives on where it is mapped or open elsewhere."""
        self.cells.release()
        self._map.close()
