"""A node: a real kubelet, containerd and kube-proxy in namespaces of their own, that can be crashed, unplugged and rebooted.

Theory. A node is a network namespace on the hub and one `unshare` process in it, whose child is the node's init
(`node_init.py`). Everything else of the node descends from that init, so killing `unshare` is pulling the power plug. What
is left then, as on a real machine, is the disk (the node's folder); what is not, is taken away here: cgroups, network.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from weft_testing.cluster import cgroups, network
from weft_testing.cluster.components import proxy_configuration
from weft_testing.cluster.control_plane import PYTHON_VARIABLES, ControlPlane, python_command
from weft_testing.cluster.node_files import CONTAINERD, KUBELET, PROXY, SOCKET, NodePlan, node_object
from weft_testing.cluster.node_init import BOOTED, PART_VARIABLE, WANTED
from weft_testing.cluster.pki import issue_node
from weft_testing.cluster.processes import Process, children, spawn, wait_until, write_atomically

PARTS: Final = (CONTAINERD, KUBELET, PROXY)
_BOOT_TIMEOUT_S: Final = 30.0
_READY_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 10.0
_COMMAND_TIMEOUT_S: Final = 60.0
_UNSHARE: Final = ("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")


class NodeError(Exception):
    """A command on a node failed; the message has what it said."""


class Node:
    """One node of a cluster; `Cluster` makes them."""

    def __init__(self, control_plane: ControlPlane, plan: NodePlan, programs: Mapping[str, Path]) -> None:
        self._control_plane = control_plane
        self._plan = plan
        self._programs = programs
        self.name = plan.name
        self.number = plan.number
        self.addresses = plan.hosts
        self.directory = plan.directory
        self._cluster = control_plane.name

    def create(self) -> None:
        """Write everything the node needs and register it; it is not running yet."""
        setting = self._control_plane.setting
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "cni").mkdir(exist_ok=True)
        for path, text in self._plan.files().items():
            write_atomically(path, text.encode())
        proxy = json.dumps(proxy_configuration(setting, self.name))
        write_atomically(self.directory / "kube-proxy.json", proxy.encode())
        issue_node(self._control_plane.authority, self.name, self.addresses, setting.server)
        self._control_plane.api.create("/api/v1/nodes", node_object(self._plan))

    def boot(self, archives: Sequence[Path] = ()) -> None:
        """Switch the node on.

        Args:
            archives: images to import before the kubelet starts.

        Raises:
            ProcessError: it did not come up.
            NetworkError: its network could not be made.
        """
        network.make_place(self._cluster, self.name, self.addresses, self._control_plane.record.addresses.control_plane)
        self.route_to_the_others()
        cgroups.make(self._cluster, self.name)
        (self.directory / BOOTED).unlink(missing_ok=True)
        self._want(())
        command = [
            "nsenter",
            f"--net={network.namespace_path(self._cluster, self.name)}",
            *_UNSHARE,
            *python_command(
                "weft_testing.cluster.node_init",
                self.name,
                str(self.directory),
                str(self._control_plane.directory),
            ),
        ]
        log = self._plan.log("init")
        process = spawn(self._cluster, command, log, variables=PYTHON_VARIABLES)
        self._control_plane.record.ledger.write(self._ledger_name, process)
        booted = self.directory / BOOTED
        wait_until(booted.exists, f"{self.name} had booted", _BOOT_TIMEOUT_S, process=process, log=log)
        self.start(CONTAINERD)
        wait_until(self._containerd_answers, "containerd answered", _BOOT_TIMEOUT_S, log=self._plan.log(CONTAINERD))
        for archive in archives:
            self.load(archive)
        self.start(KUBELET)
        self.start(PROXY)

    def wait_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> float:
        """Wait until the node is Ready and really serves, and return how long that took, in seconds.

        The condition alone is the kubelet's last word, and stands for a while after the kubelet has died.

        Raises:
            ProcessError: it was not within the time.
        """
        return wait_until(self._serves, f"node {self.name} was Ready", timeout_s, log=self._plan.log(KUBELET))

    def wait_not_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> float:
        """Wait until the control plane no longer takes the node for Ready, and return how long that took, in seconds.

        Raises:
            ProcessError: it was Ready all the time.
        """
        return wait_until(lambda: not self.is_ready(), f"node {self.name} was not Ready", timeout_s)

    def is_ready(self) -> bool:
        """Tell whether the control plane takes the node for Ready."""
        found = self._control_plane.api.get(f"/api/v1/nodes/{self.name}")
        conditions = found["status"].get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def crash(self) -> None:
        """Pull the plug: everything on the node ends at once; only its disk is left."""
        power = self._power
        if power is not None:
            power.end(signal.SIGKILL, _END_TIMEOUT_S)
        self._control_plane.record.ledger.forget(self._ledger_name)
        network.remove_place(self._cluster, self.name)
        cgroups.remove(self._cluster, self.name)

    def reboot(self) -> None:
        """Crash and boot again, with the same disk.

        Raises:
            ProcessError: it did not come up again.
        """
        self.crash()
        self.boot()

    def set_link(self, *, up: bool) -> None:
        """Plug the node's network cable in or out."""
        network.set_link(self._cluster, self.name, up=up)

    def start(self, part: str) -> None:
        """Start one of the node's programs and keep it up."""
        self._want({*self._wanted(), part})

    def stop(self, part: str) -> None:
        """Kill one of the node's programs, and let it be down until `start`.

        Raises:
            ProcessError: it did not end.
        """
        process = self.process(part)
        self._want({*self._wanted()} - {part})
        if process is not None:
            wait_until(lambda: not process.alive(), f"{part} had ended", _END_TIMEOUT_S)

    def kill(self, part: str) -> None:
        """Kill one of the node's programs; the node's init starts it again half a second after its last start or later."""
        process = self.process(part)
        if process is not None:
            process.end(signal.SIGKILL, _END_TIMEOUT_S)

    def process(self, part: str) -> Process | None:
        """Return the process of one of the node's programs, or None if it does not run."""
        init = self._init
        mark = f"{PART_VARIABLE}={part}".encode()
        for pid in children(init) if init else ():
            with suppress(OSError):
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    return Process.of(pid)
        return None

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs another one on the node: its files, its processes, its network.

        Raises:
            NodeError: the node is off.
        """
        if not self._init:
            raise NodeError(f"{self.name} is off")
        return ["nsenter", f"--target={self._init}", "--mount", "--uts", "--pid", "--net", "--", *arguments]

    def run(self, *arguments: str, timeout_s: float = _COMMAND_TIMEOUT_S) -> str:
        """Run a command on the node and return what it printed.

        Raises:
            NodeError: it failed, or the node is off.
        """
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=timeout_s)
        if done.returncode != 0:
            raise NodeError(f"on {self.name}, {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def root(self) -> Path:
        """The node's files as this machine sees them; without a trailing slash.

        Raises:
            NodeError: the node is off.
        """
        if not self._init:
            raise NodeError(f"{self.name} is off")
        return Path(f"/proc/{self._init}/root")

    def load(self, archive: Path) -> None:
        """Import an image from an OCI archive, as if it had been pulled.

        Raises:
            NodeError: containerd refused it.
        """
        self.run("ctr", f"--address={SOCKET}", "--namespace=k8s.io", "images", "import", str(archive))

    def log(self, part: str) -> Path:
        """Return the file that has a program's output."""
        return self._plan.log(part)

    def route_to_the_others(self) -> None:
        """Learn the way to the pods of all other nodes."""
        numbers = set(range(1, len(self._control_plane.record.nodes) + 1)) - {self.number}
        network.add_routes(self._cluster, self.name, self._plan.addresses, sorted(numbers))

    @property
    def _ledger_name(self) -> str:
        return f"node-{self.name}"

    @property
    def _power(self) -> Process | None:
        return self._control_plane.record.ledger.read(self._ledger_name)

    @property
    def _init(self) -> int:
        """The node's init as this machine counts processes, or 0 if the node is off."""
        power = self._power
        found = children(power.pid) if power is not None and power.alive() else []
        return found[0] if found else 0

    def _containerd_answers(self) -> bool:
        try:
            self.run("ctr", f"--address={SOCKET}", "--namespace=k8s.io", "version", timeout_s=5.0)
        except (NodeError, subprocess.TimeoutExpired):  # a busy machine is no answer either; it is asked again
            return False
        return True

    def _serves(self) -> bool:
        """Tell whether the node is Ready, its kubelet knows all pods that are its own, and containerd answers."""
        if not self.is_ready():
            return False
        api = self._control_plane.api
        status, known = api.send("GET", f"/api/v1/nodes/{self.name}/proxy/pods")
        bound = api.get(f"/api/v1/pods?fieldSelector=spec.nodeName={self.name}")
        # An empty list is `null` from the kubelet.
        uids = [{pod["metadata"]["uid"] for pod in each.get("items") or ()} for each in (bound, known)]
        return status == 200 and uids[0] <= uids[1] and self._containerd_answers()

    def _wanted(self) -> dict[str, list[str]]:
        content: dict[str, list[str]] = json.loads((self.directory / WANTED).read_bytes())
        return content

    def _want(self, parts: "Sequence[str] | set[str]") -> None:
        """Tell the node's init which programs are to run."""
        commands = self._plan.commands(self._programs[KUBELET], self._programs[PROXY])
        wanted = {part: commands[part] for part in PARTS if part in parts}
        write_atomically(self.directory / WANTED, json.dumps(wanted).encode())
        if self._init:
            os.kill(self._init, signal.SIGHUP)
