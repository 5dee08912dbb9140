"""Two whole replicas and the streams of three whole agents: a leader that is killed cuts nobody's stream but its own nodes'.

The stream of two agents is at the replica that does not lead. The third comes by an address in front of both, as the Service
is, and was led to the leader.
"""

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from weft_testing.agent_process import AgentProcess, require_root, until
from weft_testing.cluster.binaries import Say
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.paper_nodes import PaperNodes, in_force, paper_nodes
from weft_testing.cluster.processes import wait_until
from weft_testing.cluster.service_address import ServiceAddress, service_address

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STAYING: Final = ("paper-4", "paper-5")
MOVING: Final = "paper-6"


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperNodes]:
    """Two replicas, of which the first leads."""
    require_root()
    with paper_nodes(control_plane, tmp_path_factory.mktemp("replicas"), (*STAYING, MOVING)) as stage:
        stage.start_operator()
        other = stage.start_operator(leads=False)
        for node in STAYING:
            stage.start_agent(node, other.port("stream"))
        yield stage


@pytest.fixture(scope="module")
def service(stage: PaperNodes) -> Iterator[ServiceAddress]:
    """Leads to the leader; the third agent comes by it."""
    with service_address(stage.operators[0].port("stream")) as address:
        stage.start_agent(MOVING, address.port)
        stage.until_connected()
        yield address


class Stream(NamedTuple):
    """An agent's connection, as it tells it itself."""

    control: int
    """Process id."""
    connected: bool
    since_unix_s: float
    sessions: float
    """How many it has had."""

    @classmethod
    def of(cls, agent: AgentProcess) -> "Stream":
        """Ask an agent."""
        told = agent.status()
        operator = told["operator"]
        sessions = agent.metric("weft_operator_sessions_total")
        return cls(told["pid"], operator["connected"], operator["sinceUnixSeconds"], sessions)


def until_in_force(stage: PaperNodes, nodes: tuple[str, ...], path: str) -> None:
    for node in nodes:
        until(lambda node=node: in_force(stage.agents[node], path), f"{path} is in force on {node}")  # type: ignore[misc]  # bound now


def test_a_leader_that_is_killed_cuts_no_stream_of_the_other_replica(
    stage: PaperNodes, service: ServiceAddress, say: Say
) -> None:
    leader, other = stage.operators
    moving = stage.agents[MOVING]
    stage.allow("/before")
    until_in_force(stage, (*STAYING, MOVING), "/before")
    assert (leader.leads, other.leads) == (True, False)
    assert (leader.metric("weft_operator_streams"), other.metric("weft_operator_streams")) == (1, 2)
    before = {node: Stream.of(stage.agents[node]) for node in STAYING}
    assert all(stream.connected and stream.sessions == 1 for stream in before.values()), before

    began = time.monotonic()
    leader.kill()
    stage.allow("/nobody-leads")
    until_in_force(stage, STAYING, "/nobody-leads")
    changed_s = time.monotonic() - began
    assert not other.leads, "configuration does not wait for a leader"
    until(lambda: not moving.status()["operator"]["connected"], "the third agent's stream ended with its replica")
    assert in_force(moving, "/before"), "what it has stays in force"
    wait_until(lambda: other.leads, "the other led", began + 20 - time.monotonic(), log=other.log)
    led_s = time.monotonic() - began

    held = moving.status()["config"]["resources"]
    moving.mark()
    service.lead_to(other.port("stream"))
    until_in_force(stage, (MOVING,), "/nobody-leads")
    (came,) = (entry for entry in other.logged("node connected") if entry["node"] == MOVING)
    assert (came["have"], came["differs"]) == (held, 1), "it is told of what changed, not of everything"
    (told,) = (event for event in moving.events() if event["event"] == "config-changed")
    assert (told["changed"], told["removed"]) == (1, 0)

    assert stage.until_programmed("True", "3 of 3"), "the new leader has heard of everybody"
    stage.allow("/after")
    stage.until_programmed("True", "3 of 3")
    until_in_force(stage, (*STAYING, MOVING), "/after")
    assert {node: Stream.of(stage.agents[node]) for node in STAYING} == before, "the same streams all the time"
    assert sorted(entry["node"] for entry in other.logged("node connected")) == sorted((*STAYING, MOVING))
    assert not other.logged("node disconnected")
    say(
        f"leader killed: a change made then was in force at the other replica's nodes after {changed_s:.1f} s, "
        f"the other led after {led_s:.1f} s, {len(before)} streams of {len(before)} were never cut; "
        f"the node of the dead one held {came['have']} resources and was sent {told['changed']}"
    )
