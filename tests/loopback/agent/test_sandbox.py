"""The worker's walls, tried from inside by a real process: what must fail fails, what must work works, nothing is left."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from weft_agent.channel import memfd
from weft_agent.keeper.launch import command, package_paths, spawn
from weft_testing import sandbox_child
from weft_testing.agent_process import process_status, require_root
from weft_testing.pki import key_pem, pem, root

PATHS: Final = ("weft_agent", "weft_contract", "weft_core", "weft_iptables", "weft_testing")


class Inside:
    """A process behind the walls that has told how everything went and waits."""

    def __init__(self, directory: Path, variables: dict[str, str]) -> None:
        self.directory = str(directory)
        (directory / "root").mkdir()
        (directory / "control").mkdir()
        (directory / "control" / "sock").write_text("")
        listener = socket.create_server(("127.0.0.1", 0))
        unconnected = socket.socket()
        issued = root().issue()
        key = memfd.sealed("key", key_pem(issued.key) + pem(issued.der))
        results, tell = os.pipe()
        held, self._hold = os.pipe()
        own = (listener.fileno(), unconnected.fileno(), key, tell, held)
        spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
        high = [os.dup(fd) for fd in own]  # above the numbers that they get in the child
        argv = command(
            package_paths(PATHS), sandbox_child.__name__, [str(directory / "root"), str(directory / "control")]
        )
        self.pid = spawn(argv, {"PATH": "/usr/bin:/bin:/sbin", **variables}, (0, 1, 2, *high), own_group=True)
        caller = threading.Thread(target=self._call, args=(listener.getsockname(),))
        caller.start()
        os.close(tell)
        with os.fdopen(results) as file:
            line = file.readline()
        caller.join(10)
        self.results: dict[str, Any] = json.loads(line)
        self.status = dict(process_status(self.pid))
        listener.close()
        unconnected.close()
        for fd in (*high, *spare, key, held):
            os.close(fd)

    def _call(self, address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=10) as caller:
            caller.recv(100)

    def end(self) -> int:
        os.close(self._hold)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture(scope="module", params=["pivot_root", "chroot"])
def inside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """The second time pivot_root is forbidden, as in a container with its runtime's own seccomp profile."""
    require_root()
    variables = {sandbox_child.NO_PIVOT_ROOT: "1"} if request.param == "chroot" else {}
    made = Inside(tmp_path_factory.mktemp("sandbox"), variables)
    yield made
    assert made.end() == 0


@pytest.mark.parametrize("name", sandbox_child.forbidden())
def test_what_a_worker_has_no_business_with_fails(inside: Inside, name: str) -> None:
    assert inside.results["forbidden"][name] in {"EPERM", "ENOSYS", "EACCES"}


@pytest.mark.parametrize("name", sandbox_child.gone())
def test_nothing_of_the_node_is_there(inside: Inside, name: str) -> None:
    assert inside.results["gone"][name] == "ENOENT"


@pytest.mark.parametrize("name", sandbox_child.needed())
def test_what_a_worker_needs_works(inside: Inside, name: str) -> None:
    assert inside.results["needed"][name] == "ok"


def test_the_root_holds_two_directories(inside: Inside) -> None:
    assert inside.results["root"] == ["control", "fd"]
    assert inside.results["walls"] == ["/fd", "/control", []]


def test_the_kernel_agrees(inside: Inside) -> None:
    status = inside.status
    assert status["Uid"].split() == ["65534"] * 4
    assert status["Gid"].split() == ["65534"] * 4
    assert status["Groups"] == ""
    for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[field], 16) == 0, field
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_the_process_cannot_be_looked_into(inside: Inside) -> None:
    assert os.stat(f"/proc/{inside.pid}/mem").st_uid == 0, "not dumpable: its entries belong to root"
    limits = Path(f"/proc/{inside.pid}/limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]


def test_no_mount_of_the_sandbox_shows_outside(inside: Inside) -> None:
    assert inside.directory not in Path("/proc/self/mounts").read_text()
    assert Path(f"/proc/{inside.pid}/mounts").read_text().count("\n") == 3
