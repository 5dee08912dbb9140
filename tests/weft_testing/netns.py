"""Nodes and pods as network namespaces, for every test that needs a real network: dual stack, one line each, gone afterwards.

Theory. A world has a hub, a namespace with a bridge that stands for the wire. A node is a namespace with a leg on the hub
and a bridge of its own; a pod is a namespace with a leg on its node's bridge. Addresses follow from the order of making:
node n is 10.200.0.n and fd20::n, its pods are 10.77.n.10, 10.77.n.11 … and fd77:n::10, fd77:n::11 …; every node has
routes to the others' pods. Nothing happens in the namespace the tests run in, and every name carries the process id of the
tests, so that what a killed run left behind is recognised and swept by the next.

When a test fails, its report gets the commands to enter the namespaces and what rules they had (`pytest_exception_interact`,
which a `conftest.py` beside the tests imports).
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Literal, Self, TypeVar

import pytest

from weft_iptables.namespaces import Namespace, open_namespace

T = TypeVar("T")
Family = Literal[4, 6]

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_PREFIX: Final = "wt"
_RUN: Final = Path("/run/netns")
_TIMEOUT_S: Final = 20.0
_DUMPS: Final = (
    "ip -br addr",
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "nft list ruleset",
    "iptables-legacy-save -c -t mangle",
    "ip6tables-legacy-save -c -t mangle",
    "ipset save",
    "ss -antp",
)


def require_netns(*tools: str) -> None:
    """Skip the test where namespaces cannot be used or a tool is missing; with WEFT_REQUIRE_NETNS=1, fail instead."""
    missing = [
        tool for tool in ("ip", *tools) if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None
    ]
    reason = ""
    if os.geteuid() != 0:
        reason = "network namespaces need root"
    elif missing:
        reason = f"not installed: {', '.join(missing)}"
    elif subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        reason = "the kernel makes no network namespace for us"
    if not reason:
        return
    if os.environ.get("WEFT_REQUIRE_NETNS") == "1":
        pytest.fail(f"WEFT_REQUIRE_NETNS=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def ip(*lines: str, namespace: str = "") -> None:
    """Run lines of the `ip` command in one process; the first that fails raises, with what it said."""
    command = ["ip", *(["-n", namespace] if namespace else []), "-batch", "-"]
    script = "\n".join(lines) + "\n"
    done = subprocess.run(command, input=script, text=True, capture_output=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)} failed on\n{script}{done.stderr}")


class Place:
    """A namespace with addresses: a pod, a node or the hub."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.namespace_name = f"{world.prefix}{name}"
        self.path = _RUN / self.namespace_name
        self.addresses: dict[Family, str] = {}
        self._namespace: Namespace | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.namespace_name})"

    def address(self, family: Family) -> str:
        """Return the address of one family."""
        return self.addresses[family]

    @property
    def namespace(self) -> Namespace:
        """The namespace, held open until the world ends."""
        if self._namespace is None:
            self._namespace = open_namespace(self.path)
        return self._namespace

    def run(self, function: Callable[[], T]) -> T:
        """Call a function in a thread inside the namespace; sockets that it makes stay there."""
        return self.namespace.run(function)

    def shell(self, command: str, *, check: bool = True) -> str:
        """Run a shell command inside and return what it printed."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace_name, "sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if not check else subprocess.PIPE,
            text=True,
            check=check,
            timeout=_TIMEOUT_S,
        ).stdout

    def spawn(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a program inside, with pipes for its output; it is killed when the world ends at the latest."""
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(
                str(REPOSITORY / part) for part in ("agent", "operator", "iptables", "tests")
            ),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
        }
        started = self.run(
            lambda: subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
            )
        )
        self.world.processes.append(started)
        return started

    def spawn_python(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a module of this repository inside."""
        return self.spawn([sys.executable, "-m", module, *arguments])

    def make(self) -> None:
        """Make the namespace; its link-local addresses are of use at once, so that nothing changes after the start."""
        ip(f"netns add {self.namespace_name}")
        self.run(lambda: Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0"))

    def close(self) -> None:
        """Let go of the namespace."""
        if self._namespace is not None:
            self._namespace.close()
            self._namespace = None


class Pod(Place):
    """A pod: one namespace, one leg on its node's bridge."""


class Node(Place):
    """A node: a leg on the hub, a bridge for its pods, routes to the other nodes' pods."""

    def __init__(self, world: "World", name: str, number: int) -> None:
        super().__init__(world, name)
        self.number = number
        self.pods: list[Pod] = []
        self.addresses = {4: f"10.200.0.{number}", 6: f"fd20::{number}"}
        self.gateways: dict[Family, str] = {4: f"10.77.{number}.1", 6: f"fd77:{number}::1"}

    def pod(self, name: str) -> Pod:
        """Make a pod on this node."""
        made = Pod(self.world, name)
        number = 10 + len(self.pods)
        made.addresses = {4: f"10.77.{self.number}.{number}", 6: f"fd77:{self.number}::{number}"}
        leg = f"v{number}"
        self.pods.append(made)
        made.make()
        ip(
            f"link add {leg} type veth peer name eth0 netns {made.namespace_name}",
            f"link set {leg} master br0 up",
            namespace=self.namespace_name,
        )
        ip(
            "link set lo up",
            "link set eth0 up",
            f"addr add {made.addresses[4]}/24 dev eth0",
            f"addr add {made.addresses[6]}/64 dev eth0 nodad",
            f"route add default via {self.gateways[4]}",
            f"route add default via {self.gateways[6]}",
            namespace=made.namespace_name,
        )
        return made


class World:
    """Namespaces of one test, removed when it ends however it ends; use it as a context manager."""

    live: ClassVar[list["World"]] = []
    _made: ClassVar[int] = 0

    def __init__(self) -> None:
        World._made += 1
        self.prefix = f"{_PREFIX}{os.getpid()}-{World._made}-"
        self.nodes: list[Node] = []
        self.processes: list[subprocess.Popen[str]] = []
        self.hub = Place(self, "hub")

    def __enter__(self) -> Self:
        sweep()
        World.live.append(self)
        try:
            self.hub.make()
            ip("link set lo up", "link add br0 type bridge", "link set br0 up", namespace=self.hub.namespace_name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def node(self, name: str) -> Node:
        """Make a node and tell the others the way to its pods."""
        node = Node(self, name, len(self.nodes) + 1)
        leg = f"n{node.number}"
        self.nodes.append(node)
        node.make()
        ip(
            f"link add {leg} type veth peer name eth0 netns {node.namespace_name}",
            f"link set {leg} master br0 up",
            namespace=self.hub.namespace_name,
        )
        ip(
            "link set lo up",
            "link set eth0 up",
            f"addr add {node.addresses[4]}/24 dev eth0",
            f"addr add {node.addresses[6]}/64 dev eth0 nodad",
            "link add br0 type bridge",
            "link set br0 up",
            f"addr add {node.gateways[4]}/24 dev br0",
            f"addr add {node.gateways[6]}/64 dev br0 nodad",
            namespace=node.namespace_name,
        )
        node.shell("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
        for other in self.nodes[:-1]:
            _routes(node, other)
            _routes(other, node)
        return node

    @property
    def places(self) -> Iterator[Place]:
        """Everything there is, pods first."""
        for node in self.nodes:
            yield from node.pods
        yield from self.nodes
        yield self.hub

    def describe(self) -> str:
        """Say how to get in, and what is set in each namespace."""
        parts = []
        for place in self.places:
            parts.append(
                f"--- {place.name}: ip netns exec {place.namespace_name} bash   (nsenter --net={place.path} bash)"
            )
            if isinstance(place, Pod):
                parts += [f"$ {command}\n{place.shell(command, check=False)}" for command in _DUMPS]
        return "\n".join(parts)

    def close(self) -> None:
        """Kill what was started and remove every namespace."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(_TIMEOUT_S)
            if process.stdout is not None:
                process.stdout.close()
        self.processes.clear()
        for place in self.places:
            place.close()
            if place.path.exists():
                ip(f"netns del {place.namespace_name}")
        if self in World.live:
            World.live.remove(self)


def _routes(here: Node, there: Node) -> None:
    ip(
        f"route add 10.77.{there.number}.0/24 via {there.addresses[4]}",
        f"route add fd77:{there.number}::/64 via {there.addresses[6]}",
        namespace=here.namespace_name,
    )


def sweep() -> None:
    """Remove the namespaces of test runs that were killed: those named after a process that is no more."""
    for path in _RUN.glob(f"{_PREFIX}[0-9]*-*"):
        pid = path.name[len(_PREFIX) :].partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False, timeout=_TIMEOUT_S)


def pytest_exception_interact(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Add the live worlds to the report of a failed test; a pytest hook for a conftest to import."""
    for world in World.live:
        report.sections.append(("network namespaces", world.describe()))
