"""The addresses of the calling thread's namespace: a pod's namespace is known by holding one of the pod's.

Source: include/uapi/linux/if_addr.h.
"""

import struct
from ipaddress import ip_address
from typing import Final

from weft_iptables.kernel.netlink import NETLINK_ROUTE, Netlink, attributes

_GETADDR: Final = 22
_ADDRESS: Final = 1
_LOCAL: Final = 2


def addresses() -> frozenset[str]:
    """Return every address of every device, both families, as canonical text; use it as `namespace.run(addresses)`."""
    found = set()
    with Netlink(NETLINK_ROUTE) as netlink:
        for _, payload in netlink.dump(_GETADDR, struct.pack("=4Bi", 0, 0, 0, 0, 0)):
            fields = dict(attributes(payload, 8))
            packed = fields.get(_LOCAL) or fields.get(_ADDRESS)
            if packed is not None:
                found.add(str(ip_address(packed)))
    return frozenset(found)
