"""The lab of the faults: two nodes with real agents, pods, load from any pod, and every look at an agent that a case needs."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from weft_agent.control.status import ask
from weft_lab import lifecycle
from weft_lab.client import Client
from weft_lab.machine.namespaces import in_namespace, namespace_path
from weft_lab.names import fabric_namespace, node_namespace, pod_namespace, state_directory
from weft_testing.agent_process import until
from weft_testing.faults.agents import Process, processes
from weft_testing.faults.loads import Load
from weft_testing.faults.scene import ECHO, HTTP, NAMESPACE, scene
from weft_testing.lab import LiveLab
from weft_testing.load_verdict import Kind, Stream

T = TypeVar("T")

NODES: Final = ("node-1", "node-2")
SETTLE_S: Final = 30.0
_COMMAND_S: Final = 30.0
_CONNECTION: Final = re.compile(r"(?:\S+\s+){3}\S+:(?P<port>\d+)\s.*\bino:(?P<inode>[1-9]\d*)")
"""A line of `ss` for one state: queues, local and peer address, options; what nobody holds has no inode."""


class FaultLab:
    """The lab; use it as a context manager.

    Args:
        name: of the lab.
    """

    def __init__(self, name: str) -> None:
        self.live = LiveLab(name)
        self.name = name
        self._marks: dict[str, int] = {}
        self._addresses: dict[tuple[str, str], tuple[str, ...]] = {}

    def __enter__(self) -> Self:
        lifecycle.up(self.name, len(NODES), agent=True)
        try:
            self.live.apply(scene())
            self.live.ok("wait", "all", "--timeout", "60s", timeout_s=90)
            self.settle()
        except BaseException:
            lifecycle.down(self.name)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lifecycle.down(self.name)

    # -- objects ----------------------------------------------------------------------------------------------------

    def apply(self, text: str, *, wait: bool = True) -> None:
        """Apply YAML; by default return when every agent enforces it."""
        words = ("apply", "--wait") if wait else ("apply",)
        self.live.ok(*words, "-f", "-", text=text)

    def delete(self, *words: str) -> None:
        """Delete objects of the faults' namespace."""
        self.live.ok("delete", *words, "-n", NAMESPACE)

    def addresses(self, kind: str, name: str) -> tuple[str, ...]:
        """Return the addresses of a pod or Service, IPv4 first; remembered, since both keep them."""
        known = self._addresses.get((kind, name))
        if known is None:
            document: Any = self.live.document(kind, name, NAMESPACE)
            if kind == "pod":
                known = tuple(entry["ip"] for entry in document["status"]["podIPs"])
            else:
                known = tuple(document["spec"]["clusterIPs"])
            known = self._addresses[kind, name] = tuple(sorted(known, key=lambda text: ":" in text))
        return known

    def stream(self, service: str, kind: Kind, *, clients: int = 4, family: int = 4, **settings: Any) -> Stream:
        """Describe load on a Service."""
        port = HTTP if kind in {"http", "http-new", "download", "stall"} else ECHO
        host = self.addresses("service", service)[0 if family == 4 else 1]
        return Stream(name=f"{service}-{kind}", kind=kind, host=host, port=port, clients=clients, **settings)

    def load(self, streams: Sequence[Stream], *, pod: str = "caller", namespace: str = NAMESPACE) -> Load:
        """Return load from a pod, to be entered."""
        return Load(self.pod_path(pod, namespace), streams)

    # -- places -----------------------------------------------------------------------------------------------------

    def pod_path(self, pod: str, namespace: str = NAMESPACE) -> Path:
        """Return the network namespace of a pod."""
        return namespace_path(pod_namespace(self.name, namespace, pod))

    def in_pod(self, pod: str, *command: str, namespace: str = NAMESPACE) -> str:
        """Run a command of this machine in a pod's network namespace; it must succeed."""
        return _run(["nsenter", f"--net={self.pod_path(pod, namespace)}", *command])

    def in_fabric(self, *command: str) -> str:
        """Run a command where the wire between the nodes is."""
        return _run(["nsenter", f"--net={namespace_path(fabric_namespace(self.name))}", *command])

    def on_node(self, node: str, *command: str) -> str:
        """Run a command in a node's network namespace."""
        return _run(["nsenter", f"--net={namespace_path(node_namespace(self.name, node))}", *command])

    def held(self, process: Process, pod: str = "caller") -> frozenset[int]:
        """Return the client ports of a pod's connections that a process of the agent holds."""
        lines = self.in_pod(pod, "ss", "-Hntoe", "state", "established").splitlines()
        sockets = process.sockets
        found = (_CONNECTION.match(line.strip()) for line in lines)
        return frozenset(int(match["port"]) for match in found if match and int(match["inode"]) in sockets)

    # -- agents -----------------------------------------------------------------------------------------------------

    def agent(self, node: str) -> list[Process]:
        """Return the processes of a node's agent, the spare worker among them."""
        return processes(node_namespace(self.name, node))

    def process(self, node: str, role: str) -> Process:
        """Return the one process of a role."""
        (found,) = (process for process in self.agent(node) if process.role == role)
        return found

    def workers(self, node: str) -> list[Process]:
        """Return the workers that serve, by slot."""
        return [Process(int(worker["pid"]), "worker") for worker in self.status(node)["workers"]]

    def status(self, node: str) -> dict[str, Any]:
        """Ask an agent's admin socket; empty while nobody answers."""
        try:
            answer: dict[str, Any] = ask(self._run_directory(node) / "weft" / node / "admin.sock", "/status")
        except OSError:
            return {}
        return answer

    def generation(self, node: str) -> int:
        """Return the generation of the configuration that every worker of a node has applied."""
        return min(int(worker["appliedGeneration"]) for worker in self.status(node)["workers"])

    def metric(self, node: str, family: str, **labels: str) -> float:
        """Return a metric summed over the series with these labels."""
        return sum(
            value for (name, own), value in self.metrics(node).items() if name == family and labels.items() <= own
        )

    def metrics(self, node: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return every sample of a node by name and labels."""

        def get() -> str:
            with urlopen("http://127.0.0.1:15020/metrics", timeout=10) as answer:
                text: str = answer.read().decode()
                return text

        text = in_namespace(node_namespace(self.name, node), get)
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for found in text_string_to_metric_families(text)
            for sample in found.samples
        }

    def events(self, node: str) -> list[dict[str, Any]]:
        """Return what an agent logged since the last `mark`."""
        path = state_directory(self.name) / "nodes" / node / "agent.log"
        with path.open("rb") as file:
            file.seek(self._marks.get(node, 0))
            lines = file.read().splitlines()
        return [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]

    def mark(self) -> None:
        """Forget what the agents logged so far."""
        for node in NODES:
            self._marks[node] = (state_directory(self.name) / "nodes" / node / "agent.log").stat().st_size

    def until_event(self, node: str, name: str, count: int = 1, patience_s: float = SETTLE_S) -> list[dict[str, Any]]:
        """Wait for so many log events of a name; return them."""

        def seen() -> list[dict[str, Any]]:
            found = [event for event in self.events(node) if event.get("event") == name]
            return found if len(found) >= count else []

        return until(seen, f"{count} events {name} of {node}", patience_s)

    def until_status(self, node: str, what: str, holds: Callable[[dict[str, Any]], object], patience_s: float) -> float:
        """Wait until an agent's status is as wanted; return how long that took."""
        began_s = time.monotonic()
        until(lambda: bool(status := self.status(node)) and holds(status), f"{node}: {what}", patience_s)
        return time.monotonic() - began_s

    def until_spare(self, node: str) -> None:
        """Wait until the spare worker is warm, too: its walls are up, it waits for its first message."""

        def warm() -> bool:
            workers = [process for process in self.agent(node) if process.role == "worker"]
            return len(workers) == 3 and all(worker.status.get("Seccomp") == "2" for worker in workers)

        until(warm, f"{node} has a warm spare", SETTLE_S)

    def settle(self, patience_s: float = SETTLE_S) -> None:
        """Wait until both agents are ready and enforce what was applied last, with full complements of workers."""
        client = Client(self.name)

        def settled() -> bool:
            found = client.status()
            agents = [node.agent for node in found.nodes]
            return found.compiled_revision == found.revision and all(a.state == "ready" and a.current for a in agents)

        until(settled, f"the lab settles\n{self.live.weft('status').out}", patience_s)
        for node in NODES:
            until(lambda node=node: len(self.agent(node)) == 5, f"{node} has keeper, control, workers and a spare")  # type: ignore[misc]  # mypy cannot infer lambdas with defaults

    def _run_directory(self, node: str) -> Path:
        return state_directory(self.name) / "nodes" / node / "run"


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
