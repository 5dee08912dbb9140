"""Standing by: an order to end is heard from the moment on at which anybody can know that it stands by."""

import os
import signal
from pathlib import Path

import pytest
import trio

from weft_agent.control.standby import stand_by
from weft_agent.control.state_directory import StateDirectory
from weft_agent.telemetry.log import Log


@pytest.mark.trio
@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
async def test_who_is_told_to_end_as_it_says_that_it_stands_by_obeys(tmp_path: Path, order: signal.Signals) -> None:
    """The signal came between the line of the log and its receiver once, and killed the agent: status 143, not 0."""
    holder, waiting = StateDirectory(tmp_path / "state"), StateDirectory(tmp_path / "state")
    assert holder.lock()
    killed: list[int] = []
    lines: list[bytes] = []

    def put(line: bytes) -> None:
        lines.append(line)
        os.kill(os.getpid(), order)

    before = signal.signal(order, lambda number, frame: killed.append(number))
    try:
        with trio.fail_after(5):
            took = await stand_by(
                await trio.open_tcp_listeners(0, host="127.0.0.1"), waiting, None, Log(put, "json", "info")
            )
    finally:
        signal.signal(order, before)
        waiting.close()
        holder.close()
    assert b"standing-by" in lines[0]
    assert (took, killed) == (False, [])
