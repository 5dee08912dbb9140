"""Which connections an exclusion covers: for ports that the kernel would have learned, had the rules been there earlier."""

from collections.abc import Iterable
from ipaddress import ip_address

from weft_iptables.plan.build import OUT_PORTS
from weft_iptables.plan.values import CapturePlan, Connection, NetworkSet, PortSet


def learned_ports(plan: CapturePlan, connections: Iterable[Connection]) -> frozenset[int]:
    """Return the local ports of those connections whose other end is excluded.

    Args:
        plan: the capture whose exclusions count.
        connections: the pod's own connections that do not go through the agent.
    """
    ranges = [
        span for item in plan.sets if isinstance(item, PortSet) and item.name == OUT_PORTS for span in item.ranges
    ]
    networks = [network for item in plan.sets if isinstance(item, NetworkSet) for network in item.networks]

    def excluded(connection: Connection) -> bool:
        if any(first <= connection.remote_port <= last for first, last in ranges):
            return True
        remote = ip_address(connection.remote_address)
        return any(remote in network for network in networks if network.version == remote.version)

    return frozenset(connection.local_port for connection in connections if excluded(connection))
