"""A whole agent as users start it, for tests: processes, log, admin socket, and the certainty that all of it ends.

`AgentProcess` runs `weft-agent run` (or a test's own composition of the same processes) in the present or a given network
namespace, with a state directory of its own. Whatever a test does to the processes, leaving the context ends every one of
them by its process id.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.request import urlopen

import pytest

from weft_agent.control.status import ask
from weft_contract.codec import digest, document, encode
from weft_contract.resources import Node, Resource
from weft_testing.netns import REPOSITORY, Place

T = TypeVar("T")

PATIENCE_S: Final = 20.0
STANDIN: Final = "weft_testing.standin_control"
"""Control whose workers have the stand-in data plane."""


def require_root() -> None:
    """Skip the test where this is not root; with WEFT_REQUIRE_NETNS=1, fail instead."""
    if os.geteuid() == 0:
        return
    if os.environ.get("WEFT_REQUIRE_NETNS") == "1":
        pytest.fail("WEFT_REQUIRE_NETNS=1, but the agent needs root", pytrace=False)
    pytest.skip("the agent needs root")


def until(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Return the first true value of a condition; look every few milliseconds, for a bounded time."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience_s} s: {what}")
        time.sleep(0.005)  # noqa: TID251 - processes offer no event to wait for
    return value


def environment() -> dict[str, str]:
    """Return the environment in which processes find this repository."""
    parts = ("agent", "operator", "iptables", "tests")
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(str(REPOSITORY / part) for part in parts),
        "PYTHONSAFEPATH": "1",
    }


class AgentProcess:
    """An agent and its directories.

    Args:
        directory: for config, identity, state and log.
        place: network namespace to run in; None: this one.
        control: module of control; `STANDIN` for the stand-in data plane.
        arguments: further flags of `weft-agent run`.
        workers: how many.
        prefix: command that the agent is started through, as `setpriv …`.
        descriptors: RLIMIT_NOFILE or None.
        node: its name.
        source: flags that say where configuration comes from; empty: from the directory `config`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        place: Place | None = None,
        control: str = STANDIN,
        arguments: Sequence[str] = (),
        workers: int = 2,
        prefix: Sequence[str] = (),
        descriptors: int | None = None,
        source: Sequence[str] = (),
        node: str = "n1",
    ) -> None:
        self.directory = directory
        self.config, self.identity, self.state = (directory / name for name in ("config", "identity", "state"))
        self.log_path = directory / "log"
        self._place = place
        self._control = control
        self._arguments = tuple(arguments)
        self._workers = workers
        self._prefix = tuple(prefix)
        self._descriptors = descriptors
        self._source = tuple(source)
        self.node = node
        self._started: list[subprocess.Popen[bytes]] = []
        self._pids: set[int] = set()
        self._mark = 0
        for path in (self.config, self.identity):
            path.mkdir(exist_ok=True)
        self.identity.chmod(0o700)
        (self.identity / "roots").mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self.log_path.exists():
            sys.stdout.write(self.log_path.read_text()[-20_000:])  # pytest shows it with the failure
        self.end()

    # -- files ----------------------------------------------------------------------------------------------------

    def configure(self, *resources: Resource) -> str:
        """Write the node's file as the compiler does, with a Node resource where none is given; return its digest."""
        node = (
            []
            if any(isinstance(item, Node) for item in resources)
            else [Node(name=self.node, trust_domain="cluster.local")]
        )
        data = encode(document(self.node, [*node, *resources]))
        self.write_config(data)
        return digest(data)

    def write_config(self, data: bytes) -> None:
        """Replace the node's file."""
        new = self.config / ".new"
        new.write_bytes(data)
        new.rename(self.config / f"{self.node}.json")

    # -- processes ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the agent; a second time after its keeper is gone."""
        code = (
            "import sys, resource; from weft_agent.__main__ import main\n"
            f"descriptors = {self._descriptors!r}\n"
            "if descriptors: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))\n"
            f"sys.exit(main(sys.argv[1:], control={self._control!r}))"
        )
        argv = [
            *self._prefix, sys.executable, "-c", code, "run", "--node", self.node,
            *(self._source or ("--config", str(self.config))),
            "--identity", str(self.identity), "--state", str(self.state),
            "--workers", str(self._workers), "--health-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0",
            *self._arguments,
        ]  # fmt: skip

        def begin() -> subprocess.Popen[bytes]:
            with self.log_path.open("ab") as log:
                return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())

        self._started.append(self._place.run(begin) if self._place is not None else begin())

    @property
    def keeper(self) -> subprocess.Popen[bytes]:
        """The keeper's process."""
        return self._started[-1]

    @property
    def control_pid(self) -> int:
        """Control's process id, as it says itself."""
        return int(self.status()["pid"])

    def worker_pids(self) -> list[int]:
        """Return the workers' process ids by slot."""
        return [int(worker["pid"]) for worker in self.status()["workers"]]

    def status(self) -> dict[str, Any]:
        """Ask the admin socket; empty while nobody answers."""
        try:
            status: dict[str, Any] = ask(self.state / "admin.sock", "/status")
        except OSError:
            return {}
        self._pids |= {int(status["pid"]), *(int(worker["pid"]) for worker in status["workers"])}
        return status

    def admin(self, target: str, method: str = "GET") -> Any:
        """Ask the admin socket for anything else."""
        return ask(self.state / "admin.sock", target, method)

    def until_ready(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until the agent says it is ready; return its status."""

        def ready() -> dict[str, Any]:
            if self.keeper.poll() is not None:
                raise AssertionError(f"the agent ended with {self.keeper.returncode}")
            status = self.status()
            return status if status.get("ready") else {}

        return until(ready, "agent is ready", patience_s)

    def signal(self, number: signal.Signals) -> None:
        """Signal the keeper."""
        os.kill(self.keeper.pid, number)

    def stop(self) -> int:
        """Ask for a drained stop and wait; return the exit status."""
        self.status()
        self.signal(signal.SIGTERM)
        return self.keeper.wait(PATIENCE_S)

    def end(self) -> None:
        """End every process of this agent, whatever state it is in."""
        self.status()
        self._remember_recorded()
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE_S)
        for pid in self._pids:
            kill(pid)
        self._remember_recorded()
        for pid in self._pids:
            kill(pid)

    def _remember_recorded(self) -> None:
        try:
            self._pids |= {pid for _, pid in json.loads((self.state / "workers.json").read_text())}
        except (OSError, ValueError):
            return

    # -- what it says ---------------------------------------------------------------------------------------------

    def events(self) -> list[dict[str, Any]]:
        """Return everything logged since the last mark."""
        return self._all_events()[self._mark :]

    def mark(self) -> None:
        """Forget what was logged so far."""
        self._mark = len(self._all_events())

    def _all_events(self) -> list[dict[str, Any]]:
        if not self.log_path.exists():
            return []
        whole, _, _ = self.log_path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def until_event(self, name: str, count: int = 1, **fields: object) -> dict[str, Any]:
        """Wait for the n-th log event of this name and these fields."""

        def seen() -> dict[str, Any]:
            found = [e for e in self.events() if e.get("event") == name and fields.items() <= e.items()]
            return found[count - 1] if len(found) >= count else {}

        return until(seen, f"event {name} {fields}")

    def health(self, path: str) -> tuple[int, dict[str, Any]]:
        """Ask the health endpoint."""
        return self._get("health", path)

    def metric(self, family: str, /, **labels: str) -> float:
        """Return a metric summed over the series with these labels."""
        from prometheus_client.parser import text_string_to_metric_families

        total = 0.0
        for found in text_string_to_metric_families(self.metrics_text()):
            for sample in found.samples:
                if sample.name == family and labels.items() <= sample.labels.items():
                    total += sample.value
        return total

    def metrics_text(self) -> str:
        """Return what Prometheus would get."""

        def get() -> str:
            with urlopen(f"http://{self._address('metrics')}/metrics", timeout=5) as answer:
                text: str = answer.read().decode()
                return text

        return self._in_place(get)

    def _get(self, server: str, path: str) -> tuple[int, dict[str, Any]]:
        import http.client

        def get() -> tuple[int, dict[str, Any]]:
            connection = http.client.HTTPConnection(self._address(server), timeout=5)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())
            finally:
                connection.close()

        return self._in_place(get)

    def _address(self, server: str) -> str:
        started = [event for event in self._all_events() if event.get("event") == "control-started"]
        return str(started[-1][server])

    def _in_place(self, function: Callable[[], T]) -> T:
        return self._place.run(function) if self._place is not None else function()


def kill(pid: int) -> None:
    """End a process that may be gone already, by its id, if it still is one of an agent's."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text()
        if name.startswith("weft-") or "python" in name:
            os.kill(pid, signal.SIGKILL)
    except (OSError, ProcessLookupError):
        return


@contextmanager
def running(directory: Path, resources: Sequence[Resource] = (), **settings: Any) -> Iterator[AgentProcess]:
    """Run an agent with a configuration until the block ends; it is ready when the block begins."""
    with AgentProcess(directory, **settings) as agent:
        agent.configure(*resources)
        agent.start()
        agent.until_ready()
        yield agent


def process_status(pid: int) -> Mapping[str, str]:
    """Return the fields of /proc/<pid>/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
