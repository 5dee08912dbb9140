"""Names and addresses of a cluster: everything follows from its name and its number. Pure.

Theory. A cluster's name has no dot, so `weft-cluster.<name>.` begins the names of that cluster's namespaces, cgroups and
mounts and of nobody else's: whatever a killed run left is found by name alone. The number makes the addresses of
clusters that run side by side distinct, so that a test may join two of them. Cluster i has nodes on 172.30.i.0/24 and
fd18::i:0/112 (the control plane is .1, node n is .10+n), pods in 10.(160+i).n.0/24 and fd44:0:0:(i·256+n)::/64, services
in 10.(96+i).0.0/16 and fd96::i:0/112. None of them is known outside of the cluster's own namespaces.
"""

import re
from dataclasses import dataclass
from typing import Final

NAME_PREFIX: Final = "weft-cluster"
PROCESS_VARIABLE: Final = "WEFT_CLUSTER_PROCESS_OF"
"""Environment variable that marks every process of a cluster; never set by people, as taking the cluster down kills them."""
MAX_CLUSTERS: Final = 32
MAX_NODES: Final = 200
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")


class ClusterNameError(ValueError):
    """The text cannot name a cluster; the message says what can."""


def check_name(text: str) -> str:
    """Return `text` if it can name a cluster.

    Raises:
        ClusterNameError: it is not 1-20 characters of a-z, 0-9 and inner dashes.
    """
    if not _NAME.fullmatch(text):
        raise ClusterNameError(f"cluster name {text!r:.60} must be 1-20 characters of a-z, 0-9 and inner '-'")
    return text


def own_name(cluster: str, part: str) -> str:
    """Return the name that a namespace, cgroup or mount of a cluster has on the machine."""
    return f"{NAME_PREFIX}.{cluster}.{part}"


def owner_of(name: str) -> str | None:
    """Return the cluster that something with this name on the machine belongs to, or None if it is nobody's."""
    prefix, _, rest = name.partition(".")
    cluster, dot, _ = rest.partition(".")
    return cluster if prefix == NAME_PREFIX and dot and _NAME.fullmatch(cluster) else None


def free_index(taken: set[int]) -> int:
    """Return the lowest number that no cluster has.

    Raises:
        ClusterNameError: as many clusters are up as there are addresses for.
    """
    for index in range(MAX_CLUSTERS):
        if index not in taken:
            return index
    raise ClusterNameError(f"{MAX_CLUSTERS} clusters are up; take one down first")


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of one cluster."""

    index: int

    @property
    def control_plane(self) -> tuple[str, str]:
        """Where the API server listens."""
        return self._underlay(1)

    @property
    def pod_ranges(self) -> tuple[str, str]:
        """What pods get their addresses from, all nodes together."""
        return f"10.{160 + self.index}.0.0/16", f"fd44:0:0:{self.index << 8:x}::/56"

    @property
    def service_ranges(self) -> tuple[str, str]:
        """What ClusterIPs come from."""
        return f"10.{96 + self.index}.0.0/16", f"fd96::{self.index:x}:0/112"

    @property
    def api_service(self) -> str:
        """The ClusterIP of `kubernetes.default`, which is always the first of the range."""
        return f"10.{96 + self.index}.0.1"

    @property
    def dns_service(self) -> str:
        """The ClusterIP of the cluster's DNS."""
        return f"10.{96 + self.index}.0.10"

    def node(self, number: int) -> tuple[str, str]:
        """Return the addresses of node `number`, counted from 1."""
        return self._underlay(10 + number)

    def node_pods(self, number: int) -> tuple[str, str]:
        """Return the ranges that a node's pods get their addresses from."""
        return f"10.{160 + self.index}.{number}.0/24", f"fd44:0:0:{(self.index << 8) + number:x}::/64"

    def _underlay(self, host: int) -> tuple[str, str]:
        return f"172.30.{self.index}.{host}", f"fd18::{self.index:x}:{host:x}"
