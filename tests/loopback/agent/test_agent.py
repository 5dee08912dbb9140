"""A whole agent on one machine: it starts, tells the truth, survives the death of each of its processes, and drains.

No pod is captured here (that is `tests/netns/agent`); what flows are the self-tests, through the real data plane.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from weft_agent.__main__ import CONTROL
from weft_contract.codec import document, encode
from weft_contract.resources import Node, Service
from weft_testing.agent_process import (
    PATIENCE_S,
    STANDIN,
    AgentProcess,
    environment,
    kill,
    process_status,
    require_root,
    running,
    until,
)
from weft_testing.standin_plane import REFUSED_KEY


@pytest.fixture(autouse=True)
def _root() -> None:
    require_root()


def service(name: str) -> Service:
    return Service(namespace="shop", name=name)


@pytest.mark.parametrize("control", [CONTROL, STANDIN], ids=["real", "stand-in"])
def test_it_starts_serves_and_drains(tmp_path: Path, control: str) -> None:
    with running(tmp_path, [service("web")], control=control) as agent:
        status = agent.status()
        assert [worker["state"] for worker in status["workers"]] == ["serving", "serving"]
        assert status["config"]["origin"] == "file"
        assert agent.health("/healthz/ready") == (
            200,
            {"ready": True, "degraded": [], "missing": [], "warnings": []},
        )
        assert agent.health("/healthz/live")[0] == 200
        assert agent.health("/other")[0] == 404
        assert agent.metric("weft_workers", state="serving") == 2
        assert {entry["key"] for entry in agent.admin("/config")["resources"]} == {"Node/n1", "Service/shop/web"}
        pids = [agent.control_pid, *agent.worker_pids()]
        assert agent.stop() == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        drained = agent.until_event("drained")
        assert drained["cut"] == 0
        assert drained["rules"] == "stay in force"


def test_an_agent_that_stands_by_takes_over_when_the_first_one_ends(tmp_path: Path) -> None:
    with running(tmp_path, [service("web")], control=CONTROL, arguments=["--stand-by"]) as agent:
        first, first_pid, first_workers = agent.keeper, agent.control_pid, agent.worker_pids()
        agent.start()
        address = agent.until_event("standing-by")["health"]
        with urlopen(f"http://{address}/healthz/ready", timeout=5) as answer:
            assert json.load(answer)["warnings"] == ["stands by until the agent that has this node ends"]
        assert agent.control_pid == first_pid, "the first one has the node until it ends"
        first.send_signal(signal.SIGTERM)
        agent.until_event("handed-over")
        agent.until_event("taking-over")
        assert first.wait(PATIENCE_S) == 0
        agent.until_ready()
        assert agent.control_pid != first_pid
        assert not set(agent.worker_pids()) & set(first_workers)
        recorded = json.loads((agent.state / "workers.json").read_text())
        assert [pid for _, pid in recorded] == agent.worker_pids(), "the first one wrote nothing of its own at its end"
        assert agent.stop() == 0


def test_an_agent_that_stands_by_obeys(tmp_path: Path) -> None:
    with running(tmp_path, control=CONTROL, arguments=["--stand-by"]) as agent:
        first_pid = agent.control_pid
        agent.start()
        agent.until_event("standing-by")
        agent.signal(signal.SIGTERM)
        assert agent.keeper.wait(PATIENCE_S) == 0
        assert agent.control_pid == first_pid


def test_every_worker_is_behind_its_walls_and_small(tmp_path: Path) -> None:
    with running(tmp_path, control=CONTROL) as agent:
        for pid in agent.worker_pids():
            status = process_status(pid)
            assert status["Uid"].split() == ["65534"] * 4
            assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert int(status["VmRSS"].split()[0]) <= 45 * 1024
        assert int(process_status(agent.control_pid)["VmRSS"].split()[0]) <= 70 * 1024
        assert int(process_status(agent.keeper.pid)["VmRSS"].split()[0]) <= 12 * 1024


def test_a_killed_worker_is_replaced_within_half_a_second(tmp_path: Path) -> None:
    """Fault F1; the best of three, because this machine has other work to do."""
    with running(tmp_path, control=CONTROL) as agent:
        took: list[float] = []
        for _ in range(3):
            before = agent.worker_pids()
            began = time.monotonic()
            os.kill(before[0], signal.SIGKILL)

            def replaced(before: list[int] = before) -> bool:
                status = agent.status()
                pids = [worker["pid"] for worker in status["workers"]]
                return bool(status["ready"]) and len(pids) == 2 and pids[0] != before[0]

            until(replaced, "a new worker serves")
            took.append(time.monotonic() - began)
            assert agent.worker_pids()[1] == before[1], "the other one was left alone"
            time.sleep(0.1)  # noqa: TID251 - deaths in a row would look like a crash loop
        assert min(took) <= 0.5
        assert agent.metric("weft_worker_restarts_total", worker="0") == 3


def test_workers_outlive_control_and_the_next_one_adopts_them(tmp_path: Path) -> None:
    """Fault F3."""
    with running(tmp_path, [service("web")], control=CONTROL) as agent:
        workers, control = agent.worker_pids(), agent.control_pid
        os.kill(control, signal.SIGKILL)
        agent.until_event("control-died")
        adopted = agent.until_event("worker-adopted", 2)
        assert adopted["pid"] in workers
        status = agent.until_ready()
        assert status["pid"] != control
        assert [worker["pid"] for worker in status["workers"]] == workers
        assert status["config"]["generation"] == 2, "generations go on"
        assert agent.stop() == 0
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def test_control_may_die_many_times(tmp_path: Path) -> None:
    with running(tmp_path, control=STANDIN) as agent:
        workers = agent.worker_pids()
        for _ in range(6):  # the keeper's patience doubles each time, and so would the test's
            os.kill(agent.until_ready()["pid"], signal.SIGKILL)
            until(lambda: not agent.status(), "control is gone")
        assert [worker["pid"] for worker in agent.until_ready()["workers"]] == workers


def test_a_worker_that_died_meanwhile_is_replaced_by_the_next_control(tmp_path: Path) -> None:
    with running(tmp_path, control=STANDIN) as agent:
        workers, control = agent.worker_pids(), agent.control_pid
        os.kill(control, signal.SIGKILL)
        os.kill(workers[1], signal.SIGKILL)
        until(lambda: agent.status() and len(agent.worker_pids()) == 2, "both slots are filled")
        status = agent.until_ready()
        assert status["workers"][0]["pid"] == workers[0]
        assert status["workers"][1]["pid"] != workers[1]


def test_the_keeper_may_die_and_the_next_agent_takes_over(tmp_path: Path) -> None:
    with running(tmp_path, control=STANDIN) as agent:
        workers, control = agent.worker_pids(), agent.control_pid
        agent.keeper.kill()
        agent.keeper.wait(20)
        until(lambda: not Path(f"/proc/{control}").exists(), "control makes room")
        assert all(Path(f"/proc/{pid}").exists() for pid in workers)
        agent.start()
        assert [worker["pid"] for worker in agent.until_ready()["workers"]] == workers
        assert agent.stop() == 0


def test_a_second_agent_with_the_same_state_is_refused_and_disturbs_nothing(tmp_path: Path) -> None:
    with running(tmp_path, control=STANDIN) as agent:
        workers = agent.worker_pids()
        code = f"import sys; from weft_agent.__main__ import main; main(sys.argv[1:], control={STANDIN!r})"
        flags = ["--node", "n1", "--config", str(agent.config), "--identity", str(agent.identity)]
        flags += ["--state", str(agent.state), "--health-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
        second = subprocess.run(
            [sys.executable, "-c", code, "run", *flags],
            capture_output=True, text=True, timeout=30, check=False, env=environment(),
        )  # fmt: skip
        assert second.returncode == 78
        assert "another agent holds" in second.stdout
        assert agent.worker_pids() == workers
        assert agent.status()["ready"]


def test_a_new_configuration_reaches_every_worker(tmp_path: Path) -> None:
    with running(tmp_path, [service("a")], control=CONTROL) as agent:
        agent.configure(service("a"), service("b"))
        until(lambda: agent.status()["config"]["resources"] == 3, "the new file is read")
        status = agent.until_ready()
        assert {worker["appliedGeneration"] for worker in status["workers"]} == {2}


def test_garbage_changes_nothing_and_is_told(tmp_path: Path) -> None:
    """Fault F20."""
    with running(tmp_path, [service("a")], control=CONTROL) as agent:
        digest = agent.status()["config"]["digest"]
        agent.write_config(b'{"schema": "weft.dev/node/v1", "node":')
        until(lambda: agent.status()["config"]["problems"], "the problem is told")
        status = agent.status()
        assert status["config"]["digest"] == digest
        assert status["ready"]
        assert any("not JSON" in text for text in status["warnings"])
        assert agent.metric("weft_config_stale") == 1
        os.kill(agent.control_pid, signal.SIGKILL)
        until(lambda: (agent.status().get("config") or {}).get("origin") == "last-good", "the last good one survives")
        agent.until_ready()
        agent.configure(service("b"))
        until(lambda: agent.status()["config"]["origin"] == "file", "a good file is taken again")
        assert agent.metric("weft_config_stale") == 0


def test_a_start_without_configuration_waits_and_is_not_ready(tmp_path: Path) -> None:
    with AgentProcess(tmp_path, control=CONTROL) as agent:
        agent.start()
        until(lambda: len(agent.status().get("workers", [])) == 2, "workers are there")
        status, body = agent.health("/healthz/ready")
        assert status == 503
        assert any(text.startswith("no configuration") for text in body["missing"])
        assert agent.health("/healthz/live")[0] == 200, "no reason to be restarted"
        agent.configure(service("a"))
        agent.until_ready()


def test_a_resource_that_workers_refuse_is_told_and_the_rest_applies(tmp_path: Path) -> None:
    _, namespace, name = REFUSED_KEY.split("/")
    with running(tmp_path, [Service(namespace=namespace, name=name), service("a")], control=STANDIN) as agent:
        agent.until_event("resource-refused", key=REFUSED_KEY)
        assert agent.metric("weft_config_refused_resources") == 2
        assert any(REFUSED_KEY in text for text in agent.status()["warnings"])


def test_a_stuck_worker_makes_the_node_not_ready_and_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, control=STANDIN) as agent:
        before = agent.worker_pids()
        os.kill(before[1], signal.SIGSTOP)
        until(lambda: agent.health("/healthz/ready")[0] == 503, "not ready")
        _, body = agent.health("/healthz/ready")
        assert any("worker 1: self-test" in text for text in body["missing"])
        agent.until_event("worker-stuck", worker=1)
        status = agent.until_ready()
        assert status["workers"][0]["pid"] == before[0]
        assert status["workers"][1]["pid"] != before[1]


def test_hardly_any_descriptors_are_enough_to_start_and_say_so(tmp_path: Path) -> None:
    """Fault F13."""
    with running(tmp_path, control=CONTROL, descriptors=256) as agent:
        assert agent.metric("weft_descriptors_limit") == 256
        agent.configure(service("a"))
        until(lambda: agent.status()["config"]["resources"] == 2, "it goes on working")
        agent.until_ready()


def test_hup_reads_the_files_again(tmp_path: Path) -> None:
    with running(tmp_path, control=STANDIN) as agent:
        agent.configure(service("a"))
        agent.signal(signal.SIGHUP)
        until(lambda: agent.status()["config"]["resources"] == 2, "the new file is read")


def test_the_admin_socket_is_for_root_and_can_do_what_it_says(tmp_path: Path) -> None:
    with running(tmp_path, control=STANDIN) as agent:
        assert (agent.state / "admin.sock").stat().st_mode & 0o777 == 0o600
        assert agent.admin("/loglevel?level=debug", "POST") == {"level": "debug"}
        assert "error" in agent.admin("/loglevel?level=shout", "POST")
        assert agent.admin("/reload", "POST") == {"reloading": True}
        assert agent.admin("/certificates") == []
        assert agent.admin("/pods") == []
        assert set(agent.admin("/connections")) == {"inbound", "outbound", "tunnels", "tunnelStreams"}
        assert "error" in agent.admin("/nothing")
        assert "error" in agent.admin("/drain"), "a GET changes nothing"
        assert agent.admin("/drain", "POST") == {"draining": True}
        assert agent.keeper.wait(20) == 0


def test_the_status_command_agrees(tmp_path: Path) -> None:
    with running(tmp_path, control=STANDIN) as agent:
        shown = subprocess.run(
            [sys.executable, "-m", "weft_agent", "status", "--state", str(agent.state)],
            capture_output=True, text=True, timeout=20, check=False, env=environment(),
        )  # fmt: skip
        assert shown.returncode == 0
        assert shown.stdout.startswith("node n1: ready")
        assert shown.stdout.count(": serving") == 2


def test_metrics_survive_a_killed_worker(tmp_path: Path) -> None:
    """Counters never go backwards: internal errors of the dead are still counted."""
    with running(tmp_path, control=STANDIN) as agent:
        before = agent.metrics_text()
        os.kill(agent.worker_pids()[0], signal.SIGKILL)
        until(lambda: agent.metric("weft_worker_restarts_total", worker="0") == 1, "replaced")
        agent.until_ready()
        assert "weft_internal_errors_total" in before
        assert agent.metric("weft_workers", state="serving") == 2


def test_a_stranger_at_the_adoption_socket_gets_nothing(tmp_path: Path) -> None:
    import socket

    with running(tmp_path, control=STANDIN) as agent:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.settimeout(10)
            stranger.connect(str(agent.state / "workers" / "sock"))
            try:
                stranger.send(b"\x94\xa5adopt\x00\xc4\x00\x01")
                assert stranger.recv(100) == b""
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was turned away before it spoke, or before all it said was read
        agent.until_event("orphan-refused")
        assert len(agent.worker_pids()) == 2


@pytest.mark.parametrize("config", ["good", "bad"])
def test_check_finds_what_is_wrong(tmp_path: Path, config: str) -> None:
    data = encode(document("n1", [Node(name="n1", trust_domain="x"), service("a")]))
    (tmp_path / "n1.json").write_bytes(data if config == "good" else data.replace(b'"name":"a"', b'"name":"b"'))
    checked = subprocess.run(
        [sys.executable, "-m", "weft_agent", "check", "--config", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False, env=environment(),
    )  # fmt: skip
    assert checked.returncode == (0 if config == "good" else 1), checked.stdout
    assert checked.stdout.splitlines()[-1].endswith("problems in 1 files and on this host")
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = subprocess.run(
        [sys.executable, "-m", "weft_agent", "check", "--config", str(empty)],
        capture_output=True, text=True, timeout=60, check=False, env=environment(),
    )  # fmt: skip
    assert nothing.returncode == 2


def restricted(capabilities: str) -> tuple[str, ...]:
    return ("setpriv", "--bounding-set", capabilities, "--inh-caps=-all")


DAEMON_SET = "-all,+net_admin,+net_raw,+sys_admin,+sys_ptrace,+dac_override,+setuid,+setgid,+setpcap,+kill"


def test_a_daemon_sets_capabilities_are_enough(tmp_path: Path) -> None:
    with running(tmp_path, prefix=restricted(DAEMON_SET)) as agent:
        os.kill(agent.worker_pids()[0], signal.SIGKILL)
        until(lambda: agent.metric("weft_worker_restarts_total") == 1, "replaced")
        assert agent.stop() == 0


@pytest.mark.parametrize("missing", ["setpcap", "setuid", "setgid"])
def test_a_worker_that_cannot_give_up_privileges_does_not_serve(tmp_path: Path, missing: str) -> None:
    with AgentProcess(tmp_path, prefix=restricted(DAEMON_SET.replace(f",+{missing}", "")), workers=1) as agent:
        agent.configure()
        agent.start()
        event = agent.until_event("worker-sandbox")
        assert event["level"] == "error"
        assert "cannot give up privileges" in event["detail"]
        assert not agent.status()["ready"]


def test_a_worker_that_still_sees_files_says_so(tmp_path: Path) -> None:
    with running(tmp_path, prefix=restricted(DAEMON_SET.replace(",+sys_admin", ""))) as agent:
        assert "still sees the node's files" in agent.until_event("worker-sandbox")["detail"]


def test_kill_helper_leaves_strangers_alone() -> None:
    with subprocess.Popen(["sleep", "30"]) as stranger:
        kill(stranger.pid)
        assert stranger.poll() is None
        stranger.kill()
