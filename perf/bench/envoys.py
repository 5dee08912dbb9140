"""Envoys as processes: in a pod's network, behind the agent's own capture rules, on the proxies' core."""

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from perf.bench.envoy_config import Json
from perf.bench.stage import Stage, StageError, until

from weft_contract.resources import Capture
from weft_iptables.backends import choose_backend, open_backend
from weft_iptables.namespaces import open_namespace
from weft_iptables.plan import plan
from weft_lab.machine.namespaces import namespace_path

_START_S: Final = 30.0
_STOP_S: Final = 5.0


def capture(stage: Stage, pod: str) -> str:
    """Capture a pod as an agent does; the rules end with the pod.

    Returns:
        The way in which rules are written.
    """
    chosen = choose_backend("auto").name
    with open_namespace(namespace_path(stage.namespace(pod))) as namespace:
        backend = open_backend(chosen, namespace)
        families = backend.survey()
        backend.apply(plan(Capture(), captured=families.captured, refused=families.refused))
    return chosen


@contextmanager
def running_envoy(stage: Stage, pod: str, name: str, config: Json, folder: Path) -> Iterator[int]:
    """Run an Envoy in a pod until the block ends; it is ready when the block begins.

    Args:
        stage: the lab.
        pod: in whose network.
        name: of its files.
        config: its configuration, whose admin socket is `admin_path(folder, name)`.
        folder: where its files go.

    Yields:
        Its process id.

    Raises:
        StageError: it did not become ready.
    """
    path, log = folder / f"{name}.json", folder / f"{name}.log"
    path.write_text(json.dumps(config))
    words = (stage.programs.envoy, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error")
    with log.open("wb") as output:
        process = subprocess.Popen(
            stage.command_in(pod, stage.cores.proxies, *words),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)},
        )
    try:

        def ready() -> bool:
            if process.poll() is not None:
                raise StageError(f"{name} ended: {log.read_text()[-2000:]}")
            return _answers(admin_path(folder, name))

        until(ready, f"{name} is ready", _START_S)
        yield process.pid
    finally:
        _end(process)


def admin_path(folder: Path, name: str) -> Path:
    """Return the path of an Envoy's admin socket."""
    return folder / f"{name}.sock"


def _answers(admin: Path) -> bool:
    connection = http.client.HTTPConnection("envoy", timeout=2)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(2)
        connection.sock.connect(str(admin))
        connection.request("GET", "/ready")
        return connection.getresponse().read().strip() == b"LIVE"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_S)
