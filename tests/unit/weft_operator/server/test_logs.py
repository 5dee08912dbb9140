"""Log lines: JSON with what every line has in front, bounded, and the libraries' warnings in the same form."""

import json
import subprocess
import sys

import pytest

from weft_testing.cluster.control_plane import PYTHON_VARIABLES

PROGRAM = """
import logging, sys
import structlog
from weft_operator.server.logs import configure_logs
configure_logs(sys.argv[1], sys.argv[2])
log = structlog.get_logger("weft_operator.server")
log.debug("quiet")
log.info("ready", nodes=3)
try:
    raise ValueError("x" * 40000)
except ValueError:
    log.exception("failed")
logging.getLogger("asyncio").info("chatter")
logging.getLogger("kopf.reactor").warning("kinds that are not installed")
logging.getLogger("asyncio").warning("trouble of %s", "tasks")
"""


def lines(style: str, level: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, style, level],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=dict(PYTHON_VARIABLES),
    )
    assert not done.stdout
    return done.stderr.splitlines()


def test_json() -> None:
    ready, failed, library = (json.loads(line) for line in lines("json", "info"))
    assert list(ready)[:3] == ["time", "level", "event"]
    assert (ready["level"], ready["event"], ready["nodes"], ready["logger"]) == (
        "info",
        "ready",
        3,
        "weft_operator.server",
    )
    assert "ValueError" in failed["exception"]
    assert len(failed["exception"]) < 20_000
    assert (library["event"], library["level"], library["logger"]) == ("trouble of tasks", "warning", "asyncio")


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("error", 1)])
def test_levels(level: str, count: int) -> None:
    assert len(lines("json", level)) == count


def test_text() -> None:
    assert "ready" in lines("text", "info")[0]
