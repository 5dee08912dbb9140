"""The addresses of the node's own network, which kubelets' probes come from: as pods see it, no source is rewritten.

Theory: a kubelet connects to a pod from whatever address its node routes that way: the bridge's or the veth's on some
networks, the node's first address on others. The API server knows only the latter. So they are read where they are, in the
namespace of process 1. What no packet to a pod can come from (loopback, link-local) is left out.

Source: RFC 6724; kubernetes `pkg/probe`.
"""

from ipaddress import ip_address
from pathlib import Path

from weft_iptables.errors import HostNamespaceError
from weft_iptables.kernel.addresses import addresses as present_addresses
from weft_iptables.namespaces import open_namespace


def node_addresses(proc: Path) -> frozenset[str]:
    """Return the addresses of the namespace that process 1 of a proc filesystem is in. Blocking.

    Raises:
        NamespaceError: it cannot be entered.
        OSError: the kernel does not tell.
    """
    try:
        with open_namespace(proc / "1/ns/net") as namespace:
            found = namespace.run(present_addresses)
    except HostNamespaceError:
        found = present_addresses()  # it is this process's own
    return frozenset(text for text in found if _can_reach_pods(text))


def _can_reach_pods(text: str) -> bool:
    address = ip_address(text)
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)
