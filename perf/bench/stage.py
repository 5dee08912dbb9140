"""The lab that everything runs in: brought up as a user brings it up, on one core; taken down whatever happens.

Theory: `weft lab up` is started bound to the proxies' core, and everything below it inherits that: agents come up with one
worker, because that is the default where one CPU may be used. Servers bind themselves to the other core, load generators are
started there. A lab of a benchmark that was killed is found by its name and removed by the next one. The machine's own network
namespace is never touched.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from perf.bench import cpu
from perf.bench.programs import Programs
from perf.bench.scene import CLIENT_NODE, NAMESPACE, SERVER_NODE, scene

from weft_lab.machine.namespaces import in_namespace, namespace_path, write_sysctls
from weft_lab.names import pod_namespace

T = TypeVar("T")

_PREFIX: Final = "perf-"
_CALL_TIMEOUT_S: Final = 60
_UP_TIMEOUT_S: Final = 240
_PATIENCE_S: Final = 30.0
_QUIET_SHARE: Final = 0.05
"""Of a core, for all agents together: they have finished starting."""
_PROCESSES: Final = ("weft-control", "weft-keeper", "weft-worker", "weft-worker")
"""A whole agent with one worker: that one, and the spare that is kept warm."""
_SYSCTLS: Final = (("net.ipv4.tcp_tw_reuse", "1"),)
"""In every pod: ports of connections that are over may be taken again after a second, else a minute's worth of new
connections is all a pair of addresses can have. Source: ip-sysctl.rst."""


class StageError(Exception):
    """The lab is not as the benchmark needs it; the message says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where."""

    proxies: int
    load: int


def choose_cores() -> Cores:
    """Return two cores of those this process may use, no siblings of one physical core where that can be had.

    Raises:
        StageError: there is only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    first = allowed[0]
    others = [core for core in allowed[1:] if core not in siblings(first)] or allowed[1:]
    if not others:
        raise StageError("the benchmark needs two cores: one for proxies, one for clients and servers")
    return Cores(first, others[0])


def siblings(core: int) -> set[int]:
    """Return the cores that share a physical core with this one; itself included."""
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text()
    except OSError:
        return {core}
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def until(condition: Callable[[], T], what: str, patience_s: float = _PATIENCE_S) -> T:
    """Return the first true value of a condition.

    Raises:
        StageError: it did not become true in time.
    """
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise StageError(f"not within {patience_s:g} s: {what}")
        pause(0.02)
    return value


def pause(seconds: float) -> None:
    """Let others work for a moment."""
    threading.Event().wait(seconds)


class Stage:
    """A lab with the scene in it.

    Args:
        programs: what is run.
        cores: who runs where.
        fresh_ports: how many ports for new tunnels the servers listen on.
        environment: variables on top of this process's, for the lab and everything in it.
    """

    def __init__(
        self, programs: Programs, cores: Cores, fresh_ports: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self.programs = programs
        self.cores = cores
        self.lab = f"{_PREFIX}{os.getpid()}"
        self._fresh_ports = fresh_ports
        self._environment = {**os.environ, **(environment or {})}
        self._addresses: dict[str, str] = {}
        self._services: dict[str, str] = {}
        self.agents: dict[str, int] = {}
        """Process id of each node's keeper."""

    def __enter__(self) -> Self:
        self._remove_leftovers()
        try:
            self._bring_up()
        except BaseException:
            self._down(self.lab)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._down(self.lab)

    # -- coming up ----------------------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        objects = scene(self.programs.backend, self.cores.load, self._fresh_ports)
        up = ("up", "--name", self.lab, "--nodes", "2", "-f", "-", "--wait", "--timeout", "180s")
        self._weft(*up, text=objects, timeout_s=_UP_TIMEOUT_S, prefix=("taskset", "-c", str(self.cores.proxies)))
        for item in self._objects("pods"):
            self._addresses[item["metadata"]["name"]] = item["status"]["podIPs"][0]["ip"]
        for item in self._objects("services"):
            self._services[item["metadata"]["name"]] = item["spec"]["clusterIP"]
        for pod in self._addresses:
            in_namespace(self.namespace(pod), lambda: write_sysctls(_SYSCTLS))
        self._find_agents()
        until(self._agents_are_whole, "every agent has a keeper, control, one worker and a spare")
        until(self._agents_are_quiet, "the agents have finished starting")

    def _find_agents(self) -> None:
        status = json.loads(self._weft("status", "--name", self.lab, "-o", "json"))
        for node in status["nodes"]:
            if node["agent"]["state"] != "ready" or node["agent"]["restarts"]:
                raise StageError(f"the agent of {node['name']} is not well: {node['agent']}")
            self.agents[node["name"]] = node["agent"]["pid"]
        if set(self.agents) != {CLIENT_NODE, SERVER_NODE}:
            raise StageError(f"the lab has other nodes than it should: {sorted(self.agents)}")

    def _agents_are_whole(self) -> bool:
        return all(
            tuple(sorted(cpu.name_of(pid) for pid in cpu.descendants(keeper))) == _PROCESSES
            for keeper in self.agents.values()
        )

    def _agents_are_quiet(self) -> bool:
        pids = [pid for keeper in self.agents.values() for pid in cpu.descendants(keeper)]
        before = cpu.read(pids, ())
        pause(0.5)
        happened = cpu.used(before, cpu.read(pids, ()))
        return happened.cpu_s / happened.wall_s < _QUIET_SHARE

    # -- what there is ------------------------------------------------------------------------------------------------

    def address(self, pod: str) -> str:
        """Return a pod's IPv4 address."""
        return self._addresses[pod]

    def service(self, name: str) -> str:
        """Return a Service's IPv4 address."""
        return self._services[name]

    def namespace(self, pod: str) -> str:
        """Return the name of a pod's network namespace."""
        return pod_namespace(self.lab, NAMESPACE, pod)

    def command_in(self, pod: str, core: int, *words: str) -> list[str]:
        """Return the command line that runs a program in a pod's network, on one core; it becomes that program."""
        return ["nsenter", f"--net={namespace_path(self.namespace(pod))}", "taskset", "-c", str(core), *words]

    def agent_processes(self, node: str) -> list[int]:
        """Return all processes of a node's agent.

        Raises:
            StageError: it has ended.
        """
        found = cpu.descendants(self.agents[node])
        if cpu.name_of(self.agents[node]) != "weft-keeper":
            raise StageError(f"the agent of {node} has ended; see {self.lab}'s status and agent.log")
        return found

    def agent_log(self, node: str) -> Path:
        """Return where an agent's log is while the lab is up."""
        return Path(f"/run/weft/lab/{self.lab}/nodes/{node}/agent.log")

    def _objects(self, kind: str) -> list[dict[str, Any]]:
        text = self._weft("get", kind, "--name", self.lab, "-n", NAMESPACE, "-o", "json")
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items

    # -- the command --------------------------------------------------------------------------------------------------

    def _weft(
        self, *words: str, text: str = "", timeout_s: float = _CALL_TIMEOUT_S, prefix: tuple[str, ...] = ()
    ) -> str:
        command = [*prefix, sys.executable, "-P", "-m", "weft_cli", "lab", *words]
        try:
            done = subprocess.run(
                command,
                input=text,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                env=self._environment,
            )
        except subprocess.TimeoutExpired as exc:
            raise StageError(f"weft lab {words[0]} did not end within {timeout_s:g} s") from exc
        if done.returncode != 0:
            raise StageError(f"weft lab {words[0]} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def _down(self, lab: str) -> None:
        self._weft("down", "--name", lab)

    def _remove_leftovers(self) -> None:
        for line in self._weft("list").splitlines()[1:]:
            name = (line.split() or [""])[0]
            owner = name.removeprefix(_PREFIX)
            if name.startswith(_PREFIX) and owner.isdecimal() and not Path(f"/proc/{owner}").exists():
                self._down(name)
