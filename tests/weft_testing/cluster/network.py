"""The wires of a cluster: a hub with a bridge, the control plane and the nodes on it, each a network namespace.

Nothing is made, routed or filtered in the namespace that the tests run in.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from weft_iptables.namespaces import open_namespace
from weft_testing.cluster.addresses import Addresses, own_name, owner_of

NETNS_ROOT: Final = Path("/run/netns")
HUB: Final = "hub"
CONTROL_PLANE: Final = "cp"
BRIDGE_NETFILTER: Final = Path("/proc/sys/net/bridge")
"""Exists where the kernel has br_netfilter, without which ClusterIPs do not work behind a bridge."""
_BRIDGE: Final = "hub0"
_TIMEOUT_S: Final = 20.0
_FORWARDING: Final = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/eth0/accept_dad": "0",
}
_BRIDGED: Final = {"net/bridge/bridge-nf-call-iptables": "1", "net/bridge/bridge-nf-call-ip6tables": "1"}


class NetworkError(OSError):
    """A namespace or link could not be made or removed; the message has the commands and the answer."""


def namespace_path(cluster: str, place: str) -> Path:
    """Return the file that a namespace is bound to."""
    return NETNS_ROOT / own_name(cluster, place)


def namespaces(cluster: str) -> list[str]:
    """Return the names of all network namespaces that a cluster has on the machine."""
    try:
        return sorted(path.name for path in NETNS_ROOT.iterdir() if owner_of(path.name) == cluster)
    except FileNotFoundError:
        return []


def delete_namespace(name: str) -> None:
    """Remove a namespace by its name; its links, routes and rules go with it.

    Raises:
        NetworkError: `ip` refused.
    """
    if (NETNS_ROOT / name).exists():
        ip(f"netns del {name}")


def remove_place(cluster: str, place: str) -> None:
    """Remove a place's namespace, and at once its port on the hub, which the kernel would take away some time later.

    Raises:
        NetworkError: `ip` refused.
    """
    name = own_name(cluster, place)
    if (NETNS_ROOT / name).exists():
        ip(f"link del {place}", namespace=own_name(cluster, HUB))
        delete_namespace(name)


def make_hub(cluster: str) -> None:
    """Make the bridge that stands for the wire between the machines.

    Raises:
        NetworkError: `ip` refused.
    """
    name = own_name(cluster, HUB)
    ip(f"netns add {name}")
    ip("link set lo up", f"link add {_BRIDGE} type bridge", f"link set {_BRIDGE} up", namespace=name)


def make_place(cluster: str, place: str, host: tuple[str, str], gateway: tuple[str, str] | None) -> None:
    """Make a namespace with a leg on the hub.

    Args:
        cluster: its name.
        place: `cp` or a node's name; also the name of its port on the hub.
        host: its own addresses.
        gateway: where everything unknown goes; None sends it to the wire itself. Without any default route, connecting to
            a ClusterIP fails before kube-proxy's rules see a packet.

    Raises:
        NetworkError: `ip` refused.
    """
    name, hub = own_name(cluster, place), own_name(cluster, HUB)
    ip(f"netns add {name}")
    ip(
        f"link add {place} type veth peer name eth0 netns {name}",
        f"link set {place} master {_BRIDGE} up",
        namespace=hub,
    )
    write_sysctls(cluster, place, _FORWARDING | (_BRIDGED if BRIDGE_NETFILTER.exists() else {}))
    ip(
        "link set lo up",
        "link set eth0 up",
        f"addr add {host[0]}/24 dev eth0",
        f"addr add {host[1]}/112 dev eth0 nodad",
        *([f"route add default via {address}" for address in gateway] if gateway else []),
        namespace=name,
    )
    for family in () if gateway else ("-4", "-6"):
        ip("route add default dev eth0", namespace=name, family=family)


def add_routes(cluster: str, place: str, addresses: Addresses, numbers: Iterable[int]) -> None:
    """Tell one place the way to the pods of other nodes.

    Raises:
        NetworkError: `ip` refused.
    """
    lines = [
        f"route replace {pods} via {host}"
        for number in numbers
        for pods, host in zip(addresses.node_pods(number), addresses.node(number), strict=True)
    ]
    if lines:
        ip(*lines, namespace=own_name(cluster, place))


def set_link(cluster: str, place: str, *, up: bool) -> None:
    """Plug a place's cable in or out, at the hub's end.

    Raises:
        NetworkError: `ip` refused.
    """
    ip(f"link set {place} {'up' if up else 'down'}", namespace=own_name(cluster, HUB))


def write_sysctls(cluster: str, place: str, values: dict[str, str]) -> None:
    """Set kernel parameters inside a namespace.

    Raises:
        OSError: there is no such parameter.
    """

    def write() -> None:
        for name, value in values.items():
            Path("/proc/sys", name).write_text(value)

    with open_namespace(namespace_path(cluster, place)) as namespace:
        namespace.run(write)


def ip(*lines: str, namespace: str = "", family: str = "") -> None:
    """Run lines of the `ip` command in one process.

    Raises:
        NetworkError: one of them failed.
    """
    flags = [*([family] if family else []), *(["-n", namespace] if namespace else [])]
    command = ["ip", *flags, "-batch", "-"]
    script = "\n".join(lines) + "\n"
    done = subprocess.run(command, input=script, text=True, capture_output=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise NetworkError(f"{' '.join(command)} failed on\n{script}{done.stderr}")
