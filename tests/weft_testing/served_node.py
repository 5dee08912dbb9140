"""A node with pods and a whole agent in its namespace, for tests of capture, listeners, stock and the agent's faults."""

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from weft_agent.channel.messages import Family
from weft_contract.resources import Capture, Resource, Workload
from weft_testing.agent_process import AgentProcess, until
from weft_testing.netns import Pod, World

APP_PORT: Final = 8080
CONNECT_S: Final = 8.0


class ServedNode:
    """One node: `client` is never captured, `server` is by request; the agent's workers are stand-ins unless told otherwise."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.world = World()
        self._directory = directory
        self._settings = settings

    def __enter__(self) -> Self:
        self.world.__enter__()
        try:
            self.place = self.world.node("node")
            self.client = self.place.pod("client")
            self.server = self.place.pod("server")
            self.agent = AgentProcess(self._directory, place=self.place, **self._settings)
            self.agent.configure()
            self.agent.start()
            self.agent.until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if hasattr(self, "agent"):
            self.agent.__exit__(kind, error, traceback)
        self.world.__exit__(kind, error, traceback)

    # -- pods -----------------------------------------------------------------------------------------------------

    def workload(self, pod: Pod, capture: Capture | None = None, **changes: Any) -> Workload:
        """Describe a pod as the compiler does."""
        fields: dict[str, Any] = {
            "namespace": "shop",
            "name": pod.name,
            "uid": f"uid-{pod.name}",
            "service_account": "default",
            "identity": "spiffe://cluster.local/ns/shop/sa/default",
            "addresses": (pod.address(4), pod.address(6)),
            "capture": capture or Capture(netns=pod.namespace_name),
        }
        return Workload(**(fields | changes))

    def capture(self, *pods: Pod) -> None:
        """Enrol exactly these pods and wait until they are captured."""
        self.configure(*(self.workload(pod) for pod in pods))
        self.agent.until_ready()

    def configure(self, *resources: Resource) -> None:
        """Put a configuration into force and wait until it is."""
        wanted = self.agent.configure(*resources)
        until(lambda: self.agent.status()["config"]["digest"] == wanted, "the configuration is read")

    def pod_state(self, name: str) -> dict[str, Any]:
        """Return what the agent says of a pod; empty when it does not know it."""
        pods: dict[str, dict[str, Any]] = {pod["pod"]: pod for pod in self.agent.status()["pods"]}
        return pods.get(f"shop/{name}", {})

    # -- traffic --------------------------------------------------------------------------------------------------

    def dial(
        self, target: Pod, *, port: int = APP_PORT, family: Family = 4, source: Pod | None = None
    ) -> socket.socket:
        """Connect from the client (or another pod) and return the socket."""
        kind = socket.AF_INET if family == 4 else socket.AF_INET6

        def connect() -> socket.socket:
            sock = socket.socket(kind, socket.SOCK_STREAM)
            sock.settimeout(CONNECT_S)
            try:
                sock.connect((target.address(family), port))
            except BaseException:
                sock.close()
                raise
            return sock

        return (source or self.client).run(connect)

    def ask(self, target: Pod, *, family: Family = 4, source: Pod | None = None, say: bytes = b"") -> dict[str, Any]:
        """Connect and return what the stand-in says of itself."""
        with self.dial(target, family=family, source=source) as sock:
            line = b""
            while not line.endswith(b"\n"):
                piece = sock.recv(65536)
                if not piece:
                    raise ConnectionError(f"closed after {line!r}")
                line += piece
            if say:
                sock.sendall(say)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(100):
                    pass
            word: dict[str, Any] = json.loads(line)
            return word

    def say(self, target: Pod, word: bytes) -> None:
        """Connect, say one word to the stand-in, and leave once it had the time to hear it."""
        with self.dial(target) as sock:
            sock.recv(65536)
            sock.sendall(word)
            sock.settimeout(0.3)
            try:
                sock.recv(100)
            except (TimeoutError, ConnectionError):
                return

    def ask_within(self, seconds: float) -> dict[str, Any] | None:
        """Connect to the server and return what the stand-in says in time, else None."""
        with self.dial(self.server) as sock:
            sock.settimeout(seconds)
            try:
                word: dict[str, Any] = json.loads(sock.recv(65536))
            except (TimeoutError, ConnectionError, ValueError):
                return None
            return word

    def is_captured(self, pod: Pod) -> bool:
        """Tell whether rules of ours are in a pod's namespace."""
        return "weft" in pod.shell("nft list tables")
