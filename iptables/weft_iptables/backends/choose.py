"""Which way of writing rules a node uses: proved by doing it, in a namespace that is thrown away.

Theory. Kernel configuration, module lists and version numbers say what should work. Here a plan with every kind of rule is
applied in an empty namespace and a connection is made there: it has to arrive at a listener that it was not made to. What
passes that is able; nft comes first (one transaction for both families, no extra modules), iptables in the flavour of the
host second.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, assert_never

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from weft_contract.ports import OUTBOUND_PORT
from weft_contract.resources import Capture
from weft_iptables.backends.capture import PROC, Backend
from weft_iptables.backends.iptables import IptablesRules
from weft_iptables.backends.nft import NftRules
from weft_iptables.backends.rules import BackendName, Rules
from weft_iptables.backends.tools import run
from weft_iptables.errors import IptablesError, KernelRefusedError
from weft_iptables.kernel import routing
from weft_iptables.kernel.netlink import NETLINK_ROUTE, Netlink
from weft_iptables.namespaces import Namespace, run_in_scratch
from weft_iptables.plan import Connection, Family, plan
from weft_iptables.sockets import listen

Wanted = Literal["auto", "iptables", "nft", "iptables-nft", "iptables-legacy"]
BACKENDS: Final[Mapping[BackendName, Callable[[], Rules]]] = {
    "nft": NftRules,
    "iptables-nft": partial(IptablesRules, "nft"),
    "iptables-legacy": partial(IptablesRules, "legacy"),
}
_PATIENCE_S: Final = 3.0
_SOURCES: Final[Mapping[Family, tuple[str, int]]] = {4: ("192.0.2.1", 24), 6: ("2001:db8:1::1", 64)}
_TARGETS: Final[Mapping[Family, tuple[str, int]]] = {4: ("198.51.100.1", 80), 6: ("2001:db8:2::1", 80)}
"""Documentation addresses (RFC 5737, RFC 3849): nobody answers there but the capture."""
_EVERYTHING: Final = Capture(
    exclude_inbound_ports=((9, 9),),
    exclude_outbound_ports=((9, 10),),
    exclude_outbound_networks=("192.0.2.128/25", "2001:db8:9::/48"),
)
_NODAD: Final = 2
"""IFA_F_NODAD: the address is of use at once."""
_KEPT: Final = (Connection("192.0.2.1", 9, "192.0.2.2", 9), Connection("2001:db8::1", 9, "2001:db8::2", 9))


@dataclass(frozen=True, slots=True)
class Choice:
    """The way to write rules on this node, and why not the others that were tried."""

    name: BackendName
    rejected: Mapping[BackendName, str]


class NoBackendError(IptablesError):
    """No way of writing rules works on this node; the message says what each ran into."""


def choose_backend(wanted: Wanted = "auto", probe: Callable[[BackendName], str] | None = None) -> Choice:
    """Choose how rules are written on this node.

    Args:
        wanted: a name forces it, `iptables` leaves the flavour to the host, `auto` prefers nft.
        probe: returns why a way does not work, or nothing; None tries it (`prove`).

    Raises:
        NoBackendError: what was wanted, or everything, does not work here.
    """
    rejected: dict[BackendName, str] = {}
    for name in _candidates(wanted):
        reason = (probe or prove)(name)
        if not reason:
            return Choice(name, rejected)
        rejected[name] = reason
    raise NoBackendError("; ".join(f"{name}: {reason}" for name, reason in rejected.items()))


def open_backend(name: BackendName, namespace: Namespace, proc_roots: Sequence[Path] = PROC) -> Backend:
    """Bind a way of writing rules to a namespace.

    Args:
        name: as chosen.
        namespace: of the pod; the caller keeps it open as long as the back end.
        proc_roots: where proc filesystems are mounted, the preferred one first.
    """
    others = [make for other, make in BACKENDS.items() if other != name]
    return Backend(namespace, BACKENDS[name], proc_roots=proc_roots, others=others)


def _candidates(wanted: Wanted) -> list[BackendName]:
    host: BackendName = "iptables-legacy" if host_flavour() == "legacy" else "iptables-nft"
    other: BackendName = "iptables-nft" if host == "iptables-legacy" else "iptables-legacy"
    match wanted:
        case "auto":
            return ["nft", host, other]
        case "iptables":
            return [host, other]
        case "nft" | "iptables-nft" | "iptables-legacy":
            return [wanted]
        case _:
            assert_never(wanted)


def host_flavour() -> Literal["nft", "legacy"]:
    """Return the flavour that plain `iptables` is on this host; nft where there is no iptables."""
    try:
        return "legacy" if "legacy" in run(["iptables", "-V"]) else "nft"
    except IptablesError:
        return "nft"


# -- proof --------------------------------------------------------------------------------------------------------


def prove(name: BackendName) -> str:
    """Return why a way of writing rules does not work on this node, or nothing if it does."""
    try:
        run_in_scratch(lambda: _intercept(BACKENDS[name]()))
    except (IptablesError, OSError) as exc:
        return str(exc) or type(exc).__name__
    return ""


def _intercept(rules: Rules) -> None:
    """Apply a plan with every kind of rule here, then see that a connection to elsewhere arrives at the agent's port."""
    wanted = plan(_EVERYTHING, captured=_link(), keep=_KEPT)
    with Netlink(NETLINK_ROUTE) as netlink:
        routing.install(netlink, wanted.routing, protocol=0)
    rules.check()
    rules.install(wanted, (9,))
    for family in wanted.captured:
        target = _TARGETS[family]
        with listen(OUTBOUND_PORT, family) as listener:
            listener.settimeout(_PATIENCE_S)
            with _connect(family, target), listener.accept()[0] as accepted:
                if accepted.getsockname()[:2] != target:
                    raise KernelRefusedError(f"a captured connection does not know its destination (IPv{family})")


def _connect(family: Family, target: tuple[str, int]) -> socket.socket:
    try:
        return socket.create_connection(target, timeout=_PATIENCE_S)
    except OSError as exc:
        raise KernelRefusedError(f"rules are in place, yet a connection is not captured (IPv{family}): {exc}") from exc


def _link() -> tuple[Family, ...]:
    """Give the empty namespace a network that leads nowhere; return the families it has."""
    try:
        with IPRoute() as client:
            client.link("set", index=1, state="up")
            client.link("add", ifname="weft0", kind="veth", peer="weft1")
            indexes = [client.link_lookup(ifname=name)[0] for name in ("weft0", "weft1")]
            for index in indexes:
                client.link("set", index=index, state="up")
            return tuple(family for family in _SOURCES if _address(client, family, indexes[0]))
    except NetlinkError as exc:
        raise KernelRefusedError(f"a network for the proof cannot be made: {exc}") from exc


def _address(client: Any, family: Family, index: int) -> bool:
    address, length = _SOURCES[family]
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    try:
        client.addr(
            "add", family=number, index=index, address=address, prefixlen=length, flags=_NODAD if family == 6 else 0
        )
        client.route("add", family=number, dst="default", oif=index)
    except NetlinkError:
        if family == 4:
            raise
        return False
    return True
