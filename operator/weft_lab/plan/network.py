"""Links, addresses and routes of a lab, as lines for `ip -batch`. Pure.

Theory: nodes hang on one bridge in a namespace of its own, the fabric. A pod hangs on its node by a routed link, not by a
bridge: every packet of a pod passes the node's routing, so translation of Service addresses is seen in both directions
even between neighbours. A pod's only neighbour is its node's end of the link, which has the same two addresses on all
links. Traffic from the node to a pod carries the node's own address, as a kubelet's does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from weft_lab.addressing import POD_GATEWAY_V4, POD_GATEWAY_V6, AddressPlan, Pair
from weft_lab.names import fabric_namespace, node_namespace

Sysctls = tuple[tuple[str, str], ...]

NODE_SYSCTLS: Sysctls = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
)
"""Set before any link exists. Redirects are off because a hairpin connection leaves by the link it came from."""
POD_SYSCTLS: Sysctls = (
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
)
"""The last two as containerd sets them for pods."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines for one `ip -batch` run in one namespace; None: the machine's own, where nothing stays."""

    namespace: str | None
    lines: tuple[str, ...]


def fabric_batches(lab: str, nodes: tuple[str, ...]) -> Iterator[Batch]:
    """Yield what makes the bridge and one link for each node; the namespaces exist."""
    fabric = fabric_namespace(lab)
    yield Batch(fabric, ("link set lo up", "link add br0 type bridge", "link set br0 up"))
    links = (
        f"link add eth0 netns {node_namespace(lab, node)} type veth peer name n{number} netns {fabric}"
        for number, node in enumerate(nodes, start=1)
    )
    yield Batch(None, tuple(links))
    ports = (f"link set n{number} master br0 up" for number in range(1, len(nodes) + 1))
    yield Batch(fabric, tuple(ports))


def node_batch(lab: str, nodes: tuple[str, ...], number: int, plan: AddressPlan) -> Batch:
    """Return what gives a node its addresses and routes.

    Args:
        lab: name of the lab.
        nodes: all nodes.
        number: this node's number, from 1.
        plan: the lab's networks.
    """
    own = plan.node(number)
    lines = [
        "link set lo up",
        f"addr add {own.v4}/{plan.nodes_v4.prefixlen} dev eth0",
        f"addr add {own.v6}/{plan.nodes_v6.prefixlen} dev eth0 nodad",
        "link set eth0 up",
        f"route add unreachable {plan.pods_v4(number)}",
        f"route add unreachable {plan.pods_v6(number)}",
        # Service addresses must be routable for a moment: translation or refusal follows in the output hooks
        f"route add {plan.services_v4} dev eth0 src {own.v4}",
        f"route add {plan.services_v6} dev eth0 src {own.v6}",
    ]
    for other in range(1, len(nodes) + 1):
        if other != number:
            there = plan.node(other)
            lines.append(f"route add {plan.pods_v4(other)} via {there.v4}")
            lines.append(f"route add {plan.pods_v6(other)} via {there.v6}")
    return Batch(node_namespace(lab, nodes[number - 1]), tuple(lines))


def pod_batches(pod_namespace: str, node_namespace_name: str, link: str, pod: Pair, node: Pair) -> Iterator[Batch]:
    """Yield what joins a pod's namespace to its node.

    Args:
        pod_namespace: the pod's namespace, which exists.
        node_namespace_name: the node's namespace.
        link: name of the node's end.
        pod: the pod's addresses.
        node: the node's addresses.
    """
    yield Batch(None, (f"link add {link} netns {node_namespace_name} type veth peer name eth0 netns {pod_namespace}",))
    yield Batch(
        pod_namespace,
        (
            "link set lo up",
            f"addr add {pod.v4}/32 dev eth0",
            f"addr add {pod.v6}/128 dev eth0 nodad",
            "link set eth0 up",
            f"route add {POD_GATEWAY_V4} dev eth0 scope link",
            f"route add default via {POD_GATEWAY_V4} dev eth0",
            f"route add default via {POD_GATEWAY_V6} dev eth0",
        ),
    )
    yield Batch(
        node_namespace_name,
        (
            f"addr add {POD_GATEWAY_V4}/32 dev {link} scope link",
            f"addr add {POD_GATEWAY_V6}/64 dev {link} nodad",
            f"link set {link} up",
            f"route add {pod.v4}/32 dev {link} src {node.v4}",
            f"route add {pod.v6}/128 dev {link} src {node.v6}",
        ),
    )
