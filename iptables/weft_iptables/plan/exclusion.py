"""Which connections the exclusions of a plan cover: what the rules would say of those whose beginning they did not see."""

from collections.abc import Iterable
from ipaddress import ip_address

from weft_iptables.plan.values import IN_PORTS, OUT_PORTS, Connection, KernelSet, NetworkSet, PortSet


def excluded(sets: Iterable[KernelSet], connections: Iterable[Connection]) -> frozenset[Connection]:
    """Return those connections that arrive at an excluded port or lead to an excluded destination.

    Args:
        sets: of the plan.
        connections: direct ones of the pod.
    """
    known = tuple(sets)
    return frozenset(
        item for item in connections if _in_ports(known, IN_PORTS, item.local_port) or _leads_out(known, item)
    )


def learned_ports(sets: Iterable[KernelSet], connections: Iterable[Connection]) -> frozenset[int]:
    """Return the local ports of those connections that lead to an excluded destination, as the kernel would have learned.

    Args:
        sets: of the plan.
        connections: direct ones of the pod.
    """
    known = tuple(sets)
    return frozenset(item.local_port for item in connections if _leads_out(known, item))


def _leads_out(sets: tuple[KernelSet, ...], connection: Connection) -> bool:
    if _in_ports(sets, OUT_PORTS, connection.remote_port):
        return True
    remote = ip_address(connection.remote_address)
    return any(remote in network for item in sets if isinstance(item, NetworkSet) for network in item.networks)


def _in_ports(sets: tuple[KernelSet, ...], name: str, port: int) -> bool:
    return any(
        first <= port <= last
        for item in sets
        if isinstance(item, PortSet) and item.name == name
        for first, last in item.ranges
    )
