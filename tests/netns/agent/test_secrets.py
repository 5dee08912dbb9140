"""Private keys reach the workers that need them, by memory, and are nowhere else (threats T2, T16)."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from weft_testing.agent_process import until
from weft_testing.pki import root
from weft_testing.served_node import ServedNode

pytestmark = pytest.mark.netns

IDENTITY = "spiffe://cluster.local/ns/shop/sa/default"


def issue(node: ServedNode, hours: float = 24) -> None:
    issued = root().issue(uris=(IDENTITY,), ends_in_s=hours * 3600)
    new = node.agent.identity / ".new"
    new.touch(mode=0o600)
    new.write_bytes(issued.key_pem + issued.chain_pem)
    new.rename(node.agent.identity / "shop.default.pem")


@pytest.fixture
def certified(node: ServedNode) -> ServedNode:
    issue(node)
    node.capture(node.server)
    until(lambda: node.ask(node.server)["identities"] == {IDENTITY: True}, "the worker has the key")
    return node


def test_a_certificate_is_shown_and_renewed(certified: ServedNode) -> None:
    (shown,) = certified.agent.admin("/certificates")
    assert shown["identity"] == IDENTITY
    assert 23 * 3600 < shown["leftSeconds"] <= 24 * 3600
    issue(certified, hours=48)
    until(lambda: certified.agent.admin("/certificates")[0]["leftSeconds"] > 47 * 3600, "the renewal is in force")
    assert certified.agent.metric("weft_certificate_not_after_seconds", identity=IDENTITY) > 0


def test_a_replaced_worker_gets_the_key_too(certified: ServedNode) -> None:
    for pid in certified.agent.worker_pids():
        os.kill(pid, signal.SIGKILL)
    until(lambda: certified.ask(certified.server)["identities"] == {IDENTITY: True}, "the new worker has the key")


def test_no_key_without_a_pod(certified: ServedNode) -> None:
    certified.configure()
    until(lambda: certified.agent.admin("/certificates") == [], "control let go of it")
    certified.capture(certified.client)
    certified.configure(certified.workload(certified.client, identity="spiffe://cluster.local/ns/shop/sa/other"))
    certified.agent.until_ready()
    until(lambda: certified.ask(certified.server, source=certified.client)["identities"] == {}, "no worker holds it")


def test_the_key_is_in_no_file_environment_argument_or_log(certified: ServedNode) -> None:
    secret = (certified.agent.identity / "shop.default.pem").read_text().splitlines()[1]
    files = [path for path in certified.agent.state.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert secret not in certified.agent.log_path.read_text()
    for pid in [certified.agent.control_pid, *certified.agent.worker_pids()]:
        for name in ("environ", "cmdline"):
            assert secret.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    found = subprocess.run(
        ["grep", "-rl", secret, "/dev/shm", "/run/weft"], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""


def test_a_workers_memory_cannot_be_dumped(certified: ServedNode) -> None:
    for pid in certified.agent.worker_pids():
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0
