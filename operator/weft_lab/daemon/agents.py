"""One agent per node, started as users start it, in the node's namespace with a /run of its own; restarted when it ends."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Literal

from weft_lab.container.order import Bind, NodeOrder, Program
from weft_lab.daemon import agent_admin
from weft_lab.daemon.child import Child
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.loop import Timer
from weft_lab.machine.namespaces import namespace_path
from weft_lab.names import LAB_VARIABLE, NETNS_ROOT
from weft_lab.plan.container_life import Ended
from weft_lab.plan.environment import DEFAULT_PATH
from weft_lab.protocol import AgentStatus
from weft_lab.python_path import python_path

_log: Final = logging.getLogger("weft_lab.agents")

CONFIG: Final = "/run/weft/config"
IDENTITY: Final = "/run/weft/identity"
"""Where an agent finds its configuration and certificates: the same on every node, as each node has a /run of its own."""

_PACKAGES: Final = (
    "weft_agent",
    "weft_contract",
    "weft_core",
    "weft_iptables",
    "weft_operator",
    "weft_cli",
    "weft_lab",
)
_FIRST_BACKOFF_S: Final = 0.1
_MAX_BACKOFF_S: Final = 5.0
_HEALTHY_RUN_S: Final = 10.0
_CALM_PERIOD_S: Final = 1.0
_BUSY_PERIOD_S: Final = 0.1


def node_order(lab: Lab, node: str, command: tuple[str, ...], environment: dict[str, str]) -> NodeOrder:
    """Return the order that runs a command on a node.

    Args:
        lab: the lab.
        node: name of one of its nodes.
        command: what to run.
        environment: variables on top of the node's own.
    """
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', DEFAULT_PATH)}",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": python_path(),
        LAB_VARIABLE: lab.name,
        "WEFT_NODE": node,
    }
    return NodeOrder(
        namespace=str(namespace_path(lab.node_namespace(node))),
        run_directory=str(lab.node_directory(node) / "run"),
        binds=(
            Bind(str(NETNS_ROOT), "netns"),
            Bind(str(lab.directory / "config"), "weft/config", read_only=True),
            Bind(str(lab.node_directory(node) / "identity"), "weft/identity", read_only=True),
        ),
        program=Program(arguments=command, environment=own | environment, privileged=True),
    )


class Agent:
    """The agent of one node, over all its runs.

    Args:
        lab: the lab.
        node: name of the node.
        digest: returns the content hash of the document that the node should enforce.
    """

    def __init__(self, lab: Lab, node: str, digest: Callable[[], str]) -> None:
        self._lab = lab
        self._node = node
        self._digest = digest
        self._child: Child | None = None
        self._state: Literal["starting", "running", "ready", "restarting"] = "starting"
        self._message = ""
        self._restarts = 0
        self._backoff_s = _FIRST_BACKOFF_S
        self._started_at = 0.0
        self._stopping = False
        self._asking = False
        self._current = False
        self._next: Timer | None = None

    def start(self) -> None:
        """Start it, and look after it from now on."""
        self._run()
        self.look()

    def stop(self) -> None:
        """Tell it to drain and end; it is not started again."""
        self._stopping = True
        if self._child is not None:
            self._child.signal(signal.SIGTERM)

    def status(self) -> AgentStatus:
        """Return how it is."""
        pid = self._child.pid if self._child is not None else 0
        return AgentStatus(
            state=self._state, pid=pid, restarts=self._restarts, current=self._current, message=self._message
        )

    @property
    def log_path(self) -> Path:
        """Where everything it writes goes."""
        return self._lab.node_directory(self._node) / "agent.log"

    def _run(self) -> None:
        words = (
            sys.executable, "-m", "weft_agent", "run", "--node", self._node, "--config", CONFIG, "--identity", IDENTITY,
            "--state", f"/run/weft/{self._node}",
        )  # fmt: skip
        self._state, self._started_at = "starting", self._lab.loop.now
        output = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._child = Child(self._lab.loop, self._running, self._ended)
        self._child.start(self._lab.spawner, node_order(self._lab, self._node, words, {}), output)

    def _running(self) -> None:
        self._state = "running"

    def _ended(self, end: Ended) -> None:
        if self._stopping:
            return
        if end.at - self._started_at >= _HEALTHY_RUN_S:
            self._backoff_s = _FIRST_BACKOFF_S
        self._restarts += 1
        self._state = "restarting"
        self._message = end.message or f"ended with status {end.exit_code}; see {self.log_path}"
        _log.warning("agent of %s: %s", self._node, self._message)
        self._lab.loop.at(self._lab.loop.now + self._backoff_s, self._restart)
        self._backoff_s = min(_MAX_BACKOFF_S, self._backoff_s * 2)

    def _restart(self) -> None:
        if not self._stopping:
            self._run()

    # -- what it says of itself -----------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask it how it is, and ask again in a while."""
        if self._stopping or self._asking:
            return
        self._asking = True
        if self._next is not None:
            self._next.cancel()
        admin = self._lab.admin_socket(self._node)
        self._lab.loop.in_thread(lambda: agent_admin.report(admin), self._looked)

    def _looked(self, future: "Future[agent_admin.AgentReport]") -> None:
        self._asking = False
        error = future.exception()
        report = future.result() if error is None else None
        self._current = report is not None and report.enforces(self._digest())
        if self._state in {"running", "ready"}:
            ready = report is not None and report.ready
            self._state = "ready" if ready else "running"
            why = "; ".join(report.missing) if report is not None else str(error)
            self._message = "" if ready else f"not ready: {why}"
        calm = self._state == "ready" and self._current
        period_s = _CALM_PERIOD_S if calm else _BUSY_PERIOD_S
        self._next = self._lab.loop.at(self._lab.loop.now + period_s, self.look)
