"""A worker that notes what it does: stands for `weft_agent.worker.__main__` in a copy of the agent, never in the agent.

Theory: the kernel sends SIGPROF after every few milliseconds of CPU time; the interpreter runs the handler between two
bytecodes, with the frame that was executing. Time in a call into C (a system call, OpenSSL, a regular expression) counts for
the Python function that made it. Results leave the sandbox by shared memory that was mapped before its walls went up. Where
a file `memory` lies beside, it is allocations that are noted instead, and SIGUSR1 asks for them.

Source: setitimer(2), the signal module's documentation ("Execution of Python signal handlers").
"""

import mmap
import os
import signal
import struct
import sys
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from weft_agent.proxy.dataplane import DataPlane
from weft_agent.worker.main import be_worker

INTERVAL_S = 0.002
SPACE_BYTES = 16 << 20
WRITE_EVERY = 20
FOLDER = Path(__file__).resolve().parents[3] / "samples"
"""Beside the copy of the agent."""
DEPTH = 12
"""Frames of an allocation's traceback."""
LINES = 400


class Notes:
    """Counts folded stacks and writes them where a reader outside finds them."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.ftruncate(descriptor, SPACE_BYTES)
        self._space = mmap.mmap(descriptor, SPACE_BYTES)
        os.close(descriptor)
        self._stacks: Counter[str] = Counter()
        self._taken = 0

    def sample(self, _number: int, frame: FrameType | None) -> None:
        """Note the stack that was interrupted, the innermost frame last, with its line."""
        names = []
        line = frame.f_lineno if frame is not None else 0
        while frame is not None:
            code = frame.f_code
            names.append(f"{code.co_filename}:{code.co_qualname}")
            frame = frame.f_back
        self._stacks[";".join(reversed(names)) + f"#{line}"] += 1
        self._taken += 1
        if self._taken % WRITE_EVERY == 0:
            self._write([f"{stack} {count}" for stack, count in self._stacks.items()])

    def allocations(self, _number: int, _frame: FrameType | None) -> None:
        """Write how much memory each line holds."""
        lines = []
        for found in tracemalloc.take_snapshot().statistics("traceback")[:LINES]:
            places = [f"{place.filename}:{place.lineno}" for place in reversed(found.traceback)]
            lines.append(f"{';'.join(reversed(places))} {found.size} {found.count}")
        self._write(lines)

    def _write(self, lines: Sequence[str]) -> None:
        data = "\n".join(lines).encode()[: SPACE_BYTES - 8]
        self._space[8 : 8 + len(data)] = data
        self._space[:8] = struct.pack("<Q", len(data))


def main(argv: Sequence[str]) -> int:
    """Be a worker with the real data plane, and take notes."""
    notes = Notes(FOLDER / str(os.getpid()))
    if (FOLDER / "memory").exists():
        tracemalloc.start(DEPTH)
        signal.signal(signal.SIGUSR1, notes.allocations)
    else:
        signal.signal(signal.SIGPROF, notes.sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    return be_worker(argv, DataPlane)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
