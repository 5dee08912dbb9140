"""Entering namespaces, knowing them, and the sockets made inside."""

import fcntl
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft_contract.ports import BACK_MARK, PROXY_MARK
from weft_iptables.errors import HostNamespaceError, NamespaceError
from weft_iptables.kernel.addresses import addresses
from weft_iptables.namespaces import NamespaceId, open_namespace, own_namespace_id, run_in, run_in_scratch
from weft_iptables.sockets import Role, make_listeners, make_stock
from weft_testing.capture_world import dial
from weft_testing.netns import Family, Node, World, require_netns, sweep

pytestmark = pytest.mark.netns

_IP_TRANSPARENT, _IPV6_TRANSPARENT, _SO_MARK = 19, 75, 36
_SIOCGSKNS = 0x894C


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node with two pods."""
    with World() as world:
        made = world.node("node")
        made.pod("a")
        made.pod("b")
        yield made


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- namespaces -----------------------------------------------------------------------------------------------------


def test_a_function_runs_inside_and_the_caller_stays_outside(node: Node) -> None:
    before = own_namespace_id()
    for pod in node.pods:
        assert set(pod.addresses.values()) <= pod.run(addresses)
    assert own_namespace_id() == before
    assert not set(node.pods[0].addresses.values()) & addresses()


def test_many_threads_enter_different_namespaces_at_once(node: Node) -> None:
    wrong: list[str] = []

    def work(number: int) -> None:
        pod = node.pods[number % 2]
        if pod.address(4) not in pod.run(addresses):
            wrong.append(pod.name)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert wrong == []


def test_an_error_inside_is_raised_outside(node: Node) -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        node.pods[0].run(lambda: 1 // 0)
    with pytest.raises(SystemExit):
        node.pods[0].run(lambda: exec("raise SystemExit(3)"))
    assert threading.active_count() == before


def test_a_program_started_inside_is_inside(node: Node) -> None:
    pod = node.pods[1]
    out = pod.run(lambda: subprocess.run(["ip", "-br", "addr"], capture_output=True, text=True, check=True).stdout)
    assert pod.address(4) in out


def test_each_call_has_a_thread_of_its_own(node: Node) -> None:
    seen = [node.pods[0].run(threading.current_thread) for _ in range(3)]
    assert len({id(thread) for thread in seen}) == 3
    assert not any(thread.is_alive() for thread in seen)


def test_a_namespace_is_known_by_its_identity(node: Node) -> None:
    a, b = node.pods
    with open_namespace(a.path) as one, open_namespace(a.path) as again, open_namespace(b.path) as other:
        assert one.identity == again.identity == NamespaceId(os.stat(a.path).st_dev, os.stat(a.path).st_ino)
        assert one.identity != other.identity
        assert str(a.path) in repr(one)


def test_the_hosts_namespace_is_refused(node: Node) -> None:
    before = open_descriptors()
    with pytest.raises(HostNamespaceError):
        open_namespace("/proc/self/ns/net")
    with open_namespace(node.pods[0].path) as pod, pytest.raises(HostNamespaceError):
        open_namespace(node.pods[0].path, forbidden={pod.identity})
    assert open_descriptors() == before


@pytest.mark.parametrize("path", ["/nonexistent", "/proc/self/ns/mnt", "/etc/hostname", "/run"])
def test_what_is_no_network_namespace_is_refused(path: str) -> None:
    before = open_descriptors()
    with pytest.raises(NamespaceError, match=path):
        open_namespace(path)
    assert open_descriptors() == before


def test_a_leftover_file_without_a_namespace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pod").touch()
    with pytest.raises(NamespaceError, match="nothing is mounted"):
        open_namespace(tmp_path / "pod")


def test_a_closed_namespace_cannot_be_entered(node: Node) -> None:
    closed = open_namespace(node.pods[0].path)
    closed.close()
    closed.close()
    with pytest.raises(NamespaceError, match="cannot be entered"):
        closed.run(addresses)
    with pytest.raises(NamespaceError, match="cannot be entered"):
        run_in(-1, addresses)


def test_a_scratch_namespace_is_empty_and_gone_afterwards() -> None:
    first = run_in_scratch(lambda: (os.stat("/proc/thread-self/ns/net").st_ino, addresses()))
    assert first[1] == frozenset()
    assert first[0] != own_namespace_id().inode


# -- sockets --------------------------------------------------------------------------------------------------------


def options(made: socket.socket, family: Family) -> dict[str, int]:
    """Return what was set."""
    transparent = (socket.SOL_IP, _IP_TRANSPARENT) if family == 4 else (socket.IPPROTO_IPV6, _IPV6_TRANSPARENT)
    return {
        "transparent": made.getsockopt(*transparent),
        "mark": made.getsockopt(socket.SOL_SOCKET, _SO_MARK),
        "nodelay": made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        "blocking": int(made.getblocking()),
        "inherited": int(os.get_inheritable(made.fileno())),
        "v6only": made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) if family == 6 else 1,
    }


def namespace_of(made: socket.socket) -> int:
    """Return the inode of the namespace that a socket belongs to (SIOCGSKNS)."""
    fd = fcntl.ioctl(made.fileno(), _SIOCGSKNS)
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


@pytest.mark.parametrize(("role", "mark"), [("upstream", PROXY_MARK), ("app", BACK_MARK)])
def test_stock_is_ready_to_connect(node: Node, family: Family, role: Role, mark: int) -> None:
    pod = node.pods[0]
    made = make_stock(pod.namespace.fd, role, family, 20)
    try:
        assert len({item.fileno() for item in made}) == 20
        for item in made:
            assert options(item, family) == {
                "transparent": 1, "mark": mark, "nodelay": 1, "blocking": 0, "inherited": 0, "v6only": 1,
            }  # fmt: skip
            assert namespace_of(item) == pod.namespace.identity.inode
    finally:
        for item in made:
            item.close()


def test_stock_is_made_quickly(node: Node, family: Family) -> None:
    """At most 20 µs each, in the best of some rounds (other tests share the machine)."""
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        made = make_stock(node.pods[0].namespace.fd, "app", family, 256)
        best = min(best, (time.perf_counter() - start) / len(made))
        for item in made:
            item.close()
    assert best < 20e-6


def test_none_of_a_stock_is_left_when_it_cannot_be_made_whole(node: Node) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = open_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, limits[1]))
    try:
        with pytest.raises(NamespaceError, match=r"socket \d+ of 100 cannot be made"):
            make_stock(node.pods[0].namespace.fd, "app", 4, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert open_descriptors() == before


def test_listeners_listen_on_loopback_and_can_be_made_twice(node: Node) -> None:
    pod = node.pods[0]
    both = [make_listeners(pod.namespace.fd, (4, 6)) for _ in range(2)]
    try:
        for made in both:
            assert [(item.direction, item.family) for item in made] == [
                ("outbound", 4), ("inbound", 4), ("outbound", 6), ("inbound", 6),
            ]  # fmt: skip
            for item in made:
                at = ("127.0.0.1" if item.family == 4 else "::1", 15001 if item.direction == "outbound" else 15006)
                assert item.socket.getsockname()[:2] == at
                seen = options(item.socket, item.family)
                assert seen == {
                    "transparent": 1, "mark": PROXY_MARK, "nodelay": 1, "blocking": 0, "inherited": 0, "v6only": 1,
                }  # fmt: skip
        assert pod.shell("ss -Htln").count(" 4096 ") == 8
    finally:
        for made in both:
            for item in made:
                item.socket.close()


def test_a_port_that_somebody_holds_is_said_and_nothing_is_left_open(node: Node) -> None:
    pod = node.pods[1]

    def hold() -> socket.socket:
        made = socket.socket()
        made.bind(("0.0.0.0", 15006))
        made.listen(1)
        return made

    with pod.run(hold):
        before = open_descriptors()
        with pytest.raises(NamespaceError, match=r"socket 2 of 4.*in use"):
            make_listeners(pod.namespace.fd, (4, 6))
        assert open_descriptors() == before


# -- the builder that all tests in namespaces use -------------------------------------------------------------------


def test_a_world_joins_its_nodes_and_vanishes() -> None:
    with World() as world:
        one, two = world.node("one"), world.node("two")
        near, far = one.pod("near"), two.pod("far")
        paths = [place.path for place in world.places]
        assert all(path.exists() for path in paths)
        for address in far.addresses.values():
            with pytest.raises(ConnectionRefusedError):
                dial(near, address, 1)
        program = near.spawn(["sleep", "1000"])
        assert near.namespace_name in world.describe()
        assert "fd77:1::10" in world.describe()
    assert not any(path.exists() for path in paths)
    assert program.returncode == -9
    assert world not in World.live


def test_a_world_vanishes_when_making_it_fails() -> None:
    world = World()

    def make_the_same_twice() -> None:
        with world:
            world.node("same")
            assert world.hub.path.exists()
            world.node("same")

    with pytest.raises(OSError, match="exists"):
        make_the_same_twice()
    assert not [item for item in Path("/run/netns").iterdir() if item.name.startswith(world.prefix)]


def test_what_a_killed_run_left_is_swept() -> None:
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    name = f"wt{gone}-1-pod"
    subprocess.run(["ip", "netns", "add", name], check=True)
    sweep()
    assert not Path("/run/netns", name).exists()


def test_a_missing_tool_skips_or_fails_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEFT_REQUIRE_NETNS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed: no-such-tool"):
        require_netns("no-such-tool")
    monkeypatch.setenv("WEFT_REQUIRE_NETNS", "1")
    with pytest.raises(pytest.fail.Exception, match="but not installed: no-such-tool"):
        require_netns("no-such-tool")
    require_netns("ip")
