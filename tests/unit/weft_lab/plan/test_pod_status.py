"""Statuses: conditions, container states, and since when."""

from weft_lab.model import Container, PodSpec
from weft_lab.plan.container_life import Ended
from weft_lab.plan.pod_life import PodLife
from weft_lab.plan.pod_status import StatusWriter

SPEC = PodSpec(containers=(Container(name="main", command=("sh",), image="x"),))


def test_a_status_follows_the_life() -> None:
    life = PodLife(SPEC)
    writer = StatusWriter(lambda now: f"t{now:g}", "t0")
    pending = writer.write(life, (), ("10.0.0.1",), 0.0)
    assert (pending.phase, pending.pod_ip, pending.host_ip) == ("Pending", "", "10.0.0.1")
    assert not pending.condition("PodReadyToStartContainers")
    life.prepared()
    life.advance(1.0)
    life.started("main", 1, 2.0)
    running = writer.write(life, ("10.0.0.2", "fd::2"), ("10.0.0.1",), 3.0)
    assert running.phase == "Running"
    assert [item.ip for item in running.pod_ips] == ["10.0.0.2", "fd::2"]
    assert running.condition("Ready")
    assert running.container_statuses[0].state.running is not None
    assert running.container_statuses[0].state.running.started_at == "t2"
    life.exited("main", 1, Ended(3, 0, "Error", "", 5.0))
    crashed = writer.write(life, ("10.0.0.2",), (), 5.0)
    assert not crashed.condition("Ready")
    (status,) = crashed.container_statuses
    assert status.restart_count == 1
    assert status.last_state.terminated is not None
    assert status.last_state.terminated.exit_code == 3
    assert "main" in next(item.message for item in crashed.conditions if item.type == "Ready")


def test_a_condition_keeps_its_date_while_it_holds() -> None:
    life = PodLife(SPEC)
    writer = StatusWriter(lambda now: f"t{now:g}", "t0")
    writer.write(life, (), (), 1.0)
    again = writer.write(life, (), (), 9.0)
    assert {item.last_transition_time for item in again.conditions} == {"t1"}
    changed = writer.write(life, ("10.0.0.2",), (), 10.0)
    dates = {item.type: item.last_transition_time for item in changed.conditions}
    assert dates["PodReadyToStartContainers"] == "t10"
    assert dates["Ready"] == "t1"


def test_a_completed_pod_says_so() -> None:
    life = PodLife(PodSpec(containers=SPEC.containers, restart_policy="Never"))
    life.prepared()
    life.advance(0.0)
    life.started("main", 1, 0.0)
    life.exited("main", 1, Ended(0, 0, "Completed", "", 1.0))
    status = StatusWriter(str, "t0").write(life, ("10.0.0.2",), (), 2.0)
    assert status.phase == "Succeeded"
    assert next(item.reason for item in status.conditions if item.type == "Ready") == "PodCompleted"
    assert status.container_statuses[0].state.terminated is not None
