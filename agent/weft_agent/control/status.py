"""`weft-agent status`: asks a running agent over its admin socket and prints what a person wants to know first.

Exit statuses: 0 the node serves, 1 something is missing, 2 no agent answers.
"""

import http.client
import socket
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

EXIT_MISSING: Final = 1
EXIT_UNREACHABLE: Final = 2
ANSWER_S: Final = 10.0
RUN_DIRECTORY: Final = Path("/run/weft")
ADMIN_SOCKET: Final = "admin.sock"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(str(self._path))


def main(state: str | None, node: str | None) -> int:
    """Print the status of one agent.

    Args:
        state: its state directory.
        node: its node, instead; None for both takes the only agent of this host.
    """
    try:
        path = _admin_socket(state, node)
        status = ask(path, "/status")
    except (OSError, http.client.HTTPException, msgspec.DecodeError, LookupError) as exc:
        sys.stderr.write(f"weft-agent status: no agent answers: {exc}\n")
        return EXIT_UNREACHABLE
    sys.stdout.writelines(f"{line}\n" for line in lines(status))
    return 0 if status["ready"] else EXIT_MISSING


def ask(socket_path: Path, target: str, method: str = "GET") -> Any:
    """Return the JSON that the admin socket answers.

    Raises:
        OSError: nobody is there.
        http.client.HTTPException: what answers does not speak HTTP.
    """
    connection = _UnixConnection(socket_path)
    try:
        connection.request(method, target)
        return msgspec.json.decode(connection.getresponse().read())
    finally:
        connection.close()


def lines(status: dict[str, Any]) -> list[str]:
    """Return the status as text."""
    config = status["config"]
    found = [
        f"node {status['node']}: {'ready' if status['ready'] else 'NOT READY'}"
        f" (weft {status['version']}, up {status['uptimeSeconds']:.0f} s, rules by {status['backend'] or 'nobody yet'})",
        f"config generation {config['generation']} from {config['origin']}, {config['resources']} resources,"
        f" digest {config['digest'] or '-'}",
    ]
    if status["operator"] is not None:
        found.append(_operator_line(status["operator"]))
    found += [f"degraded: {text}" for text in status["degraded"]]
    if (endpoints := status.get("degradedEndpoints")) and endpoints["active"]:
        found.append(_degraded_line(endpoints))
    found += [f"missing: {text}" for text in status["missing"]]
    found += [f"warning: {text}" for text in status["warnings"]]
    found += [
        f"worker {worker['worker']} pid {worker['pid']}: {worker['state']}, generation {worker['appliedGeneration']}"
        for worker in status["workers"]
    ]
    found += [
        f"pod {pod['pod']}: {pod['state']}{': ' + pod['error'] if pod['error'] else ''}" for pod in status["pods"]
    ]
    found += [
        f"certificate {item['identity']}: {item['leftSeconds'] / 3600:.1f} h left" for item in status["certificates"]
    ]
    connections = status["connections"]
    found.append(
        f"connections: {connections['inbound']} inbound, {connections['outbound']} outbound,"
        f" {connections['tunnels']} tunnels with {connections['tunnelStreams']} streams"
    )
    return found


def _operator_line(operator: dict[str, Any]) -> str:
    if operator["connected"]:
        return f"operator {operator['url']}: connected"
    age = f", configuration {operator['configAgeSeconds']:.0f} s old" if operator["configAgeSeconds"] else ""
    return f"operator {operator['url']}: AWAY{age}"


def _degraded_line(endpoints: dict[str, Any]) -> str:
    watched = (
        "from the API server" if endpoints["connected"] else "as the API server, which is AWAY too, told them last"
    )
    return (
        f"endpoints: {watched}; {endpoints['gone']} gone, {endpoints['added']} added, {endpoints['unknown']} left out,"
        f" of {endpoints['services']} services that differ"
    )


def _admin_socket(state: str | None, node: str | None) -> Path:
    if state is not None:
        return Path(state) / ADMIN_SOCKET
    if node is not None:
        return RUN_DIRECTORY / node / ADMIN_SOCKET
    found = sorted(RUN_DIRECTORY.glob(f"*/{ADMIN_SOCKET}"))
    if len(found) != 1:
        raise LookupError(f"{len(found)} agents below {RUN_DIRECTORY}; name one with --state or --node")
    return found[0]
