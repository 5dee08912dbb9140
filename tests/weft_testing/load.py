"""The load driver, a program: `python -m weft_testing.load PLAN` sends until its time is over or SIGTERM, then tells all.

It prints one line when every stream has had its first success, and one line with the verdicts at its end. There are no
retries of any kind: what a client meets is what is counted. `weft_testing.load_verdict` has the words.
"""

import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from weft_testing.load_clients import Client, tokens
from weft_testing.load_verdict import Plan, Tally, Verdicts

READY: Final = b'{"ready": true}'
_HELD: Final = frozenset({"idle", "stall"})


async def drive(plan: Plan) -> Verdicts:
    """Run a plan to its end."""
    stopping = trio.Event()
    works = [trio.Event() for _ in plan.streams]
    tallies = [
        Tally(stream, time.monotonic(), stream.clients if stream.kind in _HELD else 1, event.set)
        for stream, event in zip(plan.streams, works, strict=True)
    ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_obey, plan.seconds, stopping, nursery.cancel_scope)
        nursery.start_soon(_tell_ready, works)
        async with trio.open_nursery() as clients:
            for stream, tally in zip(plan.streams, tallies, strict=True):
                words = tokens(stream)
                for number in range(stream.clients):
                    client = Client(stream, tally, number, words)
                    clients.start_soon(client.hold if stream.kind in _HELD else client.run, stopping)
        nursery.cancel_scope.cancel()
    now = time.monotonic()
    return Verdicts(tuple(tally.verdict(now) for tally in tallies))


async def _obey(seconds: float, stopping: trio.Event, scope: trio.CancelScope) -> None:
    """Stop after the time or at SIGTERM; a second SIGTERM gives up what is in flight."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        with trio.move_on_after(seconds):
            await anext(signals)
        stopping.set()
        await anext(signals)
        scope.cancel()


async def _tell_ready(works: Sequence[trio.Event]) -> None:
    """Say so once every stream works, and every held connection stands."""
    for event in works:
        await event.wait()
    sys.stdout.buffer.write(READY + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Run the plan of the command line."""
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    verdicts = trio.run(drive, plan)
    sys.stdout.buffer.write(msgspec.json.encode(verdicts) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
