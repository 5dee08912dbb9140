"""A program for the keeper to keep: it writes what happens to it into a file and ends as that file's neighbour says.

Arguments: `--lifeline 3 --note FILE --plan FILE`. Every start appends `start <pid>`, every signal its name, the end of the
lifeline `lifeline`. The plan's first line is taken away at each start: `exit N`, `kill` (itself), `orphan` (leaves a child
that sleeps, then is killed), or `wait` (until SIGTERM, then exits 0; `wait N`: with N).
"""

import os
import select
import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Carry out one line of the plan."""
    options = dict(zip(argv[::2], argv[1::2], strict=True))
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    note(options["--note"], f"start {os.getpid()}")
    match next_step(options["--plan"]).split():
        case ["exit", status]:
            return int(status)
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["orphan"]:
            child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
            note(options["--note"], f"orphan {child}")
            os.kill(os.getpid(), signal.SIGKILL)
        case ["wait", *status]:
            return wait(options, read_end, int(status[0]) if status else 0)
    return 1


def wait(options: dict[str, str], wakeup: int, status: int) -> int:
    """Note signals until SIGTERM or SIGINT, or until the keeper is gone."""
    lifeline = int(options["--lifeline"])
    while True:
        ready, _, _ = select.select([wakeup, lifeline], [], [])
        if lifeline in ready:
            note(options["--note"], "lifeline")
            return 1
        for number in os.read(wakeup, 100):
            note(options["--note"], signal.Signals(number).name)
            if number in (signal.SIGTERM, signal.SIGINT):
                return status


def note(path: str, text: str) -> None:
    """Append a line."""
    with open(path, "a") as file:
        file.write(text + "\n")


def next_step(path: str) -> str:
    """Take the first line of the plan away and return it."""
    with open(path) as file:
        first, *rest = file.read().splitlines()
    with open(path, "w") as file:
        file.write("\n".join(rest))
    return first


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
