"""Scheduling: wishes are obeyed, pods of one owner spread, and what cannot be placed says why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from weft_lab.model import OwnerReference, Pod
from weft_lab.plan.schedule import Scheduled, Unschedulable, schedule
from weft_testing.lab import node, pod

NODES = [node("node-1", disk="ssd"), node("node-2"), node("node-3")]


def owned(name: str, owner: str, on: str = "") -> Pod:
    made = pod(name, node=on)
    reference = OwnerReference(api_version="apps/v1", kind="Deployment", name=owner, uid=owner, controller=True)
    return replace(made, metadata=replace(made.metadata, owner_references=(reference,)))


def test_a_named_node_is_obeyed() -> None:
    assert schedule(pod("a", node="node-3"), NODES, []) == Scheduled("node-3")


def test_a_node_that_is_not_there_is_told() -> None:
    found = schedule(pod("a", node="node-9"), NODES, [])
    assert isinstance(found, Unschedulable)
    assert "node-9" in found.message
    assert "node-1, node-2, node-3" in found.message


@pytest.mark.parametrize(
    ("selector", "expected"), [({"disk": "ssd"}, "node-1"), ({"kubernetes.io/hostname": "node-2"}, "node-2")]
)
def test_a_node_selector_narrows_the_choice(selector: dict[str, str], expected: str) -> None:
    others = [pod(f"o{number}", node=expected) for number in range(5)]
    assert schedule(pod("a", node_selector=selector), NODES, others) == Scheduled(expected)


def test_a_selector_that_no_node_meets_is_told() -> None:
    found = schedule(pod("a", node_selector={"disk": "tape"}), NODES, [])
    assert found == Unschedulable("0/3 nodes are available: none has the labels disk=tape")


def test_a_name_and_a_selector_that_contradict_each_other_are_told() -> None:
    assert isinstance(schedule(pod("a", node="node-2", node_selector={"disk": "ssd"}), NODES, []), Unschedulable)


@given(st.integers(1, 30))
def test_replicas_spread_evenly_whatever_else_runs(count: int) -> None:
    placed = [pod("x", node="node-1"), pod("y", node="node-1"), pod("z", node="node-2")]
    mine: list[Pod] = []
    for number in range(count):
        found = schedule(owned(f"web-{number}", "web"), NODES, [*placed, *mine])
        assert isinstance(found, Scheduled)
        mine.append(owned(f"web-{number}", "web", found.node))
    counts = [sum(1 for item in mine if item.spec.node_name == item_node.metadata.name) for item_node in NODES]
    assert max(counts) - min(counts) <= 1


def test_single_pods_go_where_least_is() -> None:
    placed = [pod("x", node="node-1"), pod("y", node="node-2")]
    assert schedule(pod("a"), NODES, placed) == Scheduled("node-3")
