"""A capture plan: everything one network namespace needs, as a frozen value that can be compared, rendered and applied."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias

from weft_iptables.plan.rule import Family, Rule

Network: TypeAlias = IPv4Network | IPv6Network
PortRange: TypeAlias = tuple[int, int]
"""First and last port, both included."""


IN_PORTS: Final = "in_ports"
OUT_PORTS: Final = "out_ports"
OUT_NETWORKS: Final[dict[Family, str]] = {4: "out_net4", 6: "out_net6"}
LEARNED: Final = "learned_ports"
KEEP: Final[dict[Family, str]] = {4: "keep4", 6: "keep6"}
"""Names of the sets, as far as one name can be said in every tool."""


@dataclass(frozen=True, slots=True, order=True)
class Connection:
    """One TCP connection by its four numbers; addresses are canonical text, never IPv4-mapped."""

    local_address: str
    local_port: int
    remote_address: str
    remote_port: int

    @property
    def family(self) -> Family:
        """4 or 6, by the local address."""
        return 6 if ":" in self.local_address else 4

    @property
    def twin(self) -> "Connection":
        """The same connection as its other end sees it."""
        return Connection(self.remote_address, self.remote_port, self.local_address, self.local_port)


@dataclass(frozen=True, slots=True)
class PortSet:
    """Ports that the user excluded, as ranges that neither touch nor overlap, sorted."""

    name: str
    ranges: tuple[PortRange, ...]


@dataclass(frozen=True, slots=True)
class NetworkSet:
    """Networks that the user excluded, of one family, none inside another, sorted."""

    name: str
    family: Family
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class LearnedPorts:
    """Local ports from which the pod opened an excluded connection; the kernel adds them as it sees the SYN."""

    name: str


@dataclass(frozen=True, slots=True)
class KeepSet:
    """Connections older than the capture, of one family; they go on as they are until they end."""

    name: str
    family: Family


KernelSet: TypeAlias = PortSet | NetworkSet | LearnedPorts | KeepSet


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A setting of the namespace, as a path below /proc/sys, and the value the capture needs."""

    path: str
    value: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Packets whose mark equals `mark` under `mask` look up `table`, in which every address is local."""

    families: tuple[Family, ...]
    priority: int
    mark: int
    mask: int
    table: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePlan:
    """Everything one namespace needs, both families."""

    captured: tuple[Family, ...]
    """Families whose TCP goes through the agent, sorted."""
    refused: tuple[Family, ...]
    """Families that cannot be captured here, sorted: their TCP is dropped rather than let past."""
    sysctls: tuple[Sysctl, ...]
    needs_sysctls: bool
    """True: without them packets of excluded destinations could take a wrong way, so the plan is refused then."""
    routing: Routing
    sets: tuple[KernelSet, ...]
    rules: tuple[Rule, ...]
    keep: tuple[Connection, ...]
    """Contents of the keep sets, sorted."""

    @property
    def families(self) -> tuple[Family, ...]:
        """Families that get rules of any sort, sorted."""
        return tuple(sorted((*self.captured, *self.refused)))

    @property
    def shape(self) -> "CapturePlan":
        """The plan without what differs from pod to pod though the rules are the same; key for caches."""
        return replace(self, keep=())

    def rules_of(self, family: Family) -> tuple[Rule, ...]:
        """Return the rules that hold in one family, in order."""
        return tuple(rule for rule in self.rules if rule.family in (None, family))
