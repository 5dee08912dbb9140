"""A clock that jumps over idle time, but never over packets that are still on their way through loopback.

Theory: `trio.testing.MockClock` jumps when every task is blocked. With real sockets that is also so while a packet waits in
the kernel, which takes milliseconds on a busy machine; the clock then jumps to a timeout that should not have come. So
before each jump all packets are waited for; if one of them woke a task, there is no jump. The tests stay on
`wire.one_processor`, whose queue of packets is first in, first out.
"""

from typing import Any

import trio
from trio.testing import MockClock

from weft_testing.wire import Marker


class _Steps(trio.abc.Instrument):
    """Notes that a task ran."""

    def __init__(self) -> None:
        self.ran = True

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.ran = True


def delivered_clock() -> MockClock:
    """Return such a clock; of one trio run."""
    clock: Any = MockClock(autojump_threshold=0)
    jump = clock._autojump  # MockClock is final, and this is the only place where it decides
    steps = _Steps()

    def jump_when_delivered() -> None:
        if steps.ran:
            trio.lowlevel.add_instrument(steps)
            steps.ran = False
            with Marker() as marker:
                marker.wait()
        else:
            jump()

    clock._autojump = jump_when_delivered
    made: MockClock = clock
    return made
