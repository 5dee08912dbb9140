"""Processes die and the configuration changes while HTTP and TCP load runs: the short form of `make faults`."""

import json

import pytest

from weft_testing.faults import cases
from weft_testing.faults.cost import Cost
from weft_testing.faults.lab import NODES, FaultLab

pytestmark = pytest.mark.netns

ENOUGH = 200
"""Exchanges that a case must have sent to say anything."""


def hold(cost: Cost) -> None:
    """Hold that a fault met its bar, and that there was load to tell."""
    told = "\n".join((*cost.problems, *cost.streams, json.dumps(cost.figures)))
    assert cost.passed, told
    assert cost.sent - cost.failed > ENOUGH, told


@pytest.mark.parametrize("node", NODES)
def test_a_killed_worker_costs_what_was_in_flight_on_it(lab: FaultLab, node: str) -> None:
    hold(cases.worker_killed(lab, node))


@pytest.mark.parametrize("node", NODES)
def test_a_killed_control_costs_nothing(lab: FaultLab, node: str) -> None:
    hold(cases.control_killed(lab, node))


def test_slow_readers_cost_the_others_nothing(lab: FaultLab) -> None:
    hold(cases.slow_readers(lab))


def test_reloads_cost_nothing(lab: FaultLab) -> None:
    found = cases.reloaded(lab, 12)
    hold(found)
    assert found.figures["applied_by_each_node"] >= 12


def test_workers_hold_no_privilege(lab: FaultLab) -> None:
    """The processes of a running mesh as `/proc/PID/status` has them, spares among them."""
    for node in NODES:
        workers = [process for process in lab.agent(node) if process.role == "worker"]
        assert len(workers) == 3
        for worker in workers:
            status = worker.status
            assert status["Uid"].split() == ["65534"] * 4
            assert status["Gid"].split() == ["65534"] * 4
            for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(status[field], 16) == 0, field
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
