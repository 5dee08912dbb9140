"""Which node a pod goes to. Pure.

`nodeName` binds it, `nodeSelector` narrows the choice, otherwise pods of one owner spread over the nodes and then all pods do.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weft_lab.model import Node, Pod
from weft_lab.model.meta import has_labels
from weft_lab.plan.view import owner_of


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The pod runs on this node."""

    node: str


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """No node will do; the message says why, as the scheduler of a cluster would."""

    message: str


def schedule(pod: Pod, nodes: Sequence[Node], others: Iterable[Pod]) -> Scheduled | Unschedulable:
    """Choose a node.

    Args:
        pod: the pod without a node, or with a wish for one.
        nodes: all nodes, in order.
        others: pods that have a node already.
    """
    spec = pod.spec
    wanted = [node for node in nodes if spec.node_name in {"", node.metadata.name}]
    if not wanted:
        names = ", ".join(node.metadata.name for node in nodes)
        return Unschedulable(f"there is no node {spec.node_name!r} in this lab (nodes: {names})")
    fitting = [node for node in wanted if has_labels(node.metadata.labels, spec.node_selector)]
    if not fitting:
        selector = ", ".join(f"{key}={value}" for key, value in sorted(spec.node_selector.items()))
        return Unschedulable(f"0/{len(nodes)} nodes are available: none has the labels {selector}")
    return Scheduled(_least_loaded(pod, fitting, others))


def _least_loaded(pod: Pod, nodes: Sequence[Node], others: Iterable[Pod]) -> str:
    owner = owner_of(pod)
    siblings: Counter[str] = Counter()
    everyone: Counter[str] = Counter()
    for other in others:
        everyone[other.spec.node_name] += 1
        if owner is not None and owner_of(other) == owner:
            siblings[other.spec.node_name] += 1
    names = [node.metadata.name for node in nodes]
    return min(names, key=lambda name: (siblings[name], everyone[name], names.index(name)))
