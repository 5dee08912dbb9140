"""Pods found by their processes: only their own namespace, only while it is theirs, and nothing left when they are gone.

The proc filesystem is one of files here, so that a test says what the kubelet would: which process is which pod's, and in
which namespace it is. `tests/cluster` has the same with a real kubelet.
"""

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft_contract.resources import Capture, Workload
from weft_testing.agent_process import until
from weft_testing.netns import Place, Pod, ip
from weft_testing.served_node import ServedNode

pytestmark = pytest.mark.netns

FOUND = Capture()


class Proc:
    """A node's proc filesystem: processes by number, each of a pod and in a namespace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def put(self, pid: int, uid: str, place: Place, started: int = 1) -> None:
        directory = self.root / str(pid)
        (directory / "ns").mkdir(parents=True, exist_ok=True)
        (directory / "cgroup").write_text(f"0::/kubepods/burstable/pod{uid}/c{pid}\n" if uid else "0::/init.scope\n")
        (directory / "stat").write_text(f"{pid} (app) S {' '.join(['0'] * 18)} {started} 0\n")
        new = directory / "ns/new"
        new.symlink_to(place.path)
        new.rename(directory / "ns/net")

    def end(self, pid: int) -> None:
        shutil.rmtree(self.root / str(pid))


class Kubelet:
    """A served node whose agent finds pods by processes."""

    def __init__(self, directory: Path) -> None:
        self.proc = Proc(directory / "proc")
        self.node = ServedNode(directory, arguments=("--proc", str(self.proc.root)))

    def __enter__(self) -> "Kubelet":
        self.node.__enter__()
        self.proc.put(1, "", self.node.place)
        return self

    def __exit__(self, *error: object) -> None:
        self.node.__exit__(None, None, None)

    def workload(self, pod: Pod, uid: str = "uid-server") -> Workload:
        return self.node.workload(pod, FOUND, uid=uid, name="server")

    def until_state(self, state: str, uid: str = "uid-server") -> str:
        def reached() -> bool:
            found = self.node.pod_state("server")
            return (found.get("uid"), found.get("state")) == (uid, state)

        until(reached, f"the pod is {state}")
        return str(self.node.pod_state("server")["error"])


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    with Kubelet(tmp_path) as made:
        yield made


def test_a_pod_is_found_by_its_processes_and_captured_when_it_starts(kubelet: Kubelet) -> None:
    node = kubelet.node
    node.configure(kubelet.workload(node.server))
    assert "no process of pod uid-server" in kubelet.until_state("absent")
    node.agent.until_ready()  # there is nothing to guard yet
    kubelet.proc.put(70, "uid-server", node.server)
    kubelet.until_state("captured")
    assert node.pod_state("server")["netns"] == str(node.server.path), "the name that outlives the process"
    for family in (4, 6):
        assert node.ask(node.server, family=family)["direction"] == "inbound"


def test_the_nodes_own_namespace_is_refused_whoever_is_in_it(kubelet: Kubelet) -> None:
    node = kubelet.node
    kubelet.proc.put(70, "uid-server", node.place)
    node.configure(kubelet.workload(node.server))
    assert "never captured" in kubelet.until_state("failed")


def test_the_hosts_namespace_is_refused_where_the_agent_has_one_of_its_own(tmp_path: Path) -> None:
    """As in a DaemonSet: process 1 of the node's proc filesystem is in a namespace that is not the agent's."""
    with Kubelet(tmp_path) as kubelet:
        node = kubelet.node
        kubelet.proc.put(1, "", node.client)
        kubelet.proc.put(70, "uid-server", node.client)
        node.configure(node.workload(node.client, FOUND, uid="uid-server", name="server"))
        assert "never captured" in kubelet.until_state("failed")
        assert not node.is_captured(node.client)


def test_a_process_that_visits_another_namespace_does_not_lead_there(kubelet: Kubelet) -> None:
    node = kubelet.node
    kubelet.proc.put(70, "uid-server", node.client, started=1)
    kubelet.proc.put(71, "uid-server", node.server, started=2)
    node.configure(kubelet.workload(node.server))
    kubelet.until_state("captured")
    assert node.is_captured(node.server)
    assert not node.is_captured(node.client)


def test_a_pod_whose_address_is_nowhere_in_its_namespace_is_not_captured(kubelet: Kubelet) -> None:
    node = kubelet.node
    kubelet.proc.put(70, "uid-server", node.client)
    node.configure(kubelet.workload(node.server))
    assert "another pod's" in kubelet.until_state("failed")
    assert not node.is_captured(node.client)


def test_a_sandbox_made_anew_is_captured_anew(kubelet: Kubelet) -> None:
    node = kubelet.node
    kubelet.proc.put(70, "uid-server", node.server)
    second = node.place.pod("second")
    both = (*node.server.addresses.values(), *second.addresses.values())
    node.configure(node.workload(node.server, FOUND, uid="uid-server", addresses=both))
    kubelet.until_state("captured")
    kubelet.proc.put(71, "uid-server", second)
    kubelet.proc.end(70)
    for address, length in ((node.server.address(4), 24), (node.server.address(6), 64)):
        ip(f"addr del {address}/{length} dev eth0", namespace=node.server.namespace_name)
    until(lambda: node.is_captured(second), "the new namespace is captured")
    kubelet.until_state("captured")
    assert node.ask(second)["direction"] == "inbound"
    until(lambda: not node.is_captured(node.server), "the old one is not")
    until(lambda: not node.server.shell("ss -Hltn").strip(), "and nobody listens there")


def test_an_address_that_another_pod_got_is_never_taken_for_the_old_pod(kubelet: Kubelet) -> None:
    """The configuration is a second behind: it still names the pod that had the address before."""
    node = kubelet.node
    kubelet.proc.put(70, "uid-server", node.server)
    node.configure(kubelet.workload(node.server))
    kubelet.until_state("captured")
    kubelet.proc.end(70)
    kubelet.proc.put(71, "uid-other", node.server)  # same namespace and address: the worst case
    before = node.agent.control_pid
    os.kill(before, signal.SIGKILL)
    until(lambda: node.agent.status().get("pid", before) != before, "the next control is there")
    kubelet.until_state("absent")
    until(lambda: not node.is_captured(node.server), "it is left alone")
    with pytest.raises(ConnectionRefusedError):
        node.dial(node.server)


def test_a_pod_that_is_gone_leaves_nothing_in_the_agent(kubelet: Kubelet) -> None:
    node = kubelet.node
    kubelet.proc.put(70, "uid-server", node.server)
    node.configure(kubelet.workload(node.server))
    kubelet.until_state("captured")
    identity = node.server.path.stat().st_ino
    assert identity in held(node.agent.control_pid)
    kubelet.proc.end(70)
    for address, length in ((node.server.address(4), 24), (node.server.address(6), 64)):
        ip(f"addr del {address}/{length} dev eth0", namespace=node.server.namespace_name)
    kubelet.until_state("absent")
    assert identity not in held(node.agent.control_pid)
    assert not node.server.shell("ss -Hltn").strip()
    assert not node.is_captured(node.server)
    node.agent.until_ready()


def held(pid: int) -> set[int]:
    """Return the inodes that a process has open."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(path.stat().st_ino)
        except OSError:
            continue
    return found


def test_listeners_of_a_sandbox_that_was_replaced_while_control_was_dead_are_given_up(kubelet: Kubelet) -> None:
    node = kubelet.node
    kubelet.proc.put(70, "uid-server", node.server)
    second = node.place.pod("second")
    both = (*node.server.addresses.values(), *second.addresses.values())
    node.configure(node.workload(node.server, FOUND, uid="uid-server", addresses=both))
    kubelet.until_state("captured")
    kubelet.proc.put(71, "uid-server", second)
    kubelet.proc.end(70)
    before = node.agent.control_pid
    os.kill(before, signal.SIGKILL)
    until(lambda: node.agent.status().get("pid", before) != before, "the next control is there")
    kubelet.until_state("captured")
    assert node.ask(second)["direction"] == "inbound"
    with socket.socket() as probe:
        probe.settimeout(1.0)
    until(lambda: not node.server.shell("ss -Hltn").strip(), "nobody listens in the old namespace")
