"""A whole cluster on one Linux machine, without Docker: control plane, nodes, DNS; up in half a minute, gone without trace.

Theory. The control plane comes first (`control_plane.py`), then all nodes at once (`node.py`), while DNS is applied and
waits for them. Odd nodes have a bridge for their pods, even ones routed pairs, so that both kinds of pod network are
tested; where the kernel has no br_netfilter all nodes have routed pairs, since ClusterIPs fail behind a bridge then. A
kube-proxy beside the API server lets admission webhooks be Services.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self

from weft_testing.cluster import network, records
from weft_testing.cluster.addresses import MAX_NODES, own_name
from weft_testing.cluster.api import Kubectl
from weft_testing.cluster.binaries import Say, need, say_to_stderr
from weft_testing.cluster.catalog import archive_of, coredns_image, pause_image, probe_image
from weft_testing.cluster.control_plane import ControlPlane
from weft_testing.cluster.dns import NAME as DNS_NAME
from weft_testing.cluster.dns import NAMESPACE as DNS_NAMESPACE
from weft_testing.cluster.dns import dns_objects
from weft_testing.cluster.images import Image, make_image
from weft_testing.cluster.node import Node
from weft_testing.cluster.node_files import NodePlan
from weft_testing.cluster.programs import CLUSTER
from weft_testing.cluster.records import ClusterRecord, RecordError
from weft_testing.cluster.requirements import cni_folder, why_no_nodes

DEFAULT_NAME: Final = "default"
_DNS_REPLICAS: Final = 2
_DNS_TIMEOUT_S: Final = 120


class Cluster:
    """A cluster with nodes; use it as a context manager, or call `down`."""

    def __init__(self, control_plane: ControlPlane, nodes: dict[str, Node]) -> None:
        self.control_plane = control_plane
        self.nodes = nodes
        self.name = control_plane.name

    @classmethod
    def up(cls, name: str = DEFAULT_NAME, *, nodes: int = 2, owned: bool = True, say: Say = say_to_stderr) -> Self:
        """Bring a cluster up and wait until its nodes are Ready and its DNS answers.

        Args:
            name: as in `addresses.check_name`.
            nodes: how many, called n1, n2 …
            owned: whether it ends with this process; else it stays until `down`.
            say: takes a line about each step that takes long.

        Raises:
            RecordError: a cluster of that name is up, or this machine cannot run nodes.
            BuildError, ToolchainError: a program is missing and cannot be built.
            CatalogError: an image lacks an ingredient.
            ProcessError, NodeError, NetworkError: something did not come up.
        """
        if not 1 <= nodes <= MAX_NODES:
            raise RecordError(f"a cluster has 1 to {MAX_NODES} nodes, not {nodes}")
        if reason := why_no_nodes():
            raise RecordError(reason)
        programs = need(*CLUSTER, say=say)
        archives = [
            archive_of(image) for image in (pause_image(programs), probe_image(programs), coredns_image(programs))
        ]
        control_plane = ControlPlane.up(name, owned=owned, say=say)
        try:
            names = tuple(f"n{number}" for number in range(1, nodes + 1))
            control_plane.record = records.update(control_plane.record, nodes=names)
            made = cls(control_plane, _nodes(control_plane, programs))
            made._boot(archives)
        except BaseException:
            control_plane.down()
            raise
        return made

    @classmethod
    def attach(cls, name: str = DEFAULT_NAME) -> Self:
        """Return a cluster that another process brought up.

        Raises:
            RecordError: there is none.
        """
        control_plane = ControlPlane.attach(name)
        return cls(control_plane, _nodes(control_plane, need(*CLUSTER)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.down()

    def down(self) -> None:
        """Take everything away; twice is once.

        Raises:
            RecordError: something did not go.
        """
        self.control_plane.down()

    @property
    def record(self) -> ClusterRecord:
        """What is on record about it."""
        return self.control_plane.record

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig that works where the tests run."""
        return self.control_plane.kubeconfig

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as administrator."""
        return self.control_plane.kubectl

    def load(self, *archives: Path) -> None:
        """Import images from OCI archives into every node, as if they had been pulled.

        Raises:
            NodeError: a node is off, or refused one.
        """
        with ThreadPoolExecutor(max_workers=len(self.nodes)) as pool:
            loading = [pool.submit(_load_all, node, archives) for node in self.nodes.values()]
            for each in loading:
                each.result()

    def load_image(self, image: Image) -> None:
        """Make an image and import it into every node; raises as `load` does."""
        with TemporaryDirectory(dir=self.record.directory) as scratch:
            archive = Path(scratch, "image.tar")
            make_image(image, archive)
            self.load(archive)

    def wait_ready(self) -> None:
        """Wait until all nodes are Ready.

        Raises:
            ProcessError: one was not, within a minute.
        """
        for node in self.nodes.values():
            node.wait_ready()

    def _boot(self, archives: Sequence[Path]) -> None:
        plane = self.control_plane
        numbers = [node.number for node in self.nodes.values()]
        network.add_routes(self.name, network.CONTROL_PLANE, self.record.addresses, numbers)
        for node in self.nodes.values():
            node.create()
        with ThreadPoolExecutor(max_workers=len(self.nodes)) as pool:
            booting = [pool.submit(node.boot, archives) for node in self.nodes.values()]
            plane.start_proxy(next(iter(self.nodes)))
            plane.kubectl.apply(*dns_objects(self.record.addresses, min(_DNS_REPLICAS, len(self.nodes))))
            for each in booting:
                each.result()
        self.wait_ready()
        plane.kubectl(
            f"--namespace={DNS_NAMESPACE}",
            "rollout",
            "status",
            f"deployment/{DNS_NAME}",
            f"--timeout={_DNS_TIMEOUT_S}s",
        )


def _load_all(node: Node, archives: Sequence[Path]) -> None:
    for archive in archives:
        node.load(archive)


def _nodes(control_plane: ControlPlane, programs: dict[str, Path]) -> dict[str, Node]:
    folder = cni_folder()
    if folder is None:
        raise RecordError(why_no_nodes())
    bridged = network.BRIDGE_NETFILTER.exists()
    record = control_plane.record
    return {
        name: Node(
            control_plane,
            NodePlan(
                name=name,
                number=number,
                cni="bridge" if bridged and number % 2 else "ptp",
                addresses=record.addresses,
                directory=record.directory / "nodes" / name,
                pki=control_plane.setting.pki,
                cni_folder=folder,
                cgroup=f"/{own_name(record.name, name)}",
            ),
            programs,
        )
        for number, name in enumerate(record.nodes, 1)
    }
