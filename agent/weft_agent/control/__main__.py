"""`weft_agent.control.__main__.main`: the process the keeper starts; settings, log, lock, then the trio loop.

Exit statuses: 0 after a drained stop, 78 when this agent cannot work here whatever is tried, 1 for everything else.
"""

import ctypes
import os
import sys
import time
from collections.abc import Sequence
from typing import Final

import trio

from weft_agent.control.main import Control, KeeperGoneError, open_listeners, raise_descriptor_limit
from weft_agent.control.settings import Settings, SettingsError, parse_settings
from weft_agent.control.standby import stand_by
from weft_agent.control.state_directory import StateDirectory, StateDirectoryError
from weft_agent.keeper.launch import command, package_paths
from weft_agent.telemetry.log import Log
from weft_agent.telemetry.metrics import Metrics
from weft_agent.telemetry.sink import Sink

EXIT_FAILED: Final = 1
EXIT_HOPELESS: Final = 78
WORKER: Final = "weft_agent.worker.__main__"
PACKAGES: Final = ("weft_agent", "weft_contract", "weft_core")
LOCK_WAIT_S: Final = 5.0
"""A control whose keeper died needs a moment to notice and leave."""
LAST_WORDS_S: Final = 2.0
_PR_SET_NAME: Final = 15


def main(argv: Sequence[str], worker: str = WORKER) -> int:
    """Be control.

    Args:
        argv: settings as `--name value` pairs, all of them, and `--lifeline FD` under a keeper.
        worker: module whose `main` is a worker.
    """
    raw = dict(zip((name.removeprefix("--") for name in argv[::2]), argv[1::2], strict=True))
    lifeline = raw.pop("lifeline", None)
    if lifeline is not None:
        os.set_inheritable(int(lifeline), False)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"weft-control", 0, 0, 0)
    try:
        settings = parse_settings(raw, len(os.sched_getaffinity(0)))
    except SettingsError as exc:
        sys.stderr.writelines(f"weft-agent: {mistake}\n" for mistake in exc.mistakes)
        return EXIT_HOPELESS
    metrics = Metrics()
    sink = Sink(1, lambda lines: metrics.add("weft_log_dropped_total", lines))
    log = Log(sink.put, settings.log_format, settings.log_level)
    try:
        return _serve(settings, worker, sink, log, metrics, None if lifeline is None else int(lifeline))
    finally:
        sink.close(LAST_WORDS_S)


def _serve(settings: Settings, worker: str, sink: Sink, log: Log, metrics: Metrics, lifeline: int | None) -> int:
    if os.geteuid() != 0:
        log.error("not-root", remedy="run weft-agent as root; its workers give up every privilege by themselves")
        return EXIT_HOPELESS
    raise_descriptor_limit()
    try:
        state = StateDirectory(settings.state)
    except StateDirectoryError as exc:
        log.error("state-directory", error=str(exc))
        return EXIT_HOPELESS
    if settings.stand_by and not state.lock():
        try:
            if not trio.run(_stand_by, settings, state, lifeline, log):
                return 0
        except OSError as exc:
            log.error("stand-by", error=str(exc))
            return EXIT_FAILED
    elif not _locked(state):
        log.error("state-directory", error=f"another agent holds {settings.state}", remedy="give each its own --state")
        return EXIT_HOPELESS
    paths = package_paths([*PACKAGES, worker.partition(".")[0]])
    try:
        control = Control(settings, command(paths, worker, []), state, sink, log, metrics, lifeline)
        trio.run(control.run)
    except BaseException as exc:  # said before the process ends; the keeper starts the next
        gone = isinstance(exc, BaseExceptionGroup) and exc.split(KeeperGoneError)[1] is None
        if gone:
            log.error("keeper-gone", consequence="workers go on until the next control adopts them")
        else:
            log.exception("control-failed", exc)
        return EXIT_FAILED
    finally:
        state.close()
    return 0


async def _stand_by(settings: Settings, state: StateDirectory, lifeline: int | None, log: Log) -> bool:
    return await stand_by(await open_listeners(settings.health_address), state, lifeline, log)


def _locked(state: StateDirectory) -> bool:
    deadline = time.monotonic() + LOCK_WAIT_S
    while not state.lock():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)  # noqa: TID251 - nothing else runs yet, and flock has no timeout
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
