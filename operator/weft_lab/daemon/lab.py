"""What all parts of a lab's daemon share: its record, networks, directories, loop, store and spawner."""

from dataclasses import dataclass
from pathlib import Path

from weft_lab.addressing import AddressPlan, Pair
from weft_lab.daemon.loop import Loop
from weft_lab.daemon.spawner import Spawner
from weft_lab.daemon.store import Store
from weft_lab.machine.records import LabRecord
from weft_lab.names import node_namespace, state_directory


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab, as its daemon sees it."""

    record: LabRecord
    plan: AddressPlan
    loop: Loop
    store: Store
    spawner: Spawner

    @property
    def name(self) -> str:
        """Name of the lab."""
        return self.record.name

    @property
    def directory(self) -> Path:
        """Where all its state is."""
        return state_directory(self.record.name)

    def node_number(self, node: str) -> int:
        """Return a node's number, from 1."""
        return self.record.nodes.index(node) + 1

    def node_addresses(self, node: str) -> Pair:
        """Return a node's own addresses."""
        return self.plan.node(self.node_number(node))

    def node_namespace(self, node: str) -> str:
        """Return a node's network namespace."""
        return node_namespace(self.record.name, node)

    def pod_directory(self, uid: str) -> Path:
        """Return the directory of a pod."""
        return self.directory / "pods" / uid

    def node_directory(self, node: str) -> Path:
        """Return the directory of a node."""
        return self.directory / "nodes" / node

    def admin_socket(self, node: str) -> Path:
        """Return the admin socket of a node's agent; the agent's /run is a directory of the node."""
        return self.node_directory(node) / "run" / "weft" / node / "admin.sock"
