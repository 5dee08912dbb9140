"""Whose process is it: cgroups of every driver and version, names that a pod gives itself, ids that are used again."""

from pathlib import Path

import pytest

from weft_agent.capture.processes import FRESH_S, Processes, pod_of_cgroup

UID = "0f2d6b3e-6f4f-4c5e-9d3a-3f1a2b4c5d6e"
OTHER = "11111111-2222-3333-4444-555555555555"
SLICED = UID.replace("-", "_")


@pytest.mark.parametrize(
    "path",
    [
        f"/kubepods/pod{UID}/c0ffee",
        f"/kubepods/besteffort/pod{UID}/c0ffee",
        f"/n1/kubepods/burstable/pod{UID}/c0ffee",
        f"/kubepods.slice/kubepods-pod{SLICED}.slice/cri-containerd-c0ffee.scope",
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICED}.slice/crio-c0ffee.scope",
        f"/kubelet.slice/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{SLICED}.slice/cri-c.scope",
        f"/../../kubepods-burstable-pod{SLICED}.slice/cri-containerd-c0ffee.scope",
        f"/../../besteffort/pod{UID}/c0ffee",
        f"/kubepods/besteffort/pod{UID}",
    ],
)
def test_every_driver_names_the_pod(path: str) -> None:
    assert pod_of_cgroup(f"0::{path}\n") == UID
    version_1 = f"12:pids:{path}\n11:cpu,cpuacct:{path}\n1:name=systemd:{path}\n0::/\n"
    assert pod_of_cgroup(version_1) == UID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0::/\n",
        "0::/system.slice/kubelet.service\n",
        "0::/user.slice/podman-12.scope\n",
        "0::/kubepods/besteffort/pod\n",
        "nonsense",
        f"1:pids:/kubepods/pod{UID}/c\n2:cpu:/kubepods/pod{OTHER}/c\n",
    ],
)
def test_what_belongs_to_no_pod_or_to_two_is_nobodys(text: str) -> None:
    assert pod_of_cgroup(text) == ""


def test_a_static_pods_uid_has_no_dashes() -> None:
    assert pod_of_cgroup("0::/kubepods/burstable/pod0123456789abcdef0123456789abcdef/c\n").startswith("0123456789")


def test_a_pod_cannot_pass_itself_off_as_another_by_cgroups_of_its_own() -> None:
    inner = f"0::/kubepods/burstable/pod{UID}/c0ffee/kubepods/pod{OTHER}/c\n"
    assert pod_of_cgroup(inner) == UID


def test_in_a_nested_cluster_the_pod_that_is_the_node_does_not_count() -> None:
    node = f"/kubepods/burstable/pod{OTHER}/c0ffee/kubelet/kubepods"
    agent = f"0::{node}/besteffort/podaaaaaaaa-0000-0000-0000-000000000000/c\n"
    assert pod_of_cgroup(f"0::{node}/burstable/pod{UID}/c\n", agent) == UID
    assert pod_of_cgroup(f"0::{node}/besteffort/pod{UID}/c\n", agent) == UID
    assert pod_of_cgroup(f"0::/kubepods/burstable/pod{OTHER}/c0ffee/kubelet\n", agent) == ""


class Proc:
    """A proc filesystem of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.put("self", "0::/\n")

    def put(self, name: str, cgroup: str, started: int = 1) -> None:
        directory = self.root / name
        directory.mkdir(exist_ok=True)
        (directory / "cgroup").write_text(cgroup)
        (directory / "stat").write_text(f"{name} (a (b) c) S {' '.join(['0'] * 18)} {started} 0 0\n")

    def pod(self, pid: int, uid: str, started: int = 1) -> None:
        self.put(str(pid), f"0::/kubepods/pod{uid}/c\n", started)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_the_oldest_process_of_a_pod_comes_first(proc: Proc) -> None:
    proc.pod(10, UID, started=300)
    proc.pod(30, UID, started=100)
    proc.pod(20, OTHER, started=50)
    proc.put("99", "0::/init.scope\n")
    proc.put("bus", f"0::/kubepods/pod{UID}/c\n")
    assert Processes(proc.root).of_pod(UID) == [30, 10]
    assert Processes(proc.root).of_pod("nobody") == []


def test_pods_that_start_together_share_a_look(proc: Proc) -> None:
    now = [100.0]
    processes = Processes(proc.root, lambda: now[0])
    assert processes.of_pod(UID) == []
    proc.pod(10, UID)
    now[0] += FRESH_S / 2
    assert processes.of_pod(UID) == []
    now[0] += FRESH_S
    assert processes.of_pod(UID) == [10]


def test_a_process_id_that_is_another_pods_by_now_is_refused(proc: Proc) -> None:
    proc.pod(10, UID)
    processes = Processes(proc.root)
    assert processes.of_pod(UID) == [10]
    with processes.hold(10, UID) as directory:
        assert (directory / "cgroup").read_text() == f"0::/kubepods/pod{UID}/c\n"
    proc.pod(10, OTHER)
    with pytest.raises(ProcessLookupError), processes.hold(10, UID):
        raise AssertionError("never held")
    with pytest.raises(ProcessLookupError), processes.hold(11, UID):
        raise AssertionError("never held")


def test_a_proc_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        Processes(tmp_path / "absent").of_pod(UID)
