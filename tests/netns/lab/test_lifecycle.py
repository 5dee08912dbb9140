"""Up and down: nothing is left afterwards, whatever happened in between; labs live side by side."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from weft_lab import lifecycle
from weft_lab.client import Client, UnreachableError
from weft_lab.lifecycle import LabError
from weft_lab.machine import teardown
from weft_lab.machine.namespaces import MachineError, add_namespace, delete_namespace, lab_namespaces, run
from weft_lab.machine.processes import end
from weft_lab.machine.records import claim, machine_lock, read_daemon, read_lab
from weft_lab.names import STATE_ROOT, fabric_namespace, node_names, node_namespace
from weft_testing.lab import REPOSITORY, LiveLab, run_weft, traces

pytestmark = pytest.mark.netns

PODS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: m, image: weft.dev/demo, args: [client]}]}
"""


def mounts() -> set[str]:
    """Return this machine's mount points of labs."""
    lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    return {line.split()[4] for line in lines if "weft" in line}


def daemon_pid(name: str) -> int:
    record = read_daemon(name)
    assert record is not None
    return record.pid


def full(name: str) -> LiveLab:
    """Bring a lab up that has pods on both nodes."""
    lifecycle.up(name, 2, agent=False)
    lab = LiveLab(name)
    lab.apply(PODS)
    lab.ok("wait", "all", "--timeout", "20s")
    return lab


def test_down_leaves_nothing(name: str) -> None:
    before = mounts()
    full(name)
    assert len(lab_namespaces(name)) == 1 + 2 + 4
    assert lifecycle.down(name)
    assert traces(name) == []
    assert mounts() == before
    assert not lifecycle.down(name), "there was nothing left to take away"


def test_down_after_the_daemon_was_killed(name: str) -> None:
    full(name)
    assert end(daemon_pid(name), signal.SIGKILL, 5)
    with pytest.raises(UnreachableError, match="weft lab down"):
        Client(name).status()
    with pytest.raises(LabError, match="weft lab down"):
        lifecycle.up(name, 1, agent=False)
    assert lifecycle.down(name)
    assert traces(name) == []


def test_pods_die_with_the_daemon(name: str) -> None:
    lab = full(name)
    assert lab.exec("deploy/web", "true").status == 0
    end(daemon_pid(name), signal.SIGKILL, 5)
    pids = [pid for namespace in lab_namespaces(name) for pid in run(["ip", "netns", "pids", namespace]).split()]
    for pid in pids:
        descriptor = os.pidfd_open(int(pid)) if Path(f"/proc/{pid}").exists() else -1
        if descriptor >= 0:
            os.close(descriptor)
            assert end(int(pid), signal.SIGCONT, 5), "it was not told to die with its parent"


def test_down_after_pods_were_killed_and_processes_hide_in_their_namespaces(name: str) -> None:
    lab = full(name)
    namespace = next(item for item in lab_namespaces(name) if ".pod." in item)
    stray = subprocess.Popen(["nsenter", f"--net=/run/netns/{namespace}", "sleep", "600"], start_new_session=True)
    inside = int(run(["ip", "netns", "pids", namespace]).split()[0])
    end(inside, signal.SIGKILL, 5)
    assert lab.weft("down").status == 0
    assert stray.wait(5) == -signal.SIGKILL
    assert traces(name) == []


def test_down_of_a_half_finished_up(name: str) -> None:
    with machine_lock():
        claim(name, node_names(2), agent=False, created="")
    add_namespace(fabric_namespace(name))
    assert traces(name)
    assert run_weft("lab", "status", "--name", name).status == 3
    assert lifecycle.down(name)
    assert traces(name) == []


def test_down_from_names_alone_without_any_record(name: str) -> None:
    add_namespace(fabric_namespace(name))
    (STATE_ROOT / name).mkdir(parents=True)
    assert lifecycle.down(name)
    assert traces(name) == []


def test_an_up_that_was_killed_in_the_middle(name: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "weft_cli", "lab", "up", "--no-agent", "--nodes", "8", "--name", name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not lab_namespaces(name) and process.poll() is None:
        threading.Event().wait(0.005)
    process.kill()
    process.wait()
    assert lifecycle.down(name)
    assert traces(name) == []


def test_a_namespace_that_comes_while_the_lab_is_taken_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `up` that is killed leaves an `ip` that ends by itself, a moment after one has looked."""
    late = [node_namespace(name, "node-1")]

    def delete(each: str) -> None:
        delete_namespace(each)
        if late:
            add_namespace(late.pop())

    add_namespace(fabric_namespace(name))
    monkeypatch.setattr(teardown, "delete_namespace", delete)
    assert lifecycle.down(name)
    assert traces(name) == []


def test_an_up_that_fails_takes_away_what_it_made(name: str) -> None:
    add_namespace(fabric_namespace(name))
    with pytest.raises(LabError, match="weft lab down"):
        lifecycle.up(name, 1, agent=False)
    lifecycle.down(name)
    with pytest.raises(LabError, match="nodes"):
        lifecycle.up(name, 0, agent=False)
    assert traces(name) == []


def test_a_second_up_is_refused_and_changes_nothing(name: str) -> None:
    lifecycle.up(name, 1, agent=False)
    pid = daemon_pid(name)
    ran = run_weft("lab", "up", "--no-agent", "--name", name)
    assert ran.status == 1
    assert "is up already" in ran.err
    assert "weft lab apply" in ran.err
    assert daemon_pid(name) == pid
    assert Client(name).status().pid == pid


def test_a_mistyped_file_leaves_no_lab_behind(name: str) -> None:
    assert run_weft("lab", "up", "--no-agent", "--name", name, "-f", "/nonexistent.yaml").status == 2
    assert traces(name) == []


def test_up_with_files_and_wait(name: str) -> None:
    ran = run_weft("lab", "up", "--no-agent", "--wait", "--name", name, "-f", "-", text=PODS)
    assert ran.status == 0, ran.err
    assert "deployment.apps/web created" in ran.out
    assert Client(name).status().ready_pods == 4


def test_two_labs_live_side_by_side_and_go_one_by_one(name: str, plain: LiveLab) -> None:
    lab = full(name)
    mine, other = read_lab(name), read_lab(plain.name)
    assert mine is not None
    assert other is not None
    assert mine.index != other.index
    listed = run_weft("lab", "list").out
    assert name in listed
    assert plain.name in listed
    lab.ok("down")
    assert Client(plain.name).status().name == plain.name
    assert plain.weft("node-exec", "node-1", "--", "true").status == 0


def test_the_machines_own_namespace_is_left_alone(name: str) -> None:
    def own() -> list[str]:
        return [run(["ip", "-o", *words]) for words in (["link"], ["-4", "route"], ["-6", "route"], ["rule"])]

    before = own()
    full(name)
    assert own() == before
    lifecycle.down(name)
    assert own() == before


def test_names_that_no_lab_can_have_are_refused() -> None:
    for bad in ("A", "../x", "a.b", ""):
        assert run_weft("lab", "down", "--name", bad).status == 2


def test_examples_come_up_as_they_are(name: str) -> None:
    path = REPOSITORY / "manifests" / "examples" / "canary.yaml"
    ran = run_weft("lab", "up", "--no-agent", "--wait", "--name", name, "-f", str(path))
    assert ran.status == 0, ran.err


def test_a_machine_that_refuses_is_told(name: str) -> None:
    with pytest.raises(MachineError, match="nosuch"):
        run(["ip", "netns", "exec", "nosuch-namespace", "true"])
