"""Connections live on: those older than the capture, through changes of exclusions, repairs, another back end."""

import socket
import struct
import threading
from collections.abc import Callable

import pytest

from weft_contract.resources import Capture
from weft_iptables.backends import BACKENDS, BackendName, open_backend
from weft_iptables.kernel.diag import direct_connections
from weft_iptables.plan import Connection, plan
from weft_testing.capture_world import (
    EXCLUDED_IN,
    EXCLUDED_OUT,
    NODE_PORT,
    PORT,
    SECOND_NODE_PORT,
    SHORT_S,
    USUAL,
    VIP_B,
    WAIT_S,
    CaptureWorld,
    call,
    dial,
    greeting,
)
from weft_testing.netns import Family, Pod

pytestmark = pytest.mark.netns


def still_talks(connection: socket.socket, text: bytes = b"still there?") -> bool:
    """Send something and get it back."""
    connection.settimeout(WAIT_S)
    try:
        connection.sendall(text)
        found = b""
        while len(found) < len(text) and (data := connection.recv(len(text))):
            found += data
    except OSError:
        return False
    return found == text


def talk_for_ever(connection: socket.socket) -> None:
    """Send and receive until something breaks."""
    connection.settimeout(WAIT_S)
    while True:
        connection.sendall(b"x")
        connection.recv(1)


def opened(dialled: socket.socket) -> socket.socket:
    """Read the greeting, so that the connection is established at both ends."""
    greeting(dialled)
    return dialled


# -- older than the capture -----------------------------------------------------------------------------------------


def test_open_connections_survive_the_capture_of_their_pod(own: CaptureWorld, family: Family) -> None:
    inside, outside = own.b.address(family), own.node.gateways[family]
    backend = own.backends["b"]
    with (
        opened(dial(own.node, inside, PORT)) as arriving,
        opened(dial(own.b, outside, NODE_PORT)) as leaving,
        opened(dial(own.node, inside, EXCLUDED_IN)) as excluded,
    ):
        keep = backend.connections_to_keep()
        assert {item.local_port for item in keep} == {PORT, leaving.getsockname()[1], EXCLUDED_IN}
        wanted = own.capture(own.b, USUAL, keep=sorted(keep))
        assert {item.local_port for item in wanted.keep} == {PORT, leaving.getsockname()[1]}
        assert all(still_talks(connection) for connection in (arriving, leaving, excluded))
        for source in (arriving.getsockname()[1] + 1, arriving.getsockname()[1] - 1):
            with pytest.raises(TimeoutError):  # the agent is not there, so new ones are captured and wait
                dial(own.node, inside, PORT, timeout_s=SHORT_S, source=("", source))
        with pytest.raises(TimeoutError):
            dial(own.b, outside, NODE_PORT, timeout_s=SHORT_S)
        assert backend.connections_to_keep() >= set(wanted.keep)
        counters = backend.counters(wanted)
        assert counters["in", "kept"].packets > 0
        assert counters["out", "kept"].packets > 0
        assert backend.prune_keep() == 2
    _wait_until(lambda: backend.prune_keep() == 0)


def test_without_keeping_open_connections_are_reset(own: CaptureWorld, family: Family) -> None:
    """The RST that the kernel gives for the agent reaches the application, and is not captured itself."""
    with opened(dial(own.b, own.node.gateways[family], NODE_PORT)) as leaving:
        own.capture(own.b, Capture())
        own.start_agent()
        leaving.settimeout(WAIT_S)
        leaving.sendall(b"still there?")
        with pytest.raises(ConnectionResetError):
            leaving.recv(1)


def test_a_kept_pair_does_not_let_its_neighbours_pass(own: CaptureWorld, family: Family) -> None:
    """Pairs that share the pod's port, the other port or the address with kept ones are captured."""
    inside = own.b.address(family)
    with opened(dial(own.node, inside, PORT)) as one, opened(dial(own.node, inside, EXCLUDED_IN)) as two:
        own.capture(own.b, Capture(), keep=sorted(own.backends["b"].connections_to_keep()))
        own.capture(own.a, Capture())
        agent = own.start_agent()
        for port in (PORT, EXCLUDED_IN):
            assert call(own.node, inside, port).echoed == 1000
            assert agent.expect(direction="inbound")["target"][1] == port
        assert call(own.a, inside, PORT, source=("", one.getsockname()[1])).echoed == 1000
        assert agent.expect(direction="inbound")["peer"][0] == own.a.address(family)
        assert still_talks(one)
        assert still_talks(two)


def test_a_new_connection_that_shares_a_port_with_a_kept_one_is_captured(own: CaptureWorld, family: Family) -> None:
    """Same pod port or same other port, but not both: one half of the pair alone must not pass."""
    there, source = own.node.gateways[family], ("", 23_456)
    with opened(dial(own.b, there, NODE_PORT, source=source)) as kept:
        own.capture(own.b, Capture(), keep=sorted(own.backends["b"].connections_to_keep()))
        agent = own.start_agent()
        assert call(own.b, there, SECOND_NODE_PORT, source=source).echoed == 1000
        outbound = agent.expect(direction="outbound")
        assert (outbound["peer"][1], outbound["target"][1]) == (source[1], SECOND_NODE_PORT)
        assert call(own.b, there, NODE_PORT).echoed == 1000
        assert agent.expect(direction="outbound")["target"][1] == NODE_PORT
        assert still_talks(kept)


def test_an_entry_that_outlives_its_connection_admits_no_other(own: CaptureWorld, family: Family) -> None:
    source = ("", 23_456)
    kept = opened(dial(own.node, own.b.address(family), PORT, source=source))
    own.capture(own.b, Capture(), keep=sorted(own.backends["b"].connections_to_keep()))
    agent = own.start_agent()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    kept.close()
    assert call(own.node, own.b.address(family), PORT, source=source).echoed == 1000
    assert agent.expect(direction="inbound")["peer"][1] == source[1]


def test_a_repair_keeps_what_was_kept(own: CaptureWorld, family: Family) -> None:
    with opened(dial(own.node, own.b.address(family), PORT)) as arriving:
        wanted = own.capture(own.b, Capture(), keep=sorted(own.backends["b"].connections_to_keep()))
        vandalise(own.b)
        assert own.backends["b"].repair(wanted)
        assert still_talks(arriving)
        again = open_backend(own.backend_name, own.b.namespace)  # a new control process knows no plan
        wanted = plan(Capture(), keep=again.connections_to_keep())
        assert not again.verify(wanted)
        assert not again.apply(wanted).changed
        assert still_talks(arriving)


def test_many_connections_are_kept(own: CaptureWorld) -> None:
    held = [opened(dial(own.node, own.b.address(4), PORT)) for _ in range(100)]
    held += [opened(dial(own.b, own.node.gateways[6], NODE_PORT)) for _ in range(100)]
    keep = own.backends["b"].connections_to_keep()
    assert len(keep) == 200
    own.capture(own.b, Capture(), keep=sorted(keep))
    assert sum(still_talks(connection) for connection in held) == 200
    for connection in held:
        connection.close()
    _wait_until(lambda: own.backends["b"].prune_keep() == 0)


def test_connections_of_the_agent_are_never_direct(own: CaptureWorld, family: Family) -> None:
    own.capture(own.a)
    own.capture(own.b)
    own.start_agent()
    with (
        opened(dial(own.a, VIP_B[family], 80)) as captured,
        opened(dial(own.a, own.b.address(family), EXCLUDED_OUT)) as direct,
    ):
        local = direct.getsockname()
        expected = Connection(local[0], local[1], own.b.address(family), EXCLUDED_OUT)
        assert own.a.run(direct_connections) == {expected}
        assert own.b.run(direct_connections) == frozenset()
        assert still_talks(captured)


def test_the_end_of_the_agent_is_told_to_both_applications(own: CaptureWorld, family: Family) -> None:
    own.capture(own.a)
    own.capture(own.b)
    agent = own.start_agent()
    with (
        opened(dial(own.a, VIP_B[family], 80)) as captured,
        opened(dial(own.node, own.b.address(family), PORT)) as probe,
    ):
        agent.kill()
        for connection in (captured, probe):
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                talk_for_ever(connection)


# -- through changes ------------------------------------------------------------------------------------------------


def test_a_captured_connection_survives_an_exclusion_that_covers_it(own: CaptureWorld, family: Family) -> None:
    own.capture(own.a, Capture())
    own.start_agent()
    with opened(dial(own.a, own.node.gateways[family], NODE_PORT)) as captured:
        for capture in (
            Capture(exclude_outbound_ports=((NODE_PORT, NODE_PORT),)),
            Capture(exclude_outbound_networks=("10.0.0.0/8", "fd00::/8")),
        ):
            own.capture(own.a, capture)
            assert still_talks(captured)
            with opened(dial(own.a, own.node.gateways[family], NODE_PORT)) as excluded:
                assert len(own.a.run(direct_connections)) == 1
                assert still_talks(excluded)


def test_an_excluded_connection_survives_the_end_of_its_exclusion(own: CaptureWorld, family: Family) -> None:
    own.capture(own.b, Capture(exclude_outbound_ports=((NODE_PORT, NODE_PORT),), exclude_inbound_ports=((PORT, PORT),)))
    with (
        opened(dial(own.b, own.node.gateways[family], NODE_PORT)) as leaving,
        opened(dial(own.node, own.b.address(family), PORT)) as arriving,
    ):
        own.capture(own.b, Capture(), keep=sorted(own.backends["b"].connections_to_keep()))
        assert still_talks(leaving)
        assert still_talks(arriving)
        with pytest.raises(TimeoutError):
            dial(own.b, own.node.gateways[family], NODE_PORT, timeout_s=SHORT_S)


def test_excluded_connections_survive_the_loss_of_what_the_kernel_learned(own: CaptureWorld, family: Family) -> None:
    wanted = own.capture(own.b, Capture(exclude_outbound_networks=("10.0.0.0/8", "fd00::/8")))
    with opened(dial(own.b, own.node.gateways[family], NODE_PORT)) as leaving:
        vandalise(own.b)
        assert own.backends["b"].repair(wanted)
        assert still_talks(leaving)


def test_rules_are_rewritten_thirty_times_under_load(own: CaptureWorld, family: Family) -> None:
    """Bytes flow from before the first to after the last change of the rules, 200 MB at least, and none is lost."""
    own.capture(own.a, Capture())
    own.capture(own.b, Capture())
    own.start_agent()
    with opened(dial(own.a, VIP_B[family], 80)) as connection:
        load = Load(connection, least=200_000_000)
        for number in range(30):
            span = (20_000 + number, 20_010 + number)
            changed = Capture(exclude_inbound_ports=(span,), exclude_outbound_ports=(span,))
            for pod in (own.a, own.b):
                own.capture(pod, Capture() if number % 2 else changed)
        assert load.running
        assert load.finish() >= 200_000_000


class Load:
    """Sends until told to finish, and counts what comes back."""

    def __init__(self, connection: socket.socket, least: int) -> None:
        self._connection = connection
        self._least = least
        self._enough = threading.Event()
        self._sent = 0
        self._echoed = 0
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        """Whether bytes still flow."""
        return all(thread.is_alive() for thread in self._threads)

    def _send(self) -> None:
        block = bytes(1 << 18)
        while self._sent < self._least or not self._enough.is_set():
            self._connection.sendall(block)
            self._sent += len(block)
        self._connection.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        while data := self._connection.recv(1 << 18):
            self._echoed += len(data)

    def finish(self) -> int:
        """Stop sending and return how many bytes made the round trip; all that were sent, or the test fails."""
        self._enough.set()
        for thread in self._threads:
            thread.join(4 * WAIT_S)
        assert self._echoed == self._sent
        return self._echoed


def test_another_back_end_takes_over_without_a_gap(own: CaptureWorld, family: Family) -> None:
    own.capture(own.a)
    own.capture(own.b)
    agent = own.start_agent()
    with (
        opened(dial(own.a, VIP_B[family], 80)) as captured,
        opened(dial(own.a, own.b.address(family), EXCLUDED_OUT)) as excluded,
    ):
        for name in BACKENDS:
            own.backends["a"] = open_backend(name, own.a.namespace)
            own.capture(own.a, keep=sorted(own.backends["a"].connections_to_keep()))
            assert still_talks(captured)
            assert still_talks(excluded)
            assert not own.backends["a"].verify(own.plans["a"])
            agent.drain()
            assert call(own.a, VIP_B[family], 80).echoed == 1000
            assert agent.expect(direction="outbound")
    text = own.a.shell("nft list ruleset; iptables-legacy-save -t mangle")
    assert text.count("WEFT_PRE") > 0
    assert ("table inet weft" in text) == (own.backends["a"].name == "nft")


def test_what_an_interrupted_change_of_back_ends_left_is_cleared(own: CaptureWorld) -> None:
    own.capture(own.a)
    other: BackendName = "iptables-legacy" if own.backend_name != "iptables-legacy" else "nft"
    left = open_backend(other, own.a.namespace)
    own.a.run(lambda: BACKENDS[other]().install(own.plans["a"], ()))
    assert own.backends["a"].verify(own.plans["a"]) == []
    assert not own.backends["a"].apply(own.plans["a"]).changed
    assert own.backends["a"].verify(own.plans["a"]) == []
    assert left.verify(own.plans["a"]) != []
    assert left.counters(own.plans["a"]) == {}


def vandalise(pod: Pod) -> None:
    """Do what somebody does who wants all rules gone."""
    pod.shell(
        "nft flush ruleset; for t in iptables ip6tables; do $t-legacy -t mangle -F; $t-legacy -t mangle -X; done; "
        "ip rule del pref 133; ip -6 rule del pref 133; ip route flush table 133; ip -6 route flush table 133; "
        "for s in $(ipset list -n); do ipset destroy $s; done; true",
        check=False,
    )


def _wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(WAIT_S / 0.05)):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it did not happen in time")
