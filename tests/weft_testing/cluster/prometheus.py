"""Prometheus on the metrics of a cluster's agents: unmodified, a plain process outside the cluster.

Theory. It sees nothing but the API server, through whose proxy it scrapes port 15020 of each agent. It carries the cluster's mark
(`processes.py`), so that it ends with the cluster whatever happens to whoever started it; `beside` does that for any program.

Source: Prometheus `scrape_config`.
"""

import json
import socket
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, Final
from urllib.parse import urlencode

from weft_testing.cluster.binaries import need
from weft_testing.cluster.cluster import Cluster
from weft_testing.cluster.helm import NAMESPACE
from weft_testing.cluster.processes import Process, spawn, wait_until, write_atomically

_LOOPBACK: Final = "127.0.0.1"
_SCRAPE_INTERVAL: Final = "2s"
_READY_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 10.0
_REQUEST_TIMEOUT_S: Final = 5.0


class Prometheus:
    """A running Prometheus; its address is as the examples' `address`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.address = f"http://{_LOOPBACK}:{port}"

    def ready(self) -> bool:
        """Tell whether it answers queries."""
        return self._get("/-/ready")[0] == 200

    def value(self, query: str) -> float:
        """Return the sum over what a query finds; nothing found is 0.

        Raises:
            ValueError: Prometheus refused the query.
            OSError: it did not answer.
        """
        status, body = self._get(f"/api/v1/query?{urlencode({'query': query})}")
        if status != 200:
            raise ValueError(f"{query}: {status} {body.decode(errors='replace')}")
        return sum(float(each["value"][1]) for each in json.loads(body)["data"]["result"])

    def _get(self, path: str) -> tuple[int, bytes]:
        with closing(HTTPConnection(_LOOPBACK, self._port, timeout=_REQUEST_TIMEOUT_S)) as connection:
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read()
            except HTTPException as exc:
                raise ConnectionError(f"Prometheus broke off: {exc!r}") from exc


@contextmanager
def prometheus(cluster: Cluster) -> Iterator[Prometheus]:
    """Run Prometheus on the metrics of a cluster's agents.

    Raises:
        BuildError, ToolchainError: it cannot be built.
        ProcessError: it did not come up, or does not reach every agent.
    """
    program = need("prometheus")["prometheus"]
    directory = cluster.record.directory / "prometheus"
    directory.mkdir(mode=0o700, exist_ok=True)
    agents = _agents(cluster)
    configuration = directory / "prometheus.yaml"
    write_atomically(configuration, json.dumps(_configuration(cluster, agents, directory), indent=1).encode())
    found = Prometheus(free_port())
    command = [
        str(program),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={found.address.removeprefix('http://')}",
    ]
    log = cluster.record.directory / "prometheus.log"
    with beside(cluster, command, log) as process:
        wait_until(found.ready, "Prometheus is ready", _READY_TIMEOUT_S, process=process, log=log)
        wait_until(
            lambda: found.value("up") == len(agents),
            f"Prometheus has scraped {len(agents)} agents",
            _READY_TIMEOUT_S,
            process=process,
            log=log,
        )
        yield found


@contextmanager
def beside(cluster: Cluster, command: Sequence[str], log: Path) -> Iterator[Process]:
    """Run a program outside the cluster that ends with the block, or with the cluster.

    Args:
        cluster: whose API server it uses.
        command: the program by its path, and its arguments.
        log: where its output goes.
    """
    process = spawn(cluster.name, command, log, variables={"NO_PROXY": "*", "no_proxy": "*"})
    try:
        yield process
    finally:
        if not process.end(SIGTERM, _END_TIMEOUT_S):
            process.end(SIGKILL, _END_TIMEOUT_S)


def free_port() -> int:
    """Return a TCP port of loopback that nobody had a moment ago."""
    with socket.create_server((_LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


def _agents(cluster: Cluster) -> dict[str, str]:
    """Return the names of the agents' pods by node."""
    pods = cluster.kubectl.get(
        f"--namespace={NAMESPACE}", "pods", "--selector=app.kubernetes.io/component=agent"
    )["items"]  # fmt: skip
    return {
        pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]
    }


def _configuration(cluster: Cluster, agents: Mapping[str, str], directory: Path) -> dict[str, Any]:
    """Return Prometheus's configuration (JSON is YAML), and write the files that it names."""
    kubeconfig = json.loads(cluster.kubeconfig.read_text())
    server, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    files = {
        "ca_file": server["certificate-authority-data"],
        "cert_file": user["client-certificate-data"],
        "key_file": user["client-key-data"],
    }
    for name, encoded in files.items():
        write_atomically(directory / name, b64decode(encoded), 0o600)
    targets = [
        {
            "targets": [server["server"].removeprefix("https://")],
            "labels": {
                "node": node,
                "__metrics_path__": f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:15020/proxy/metrics",
            },
        }
        for node, pod in sorted(agents.items())
    ]
    job = {
        "job_name": "weft-agents",
        "scheme": "https",
        "tls_config": {name: str(directory / name) for name in files},
        "static_configs": targets,
    }
    return {
        "global": {"scrape_interval": _SCRAPE_INTERVAL, "scrape_timeout": _SCRAPE_INTERVAL},
        "scrape_configs": [job],
    }
