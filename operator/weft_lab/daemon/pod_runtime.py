"""One pod on this machine: its network, directory, hosts file, and the processes of its containers."""

import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from weft_lab.addressing import Pair
from weft_lab.container.order import JoinOrder
from weft_lab.daemon import probing
from weft_lab.daemon.child import Child
from weft_lab.daemon.container_order import container_program, container_variables, layer_directory, pod_order
from weft_lab.daemon.lab import Lab
from weft_lab.machine.namespaces import add_namespace, apply, delete_namespace
from weft_lab.model import Container, Pod, PodStatus, Probe
from weft_lab.names import pod_link, pod_namespace
from weft_lab.plan.container_life import ContainerLife, Ended
from weft_lab.plan.environment import ConfigurationError, Sources
from weft_lab.plan.hostnames import HostEntry, fixed_entries
from weft_lab.plan.hostsfile import HostsFile
from weft_lab.plan.network import POD_SYSCTLS, pod_batches
from weft_lab.plan.pod_life import Order, PodLife, RunHook, RunProbe, SignalContainer, StartContainer
from weft_lab.plan.pod_status import StatusWriter
from weft_lab.plan.probes import ProbeKind

KEPT_LOGS: Final = 2
"""Log files of a container: the present run and the one before, as a kubelet keeps them."""


class PodRuntime:
    """A pod that has a node. All methods but those marked run on the loop's thread."""

    def __init__(
        self, lab: Lab, pod: Pod, addresses: Pair | None, prober: ThreadPoolExecutor, writer: StatusWriter
    ) -> None:
        self.lab = lab
        self.uid = pod.metadata.uid
        self.node = pod.spec.node_name
        self.addresses = addresses
        self.pod = pod
        self.life = PodLife(pod.spec)
        self.writer = writer
        self.directory = lab.pod_directory(self.uid)
        self.networked = False
        self.children: dict[str, Child] = {}
        self.waits_for = ""
        """What its containers wait for before they may start, for people."""
        self.on_news: Callable[[], None] = lambda: None
        self.sources: Callable[[], Sources] = lambda: Sources({}, {})
        self._prober = prober
        self._hosts = HostsFile()

    @property
    def namespace(self) -> str:
        """Name of the pod's network namespace; the node's own for `hostNetwork`."""
        if self.addresses is None:
            return self.lab.node_namespace(self.node)
        return pod_namespace(self.lab.name, self.pod.metadata.namespace, self.pod.metadata.name)

    @property
    def ips(self) -> tuple[str, ...]:
        """The pod's addresses."""
        return (self.addresses or self.lab.node_addresses(self.node)).texts()

    def build(self) -> None:
        """Make directory and network. Blocks; called in a thread.

        Raises:
            MachineError: `ip` refused.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.addresses is None:
            return
        with suppress(FileNotFoundError):
            delete_namespace(self.namespace)  # left over from a run that broke off in the middle
        own = tuple((item.name, item.value) for item in self.pod.spec.security_context.sysctls)
        add_namespace(self.namespace, POD_SYSCTLS + own)
        node = self.lab.node_addresses(self.node)
        link = pod_link(self.uid)
        apply(pod_batches(self.namespace, self.lab.node_namespace(self.node), link, self.addresses, node))

    def demolish(self) -> None:
        """Remove network and directory. Blocks; called in a thread, when no process is left."""
        if self.addresses is not None:
            delete_namespace(self.namespace)
        shutil.rmtree(self.directory, ignore_errors=True)

    def write_hosts(self, services: list[HostEntry]) -> None:
        """Bring the pod's hosts file up to date, in place."""
        patches = self._hosts.patches([*fixed_entries(self.pod), *services])
        if patches:
            descriptor = os.open(self.directory / "hosts", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                for patch in patches:
                    os.pwrite(descriptor, patch.data, patch.offset)
            finally:
                os.close(descriptor)

    def status(self) -> PodStatus:
        """Return the pod's status at this moment."""
        host = self.lab.node_addresses(self.node).texts()
        return self.writer.write(self.life, self.ips if self.networked else (), host, self.lab.loop.now)

    def log_path(self, container: str, attempt: int) -> Path:
        """Return the log file of one run of a container."""
        return self.directory / "logs" / f"{container}.{attempt}.log"

    def carry_out(self, order: Order) -> None:
        """Do what the pod's life asks for."""
        match order:
            case StartContainer(name, attempt):
                self._start(name, attempt)
            case SignalContainer(name, _, number):
                child = self.children.get(name)
                if child is not None:
                    child.signal(signal.SIGTERM if number == "TERM" else signal.SIGKILL)
            case RunProbe(name, attempt, kind):
                self._probe(name, attempt, kind)
            case RunHook(name, attempt):
                self._hook(name, attempt)

    def _start(self, name: str, attempt: int) -> None:
        life = self._container(name)
        try:
            order = pod_order(self.pod, life.spec, attempt, self.sources(), self.directory, self.namespace)
            output = self._open_log(name, attempt)
        except (ConfigurationError, OSError) as exc:
            end = Ended(128, 0, "CreateContainerConfigError", str(exc), self.lab.loop.now)
            self.lab.loop.call(lambda: self._over(name, attempt, end))
            return

        def running() -> None:
            self.life.started(name, attempt, self.lab.loop.now)
            self.on_news()

        child = Child(self.lab.loop, running, lambda end: self._over(name, attempt, end))
        self.children[name] = child
        child.start(self.lab.spawner, order, output)

    def _over(self, name: str, attempt: int, end: Ended) -> None:
        self.children.pop(name, None)
        layer = layer_directory(self.directory, name, attempt)
        # what a run wrote goes with it; the next begins with this machine's files again
        self.lab.loop.in_thread(lambda: shutil.rmtree(layer, ignore_errors=True), lambda _: None)
        self.life.exited(name, attempt, end)
        self.on_news()

    def _open_log(self, name: str, attempt: int) -> int:
        path = self.log_path(name, attempt)
        path.parent.mkdir(exist_ok=True)
        self.log_path(name, attempt - KEPT_LOGS).unlink(missing_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    # -- probes and exec ------------------------------------------------------------------------------------------

    def join_order(self, container: str, words: tuple[str, ...], extra: dict[str, str] | None = None) -> JoinOrder:
        """Return the order that runs a command in a container.

        Args:
            container: its name.
            words: the command.
            extra: variables on top of the container's own.

        Raises:
            ConfigurationError: the container does not run.
        """
        child = self.children.get(container)
        life = self._container(container)
        if child is None or not child.pid or life.state != "running":
            raise ConfigurationError(f"container {container} is not running (it is {life.state}: {life.reason})")
        environment = container_variables(self.pod, life.spec, self.sources()) | (extra or {})
        program = container_program(self.pod, life.spec, words, environment)
        return JoinOrder(child.pid, child.started_ticks, program)

    def _probe(self, name: str, attempt: int, kind: ProbeKind) -> None:
        life = self._container(name)
        named: dict[ProbeKind, Probe | None] = {
            "startup": life.spec.startup_probe,
            "liveness": life.spec.liveness_probe,
            "readiness": life.spec.readiness_probe,
        }
        probe = named[kind]
        if probe is None:
            return

        def answered(future: "Future[None]") -> None:
            self.life.answered(name, attempt, kind, future.exception() is None, self.lab.loop.now)
            self.on_news()

        work = self._probe_work(probe, life.spec)
        self.lab.loop.in_thread(work, answered, self._prober)

    def _hook(self, name: str, attempt: int) -> None:
        life = self._container(name)
        hook = life.spec.lifecycle.pre_stop
        left_s = max(0.0, (life.kill_at or 0.0) - self.lab.loop.now)

        def over(future: "Future[None]") -> None:
            self.life.hook_over(name, attempt, self.lab.loop.now)
            self.on_news()

        if hook is not None and hook.exec is not None:
            work = self._exec_work(life.spec, hook.exec.command, left_s)
            self.lab.loop.in_thread(work, over, self._prober)

    def _probe_work(self, probe: Probe, container: Container) -> Callable[[], None]:
        if probe.exec is None:
            target = probing.Target(self.ips[0], probe, container)
            return lambda: probing.send(target)
        return self._exec_work(container, probe.exec.command, float(probe.timeout_seconds))

    def _exec_work(self, container: Container, words: tuple[str, ...], timeout_s: float) -> Callable[[], None]:
        """Return what runs a command in a container, in a thread; it raises where the command fails."""
        try:
            order = self.join_order(container.name, words)
        except ConfigurationError as exc:
            message = str(exc)

            def fail() -> None:
                raise probing.ProbeFailedError(message)

            return fail
        return lambda: self._exec(order, timeout_s)

    def _exec(self, order: JoinOrder, timeout_s: float) -> None:
        output = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            spawned = self.lab.spawner.spawn(order, output).result()
        finally:
            os.close(output)
        os.close(spawned.status)
        probing.run(spawned.process, timeout_s)

    def _container(self, name: str) -> ContainerLife:
        life = self.life.container(name)
        if life is None:
            raise ConfigurationError(f"pod {self.pod.metadata.name} has no container {name}")
        return life
