"""Two captured pods on one node, an application in each, and the toy agent that serves both."""

import json
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from weft_contract.resources import Capture
from weft_iptables.backends import Backend, BackendName, open_backend
from weft_iptables.plan import CapturePlan, Connection, plan
from weft_testing.netns import Family, Node, Place, Pod, World

WAIT_S: Final = 8.0
"""Longest wait for something that has to happen; a lost SYN comes again after 1, 3 and 7 seconds."""
SHORT_S: Final = 0.25
"""How long something is watched that must not happen."""
PORT: Final = 8080
BOUND_PORT: Final = 8081
"""The application listens here on its pod's address only, elsewhere on any."""
EXCLUDED_IN: Final = 9090
EXCLUDED_OUT: Final = 9999
CLOSED_PORT: Final = 4444
NODE_PORT: Final = 7070
SECOND_NODE_PORT: Final = 7071
VIP_B: Final[dict[Family, str]] = {4: "10.96.0.10", 6: "fd96::10"}
"""Service address that stands for port 8080 of pod b, on port 80."""
VIP_A: Final[dict[Family, str]] = {4: "10.96.0.11", 6: "fd96::11"}
"""The same for pod a."""
USUAL: Final = Capture(
    exclude_inbound_ports=((EXCLUDED_IN, EXCLUDED_IN),), exclude_outbound_ports=((EXCLUDED_OUT, EXCLUDED_OUT),)
)


def number(family: Family) -> socket.AddressFamily:
    """Return the address family's constant."""
    return socket.AF_INET if family == 4 else socket.AF_INET6


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call saw."""

    client: tuple[str, int]
    """The caller's own socket."""
    peer: tuple[str, int]
    """Who the application sees as its caller."""
    local: tuple[str, int]
    """The address under which the application was reached."""
    echoed: int


class Echo:
    """An application: greets with what it sees of the connection, then sends back what it gets."""

    def __init__(self, place: Place, *ports: int, bound: Sequence[tuple[str, int]] = ()) -> None:
        self._stopping = False
        self.accepted = 0
        self._listeners = [place.run(partial(_listener, "::", port)) for port in ports]
        self._listeners += [place.run(partial(_listener, *at)) for at in bound]
        self._threads = [threading.Thread(target=self._accept, args=(item,), daemon=True) for item in self._listeners]
        self._open: set[socket.socket] = set()
        for thread in self._threads:
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            self._open.add(connection)
            try:
                seen = {"peer": _end(connection.getpeername()), "local": _end(connection.getsockname())}
                connection.sendall(json.dumps(seen).encode() + b"\n")
                while data := connection.recv(1 << 18):
                    connection.sendall(data)
            except OSError:
                return
            finally:
                self._open.discard(connection)

    def hang_up(self) -> None:
        """Close what is open, in order."""
        for connection in list(self._open):
            with gone_is_fine():
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and cut what is open."""
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_S)
        for listener in self._listeners:
            listener.close()
        self.hang_up()


@contextmanager
def gone_is_fine() -> Iterator[None]:
    """Let a socket be gone already."""
    try:
        yield
    except OSError:
        return


def _listener(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address == "::":
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind((address, port))
    made.listen(512)
    return made


def _end(address: tuple[Any, ...]) -> tuple[str, int]:
    return str(address[0]).removeprefix("::ffff:"), int(address[1])


def dial(
    place: Place, address: str, port: int, *, timeout_s: float = WAIT_S, source: tuple[str, int] | None = None
) -> socket.socket:
    """Connect from a place."""

    def connect() -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            made.settimeout(timeout_s)
            if source is not None:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind(source)
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made

    return place.run(connect)


def greeting(connection: socket.socket) -> dict[str, Any]:
    """Read the application's first line, a byte at a time so that nothing behind it is taken."""
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(1)
        if not data:
            raise ConnectionResetError("closed before the greeting")
        line += data
    result: dict[str, Any] = json.loads(line)
    return result


def call(place: Place, address: str, port: int, size: int = 1000, **options: Any) -> Reply:
    """Connect, read the greeting, send `size` bytes and count what comes back."""
    with dial(place, address, port, **options) as connection:
        seen = greeting(connection)
        sender = threading.Thread(target=_send, args=(connection, size), daemon=True)
        sender.start()
        echoed = 0
        while data := connection.recv(1 << 18):
            echoed += len(data)
        sender.join(WAIT_S)
        return Reply(_end(connection.getsockname()), tuple(seen["peer"]), tuple(seen["local"]), echoed)


def _send(connection: socket.socket, size: int) -> None:
    block = bytes(1 << 18)
    with gone_is_fine():
        while size > 0:
            connection.sendall(block[: min(size, len(block))])
            size -= len(block)
        connection.shutdown(socket.SHUT_WR)


class Agent:
    """The toy agent as a process on the node."""

    def __init__(self, node: Node, pods: Sequence[Pod], families: Sequence[Family] = (4, 6)) -> None:
        services: dict[str, str] = {}
        for family in families:
            for vip, pod in ((VIP_A, pods[0]), (VIP_B, pods[-1])):
                services[f"{vip[family]}|80"] = f"{pod.address(family)}|{PORT}"
        wanted = {
            "services": services,
            "pods": [
                {"path": str(pod.path), "addresses": [*pod.addresses.values()], "families": [*families]} for pod in pods
            ],
        }
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._process = node.spawn_python("weft_testing.capture_agent", json.dumps(wanted))
        threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()
        assert self._lines.get(timeout=WAIT_S) == {"ready": True}

    def expect(self, **wanted: Any) -> dict[str, Any]:
        """Wait for a line that has these values; lines before it are dropped."""
        while True:
            line = self._lines.get(timeout=WAIT_S)
            if all(line.get(key) == value for key, value in wanted.items()):
                return line

    def drain(self) -> list[dict[str, Any]]:
        """Return the lines that are there, without waiting."""
        found = []
        while not self._lines.empty():
            found.append(self._lines.get_nowait())
        return found

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let it do nothing while the block lasts."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it at once, as a crash would."""
        self._process.kill()
        self._process.wait(WAIT_S)


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[dict[str, Any]]") -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.put(json.loads(line))
    except ValueError:
        return


class CaptureWorld:
    """Pods a and b on one node with their applications; captured and served as far as a test asks for it."""

    def __init__(self, backend: BackendName) -> None:
        self.backend_name = backend
        self.backends: dict[str, Backend] = {}
        self.plans: dict[str, CapturePlan] = {}
        self._stack = ExitStack()
        self.agent: Agent | None = None

    def __enter__(self) -> Self:
        self.world = self._stack.enter_context(World())
        try:
            self.node = self.world.node("node")
            self.a, self.b = self.node.pod("a"), self.node.pod("b")
            self.backends = {pod.name: open_backend(self.backend_name, pod.namespace) for pod in (self.a, self.b)}
            self.echoes = {pod.name: self._application(pod) for pod in (self.a, self.b)}
            self.on_node = Echo(self.node, NODE_PORT, SECOND_NODE_PORT)
            self._stack.callback(self.on_node.close)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _application(self, pod: Pod) -> Echo:
        made = Echo(
            pod, PORT, EXCLUDED_IN, EXCLUDED_OUT, 80, bound=[(pod.address(4), BOUND_PORT), (pod.address(6), BOUND_PORT)]
        )
        self._stack.callback(made.close)
        return made

    def capture(self, pod: Pod, capture: Capture = USUAL, keep: Sequence[Connection] = ()) -> CapturePlan:
        """Apply a capture to a pod."""
        families = self.backends[pod.name].survey()
        self.plans[pod.name] = plan(capture, captured=families.captured, refused=families.refused, keep=keep)
        self.backends[pod.name].apply(self.plans[pod.name])
        return self.plans[pod.name]

    def start_agent(self) -> Agent:
        """Start the agent for both pods."""
        self.agent = Agent(self.node, (self.a, self.b))
        return self.agent
