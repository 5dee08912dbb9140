"""Processes of the agent die while pods are captured: nothing is refused, nothing passes, numbers go on."""

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from weft_testing.agent_process import until
from weft_testing.served_node import ServedNode

pytestmark = pytest.mark.netns


class Callers:
    """Clients that connect one after the other and note what became of each connection."""

    def __init__(self, node: ServedNode, count: int = 3) -> None:
        self.served: list[int] = []
        self.failed: list[str] = []
        self.longest_s = 0.0
        self._node = node
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def until_more(self, count: int) -> None:
        """Wait until so many more calls were served."""
        served = len(self.served)
        until(lambda: len(self.served) > served + count, "calls go on")

    def _call(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.served.append(self._node.ask(self._node.server)["pid"])
            except OSError as exc:
                self.failed.append(repr(exc))
            self.longest_s = max(self.longest_s, time.monotonic() - began)


def until_replaced(node: ServedNode, victim: int) -> None:
    def replaced() -> bool:
        pids = node.agent.worker_pids()
        return victim not in pids and len(pids) == 2

    until(replaced, "the worker is replaced")


def test_a_killed_worker_costs_no_new_connection(node: ServedNode) -> None:
    """Fault F1: listeners live in control, so the others serve what waits; the dead one's own connections break."""
    node.capture(node.server)
    before = node.agent.worker_pids()
    held = [node.dial(node.server) for _ in range(12)]
    owners = [int(json.loads(sock.recv(65536))["pid"]) for sock in held]
    with Callers(node) as callers:
        for _ in range(3):
            victim = node.agent.worker_pids()[0]
            os.kill(victim, signal.SIGKILL)
            until_replaced(node, victim)
            callers.until_more(20)
    # What was accepted by the dying process in the moment of its death may break; nothing is refused.
    assert not [text for text in callers.failed if "Refused" in text or "timed out" in text]
    assert len(callers.failed) <= 3 * 3
    assert callers.longest_s < 3.0
    for sock, owner in zip(held, owners, strict=True):
        if owner == before[1]:
            sock.sendall(b"alive")
            assert sock.recv(100) == b"alive"
        sock.close()


def test_with_one_worker_connections_wait_for_its_successor(tmp_path: Path) -> None:
    with ServedNode(tmp_path, workers=1) as node:
        node.capture(node.server)
        (before,) = node.agent.worker_pids()
        os.kill(before, signal.SIGKILL)
        assert node.ask(node.server)["pid"] != before


def test_workers_serve_on_without_control_and_the_next_one_takes_over(node: ServedNode) -> None:
    """Fault F3: same processes, same listeners, counters go on, connections stay."""
    node.capture(node.server)
    workers = node.agent.worker_pids()
    for _ in range(20):
        node.ask(node.server)
    counted = node.agent.metric("weft_connections_total", protocol="standin")
    assert counted >= 20
    held = node.dial(node.server)
    held.recv(65536)
    listening = node.server.shell("ss -Hltne | grep -o 'ino:[0-9]*' | sort")
    with Callers(node) as callers:
        callers.until_more(20)
        os.kill(node.agent.control_pid, signal.SIGKILL)
        callers.until_more(20)
        node.agent.until_event("worker-adopted", 2)
        node.agent.until_ready()
        callers.until_more(20)
    assert callers.failed == []
    assert set(callers.served) <= set(workers)
    assert node.agent.worker_pids() == workers
    assert node.server.shell("ss -Hltne | grep -o 'ino:[0-9]*' | sort") == listening
    assert node.agent.metric("weft_connections_total", protocol="standin") >= counted + len(callers.served)
    assert node.pod_state("server")["state"] == "captured"
    held.sendall(b"alive")
    assert held.recv(100) == b"alive"
    held.close()


def test_the_next_control_can_do_all_the_last_one_could(node: ServedNode) -> None:
    node.capture(node.server)
    os.kill(node.agent.control_pid, signal.SIGKILL)
    node.agent.until_event("worker-adopted", 2)
    node.agent.until_ready()
    stock = node.ask(node.server)["stock"]
    before = node.agent.metric("weft_stock_sockets_total", role="upstream", family="4")
    assert before >= 2, "orphans asked anew"
    node.ask(node.server, say=b"need")
    until(
        lambda: node.agent.metric("weft_stock_sockets_total", role="upstream", family="4") >= before + 8, "more sockets"
    )
    assert stock >= 2
    node.server.shell("nft flush ruleset")
    until(lambda: node.is_captured(node.server), "rules are healed")
    node.capture(node.server, node.client)
    assert node.ask(node.server, source=node.client)["direction"] == "outbound"
    node.configure()
    until(lambda: not node.agent.status()["pods"], "both are released")
    assert not node.is_captured(node.server)
    assert not node.server.shell("ss -Hltn").strip()


def test_a_pod_that_left_while_no_control_was_there_is_released(node: ServedNode) -> None:
    node.capture(node.server, node.client)
    os.kill(node.agent.keeper.pid, signal.SIGSTOP)  # nobody starts a control for a while
    os.kill(node.agent.control_pid, signal.SIGKILL)
    node.agent.configure(node.workload(node.client))
    os.kill(node.agent.keeper.pid, signal.SIGCONT)
    until(lambda: node.agent.status() and not node.is_captured(node.server), "the pod that left is released")
    node.agent.until_ready()
    assert node.is_captured(node.client)
    until(lambda: not node.server.shell("ss -Hltn").strip(), "its listeners are closed")


def test_everything_dead_at_once_is_closed_and_comes_back(own: ServedNode) -> None:
    """Fault F5: kill -9 of all processes: connections wait, nothing passes, the next agent goes on."""
    node = own
    node.capture(node.server)
    app = node.server.run(lambda: socket.create_server(("0.0.0.0", 8080)))
    pids = [node.agent.control_pid, *node.agent.worker_pids()]
    node.agent.keeper.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    node.agent.keeper.wait(20)
    until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "all are dead")
    outcome: list[str] = []

    def call() -> None:
        try:
            outcome.append(node.ask(node.server)["direction"])
        except OSError as exc:
            outcome.append(repr(exc))

    caller = threading.Thread(target=call)
    caller.start()
    node.agent.start()
    node.agent.until_ready()
    caller.join(20)
    assert outcome == ["inbound"], "the SYN was dropped, and its retry was served by the new agent"
    app.settimeout(0.1)
    with pytest.raises(TimeoutError):
        app.accept()
    app.close()


def test_a_drain_lets_connections_finish(own: ServedNode) -> None:
    node = own
    node.capture(node.server)
    held = node.dial(node.server)
    held.recv(65536)
    node.agent.status()
    node.agent.signal(signal.SIGTERM)
    node.agent.until_event("draining")
    held.sendall(b"still served")
    assert held.recv(100) == b"still served"
    assert node.agent.keeper.poll() is None
    held.close()
    assert node.agent.keeper.wait(20) == 0
    assert node.agent.until_event("drained")["cut"] == 0


def test_a_drain_ends_at_its_deadline(tmp_path: Path) -> None:
    with ServedNode(tmp_path, arguments=("--limit", "drain_timeout_s=0.5")) as node:
        node.capture(node.server)
        held = node.dial(node.server)
        held.recv(65536)
        assert node.agent.stop() == 0
        assert node.agent.until_event("drained")["cut"] == 1
        held.close()


def test_a_worker_out_of_descriptors_goes_on(tmp_path: Path) -> None:
    """Fault F13: EMFILE at 256 descriptors."""
    with ServedNode(tmp_path, descriptors=256, workers=1) as node:
        node.capture(node.server)
        held: list[socket.socket] = []
        try:
            for _ in range(300):
                held.append(node.dial(node.server))
            assert node.ask_within(0.3) is None, "no descriptor is left to accept with"
            assert node.agent.status(), "control is not the worse for it"
        finally:
            for sock in held:
                sock.close()
        until(lambda: node.ask_within(2.0) is not None, "it recovers by itself")


def test_a_bug_in_a_callback_costs_nothing_but_is_told(node: ServedNode) -> None:
    """Fault F2."""
    node.capture(node.server)
    before = node.agent.metric("weft_internal_errors_total")
    for _ in range(3):
        node.say(node.server, b"crash")
    event = node.agent.until_event("worker-fault")
    assert "ZeroDivisionError: the client said so" in event["detail"]
    until(lambda: node.agent.metric("weft_internal_errors_total") == before + 3, "each is counted")
    assert node.ask(node.server)["direction"] == "inbound"


def test_a_call_that_the_sandbox_refuses_is_told(node: ServedNode) -> None:
    node.capture(node.server)
    node.say(node.server, b"socket")
    event = node.agent.until_event("worker-sandbox-refused")
    assert "Operation not permitted" in event["detail"]


def test_a_worker_that_hangs_is_replaced(node: ServedNode) -> None:
    node.capture(node.server)
    node.say(node.server, b"hang")
    node.agent.until_event("worker-stuck")
    node.agent.until_ready()
    assert node.ask(node.server)["direction"] == "inbound"


def test_the_access_log_reaches_standard_output(node: ServedNode) -> None:
    node.capture(node.server)
    for _ in range(5):
        node.ask(node.server)
    until(lambda: sum(event.get("log") == "access" for event in node.agent.events()) >= 5, "five lines")
    line = next(event for event in node.agent.events() if event.get("log") == "access")
    assert line["direction"] == "inbound"
    assert line["destination_address"] == f"{node.server.address(4)}:8080"
