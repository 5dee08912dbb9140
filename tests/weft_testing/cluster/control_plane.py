"""A real control plane: etcd, kube-apiserver, kube-controller-manager and, with nodes, kube-scheduler; ready in seconds.

Theory. It comes in two places. In a network of its own (root) it is the control plane of a cluster with nodes: nothing of
it is in the namespace that the tests run in but one listening socket on loopback, the door (`forward.py`), so that every
client, with or without root, uses the same kubeconfig from outside. On loopback (no root) it is an API server for tests
of controllers: no nodes, no scheduler, and webhooks by URL reach the test process at 127.0.0.1.

Parts are started one after the other, each when the one it needs is healthy: the controller manager and the scheduler
would otherwise wait out long back-offs. Etcd keeps its data in memory and never syncs. Parts can be killed, stopped and
started again one by one; the records on disk let any process do that (`attach`).
"""

import http.client
import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from signal import SIGKILL, Signals
from types import TracebackType
from typing import Final, Self, TypeVar

from weft_iptables.namespaces import open_namespace
from weft_testing.cluster import components, network, records
from weft_testing.cluster.api import Api, Kubectl
from weft_testing.cluster.binaries import Say, need, say_to_stderr
from weft_testing.cluster.components import API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER, Setting
from weft_testing.cluster.pki import Authority, make_control_plane_pki
from weft_testing.cluster.processes import Process, spawn, wait_until, write_atomically
from weft_testing.cluster.programs import API_SERVER_ONLY, CONTROL_PLANE
from weft_testing.cluster.records import ClusterRecord, RecordError

T = TypeVar("T")

FORWARDER: Final = "forwarder"
GUARD: Final = "guard"
_READY_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 10.0
_HEALTH_TIMEOUT_S: Final = 2.0
_LOOPBACK: Final = "127.0.0.1"
_REPOSITORY: Final = Path(__file__).resolve().parents[3]
_DEFAULT_ACCOUNT: Final = "/api/v1/namespaces/default/serviceaccounts/default"


class ControlPlane:
    """One control plane; use it as a context manager, or call `down`."""

    def __init__(self, record: ClusterRecord, authority: Authority, say: Say = say_to_stderr) -> None:
        self.record = record
        self.name = record.name
        self.authority = authority
        self.on_loopback = record.ports is not None
        names = API_SERVER_ONLY if self.on_loopback else CONTROL_PLANE
        self.programs: dict[str, Path] = need(*names, say=say)
        self.setting = Setting(
            programs=self.programs,
            directory=record.directory,
            addresses=record.addresses,
            host=_LOOPBACK if self.on_loopback else record.addresses.control_plane[0],
            ports=record.ports or components.PORTS,
            on_loopback=self.on_loopback,
        )
        self.seconds: dict[str, float] = {}
        """How long each part took to become ready when it was started last."""

    @classmethod
    def up(cls, name: str, *, on_loopback: bool = False, owned: bool = True, say: Say = say_to_stderr) -> Self:
        """Bring a control plane up.

        Args:
            name: of the cluster, as in `addresses.check_name`.
            on_loopback: see the theory.
            owned: whether it ends with this process; else it stays until `down`.
            say: takes a line when a program has to be built first.

        Raises:
            RecordError: a cluster of that name is up.
            BuildError, ToolchainError: a program is missing and cannot be built.
            ProcessError: a part did not become ready.
            NetworkError: the namespaces could not be made.
        """
        need(*(API_SERVER_ONLY if on_loopback else CONTROL_PLANE), say=say)
        record = records.claim(name, owned=owned, on_loopback=on_loopback)
        try:
            host = _LOOPBACK if on_loopback else record.addresses.control_plane[0]
            ports = record.ports or components.PORTS
            authority = make_control_plane_pki(
                record.directory / "pki",
                [_LOOPBACK, *record.addresses.control_plane, record.addresses.api_service],
                f"https://{host}:{ports[API_SERVER]}",
            )
            made = cls(record, authority, say)
            made._start_all()
        except BaseException:
            _take_away(name)
            raise
        return made

    @classmethod
    def attach(cls, name: str) -> Self:
        """Return a control plane that another process brought up.

        Raises:
            RecordError: there is none.
        """
        record = records.read(name)
        if record is None:
            raise RecordError(f"no cluster {name!r} is up")
        return cls(record, Authority.load(record.directory / "pki"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.down()

    def down(self) -> None:
        """Take everything away, nodes too; twice is once.

        Raises:
            RecordError: something did not go.
        """
        _take_away(self.name)

    @property
    def directory(self) -> Path:
        """Where logs, certificates and data lie."""
        return self.record.directory

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig that works where the tests run."""
        return self.setting.pki / "admin.kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """The same for programs inside the control plane's namespace, which also reach pods and Services."""
        return self.setting.pki / "admin-inside.kubeconfig"

    @property
    def api(self) -> Api:
        """The API server as its administrator sees it."""
        return Api.from_kubeconfig(self.kubeconfig)

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as administrator."""
        return Kubectl(self.programs["kubectl"], self.kubeconfig)

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put before a command so that it runs where the control plane runs."""
        if self.on_loopback:
            return ()
        return ("nsenter", f"--net={network.namespace_path(self.name, network.CONTROL_PLANE)}")

    def run(self, function: Callable[[], T]) -> T:
        """Call a function where the control plane runs; sockets that it makes stay there, also when used from here."""
        if self.on_loopback:
            return function()
        with open_namespace(network.namespace_path(self.name, network.CONTROL_PLANE)) as namespace:
            return namespace.run(function)

    def process(self, part: str) -> Process | None:
        """Return the process of a part, or None if it was never started or was stopped."""
        return self.record.ledger.read(part)

    def log(self, part: str) -> Path:
        """Return the file that has a part's output."""
        return self.directory / f"{part}.log"

    def start(self, part: str) -> None:
        """Start a part that does not run and wait until it is healthy.

        Raises:
            ProcessError: it did not become healthy, or it runs already.
        """
        commands = {
            ETCD: components.etcd,
            API_SERVER: components.api_server,
            CONTROLLER_MANAGER: components.controller_manager,
            SCHEDULER: components.scheduler,
        }
        begun = time.monotonic()
        process = self._spawn(part, commands[part](self.setting))
        healthy = self._health(part)
        wait_until(healthy, f"{part} was healthy", _READY_TIMEOUT_S, process=process, log=self.log(part))
        self.seconds[part] = time.monotonic() - begun

    def kill(self, part: str, number: Signals = SIGKILL) -> None:
        """End a part and wait until it is gone."""
        process = self.process(part)
        if process is not None and not process.end(number, _END_TIMEOUT_S):
            process.end(SIGKILL, _END_TIMEOUT_S)
        self.record.ledger.forget(part)

    def restart(self, part: str) -> None:
        """Kill a part and start it again; a fault, not an orderly stop.

        Raises:
            ProcessError: it did not become healthy again.
        """
        self.kill(part)
        self.start(part)

    def start_proxy(self, node: str) -> None:
        """Start a kube-proxy beside the API server, so that webhooks that are Services are reached.

        Args:
            node: the name of a Node that exists.
        """
        path = self.directory / "kube-proxy-cp.json"
        configuration = components.proxy_configuration(self.setting, node)
        write_atomically(path, json.dumps(configuration).encode())
        program = need(components.PROXY)[components.PROXY]
        self._spawn(components.PROXY, [str(program), f"--config={path}"])

    def _start_all(self) -> None:
        if self.record.owner is not None:
            self._spawn(GUARD, python_command("weft_testing.cluster.guard", self.name), enter=(), recorded=False)
        server = self.setting.server
        self.authority.write_kubeconfig("admin-inside", "admin", server)
        if self.on_loopback:
            self.authority.write_kubeconfig("admin", "admin", server)
        else:
            self._make_network()
            port = self._open_door()
            self.authority.write_kubeconfig("admin", "admin", f"https://{_LOOPBACK}:{port}")
        self.start(ETCD)
        self.start(API_SERVER)
        self.start(CONTROLLER_MANAGER)
        if not self.on_loopback:
            self.start(SCHEDULER)
        # Pods are refused in a namespace without this account, and the first test would meet that.
        api = self.api
        wait_until(lambda: api.healthy(_DEFAULT_ACCOUNT), "the default service account existed", _READY_TIMEOUT_S)

    def _make_network(self) -> None:
        network.make_hub(self.name)
        network.make_place(self.name, network.CONTROL_PLANE, self.record.addresses.control_plane, gateway=None)

    def _open_door(self) -> int:
        """Start the forwarder and return the port it listens on."""
        with closing(socket.create_server((_LOOPBACK, 0), backlog=128)) as listener:
            target = f"{self.setting.host}:{self.setting.ports[API_SERVER]}"
            command = python_command("weft_testing.cluster.forward", f"--to={target}")
            self._spawn(FORWARDER, command, keep=listener.fileno())
            port = int(listener.getsockname()[1])
        self.record = records.update(self.record, forwarded_port=port)
        return port

    def _spawn(
        self,
        part: str,
        command: Sequence[str],
        *,
        enter: Sequence[str] | None = None,
        keep: int | None = None,
        recorded: bool = True,
    ) -> Process:
        whole = [*(self.enter if enter is None else enter), *command]
        process = spawn(self.name, whole, self.log(part), variables=PYTHON_VARIABLES, keep=keep)
        if recorded:
            self.record.ledger.write(part, process)
        return process

    def _health(self, part: str) -> Callable[[], bool]:
        port = self.setting.ports[part]
        if part == API_SERVER:
            api = self.api
            return lambda: api.healthy("/readyz")
        return lambda: self.run(lambda: _healthy(port, "/health" if part == ETCD else "/healthz", tls=part != ETCD))


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules."""
    return [sys.executable, "-m", module, *arguments]


PYTHON_VARIABLES: Final[Mapping[str, str]] = {
    "PYTHONPATH": ":".join(str(_REPOSITORY / part) for part in ("agent", "operator", "iptables", "tests")),
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
}


def _take_away(name: str) -> None:
    with records.machine_lock():
        records.destroy(name)


def _healthy(port: int, path: str, *, tls: bool) -> bool:
    """Ask a neighbour on loopback for its health; its certificate is its own and proves nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = (
        http.client.HTTPSConnection(_LOOPBACK, port, timeout=_HEALTH_TIMEOUT_S, context=context)
        if tls
        else http.client.HTTPConnection(_LOOPBACK, port, timeout=_HEALTH_TIMEOUT_S)
    )
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False
