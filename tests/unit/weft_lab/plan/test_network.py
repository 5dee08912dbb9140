"""Links and routes: every node reaches every pod network in both families, and nothing stays in the machine's own namespace."""

import pytest

from weft_lab.addressing import AddressPlan
from weft_lab.names import node_names
from weft_lab.plan.network import fabric_batches, node_batch, pod_batches

PLAN = AddressPlan(2)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_node_has_a_route_to_every_other_nodes_pods(count: int) -> None:
    nodes = node_names(count)
    for number in range(1, count + 1):
        lines = node_batch("x", nodes, number, PLAN).lines
        for other in range(1, count + 1):
            for block, via in ((PLAN.pods_v4(other), PLAN.node(other).v4), (PLAN.pods_v6(other), PLAN.node(other).v6)):
                expected = f"route add unreachable {block}" if other == number else f"route add {block} via {via}"
                assert expected in lines


def test_links_are_made_from_outside_with_both_ends_inside() -> None:
    outside = [batch for batch in fabric_batches("x", node_names(2)) if batch.namespace is None]
    outside += [
        batch
        for batch in pod_batches("p", "n", "podlink", PLAN.node_pods(1).take(), PLAN.node(1))
        if batch.namespace is None
    ]
    for batch in outside:
        assert all(line.startswith("link add") and line.count(" netns ") == 2 for line in batch.lines)


def test_a_pod_has_a_default_route_of_both_families_and_a_way_back() -> None:
    pod, node = PLAN.node_pods(1).take(), PLAN.node(1)
    batches = {batch.namespace: batch.lines for batch in pod_batches("p", "n", "podlink", pod, node)}
    assert "route add default via 169.254.1.1 dev eth0" in batches["p"]
    assert "route add default via fe80::1 dev eth0" in batches["p"]
    assert f"route add {pod.v4}/32 dev podlink src {node.v4}" in batches["n"]
    assert f"route add {pod.v6}/128 dev podlink src {node.v6}" in batches["n"]
