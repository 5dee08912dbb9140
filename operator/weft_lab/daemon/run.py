"""The daemon of one lab: puts the parts together, runs them, and ends when it is told to.

Started by `weft lab up` as `python -m weft_lab.daemon NAME FD`; on the descriptor it says `ready`, or what went wrong.
It never cleans up: `weft lab down` does, from outside, the same way whether the daemon ended well or was killed.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from weft_contract.labels import ZONE_LABEL
from weft_lab.addressing import AddressPlan
from weft_lab.daemon.admission import Admission
from weft_lab.daemon.agents import Agent
from weft_lab.daemon.api import Api
from weft_lab.daemon.gate import CaptureGate, OpenGate
from weft_lab.daemon.handlers import Handlers
from weft_lab.daemon.identities import IdentityKeeper
from weft_lab.daemon.kubelet import Kubelet
from weft_lab.daemon.lab import Lab
from weft_lab.daemon.log_files import LogKeeper
from weft_lab.daemon.loop import Loop
from weft_lab.daemon.publisher import Publisher
from weft_lab.daemon.reconciler import Reconciler
from weft_lab.daemon.spawner import Spawner
from weft_lab.daemon.store import Store, timestamp
from weft_lab.daemon.translator import Translator
from weft_lab.machine.namespaces import add_namespace, apply
from weft_lab.machine.records import LabRecord, socket_path
from weft_lab.model import Key, Metadata, Node
from weft_lab.model.objects import NodeAddress, NodeSpec, NodeStatus
from weft_lab.names import fabric_namespace, node_namespace
from weft_lab.plan.network import NODE_SYSCTLS, fabric_batches, node_batch
from weft_lab.plan.view import View

_log: Final = logging.getLogger("weft_lab")


class Daemon:
    """All parts of one lab."""

    def __init__(self, record: LabRecord) -> None:
        self._together = False
        self.loop = Loop()
        store = Store(self._changed)
        self.lab = Lab(record, AddressPlan(record.index), self.loop, store, Spawner(record.name))
        self._offset_s = time.time() - time.monotonic()
        gate = CaptureGate(self.lab) if record.agent else OpenGate()
        self._kubelet = Kubelet(self.lab, gate, self._clock)
        self._translator = Translator(self.lab)
        self._publisher = Publisher(self.lab, IdentityKeeper(self.lab) if record.agent else None)
        self._admission = Admission(self.lab)
        self._reconciler = Reconciler(self.lab, self._kubelet, self._translator, self._publish)
        self._handlers = Handlers(
            self.lab, self._admission, self._reconciler, self._kubelet, self._publisher, self._translator
        )
        self._api = Api(self.loop, store, self._handlers)
        self._logs = LogKeeper(self.lab)
        self._together = True

    def prepare(self) -> None:
        """Make the lab's network, directories and first objects.

        Raises:
            MachineError: `ip` or nft refused.
        """
        make_network(self.lab.record, self.lab.plan)
        (self.lab.directory / "config").mkdir(exist_ok=True)
        self._admission.create_system_namespaces()
        for number, node in enumerate(self.lab.record.nodes, start=1):
            (self.lab.node_directory(node) / "run").mkdir(parents=True, exist_ok=True)
            (self.lab.node_directory(node) / "identity").mkdir(mode=0o700, exist_ok=True)
            self.lab.store.create(Key("Node", "", node), node_object(self.lab, node, number))

    def run(self, status: int) -> None:
        """Serve until a signal says to end. What it started ends with the process.

        Args:
            status: descriptor that is told `ready` once the lab can be used; closed then.
        """
        signal.signal(signal.SIGTERM, lambda *_: self.loop.call(self._stop))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._api.listen(socket_path(self.lab.name))
        if self.lab.record.agent:
            self._start_agents()
        self._logs.start()
        os.write(status, b"ready\n")
        os.close(status)
        self.loop.run()
        self._kubelet.close()
        self.loop.close()

    def _start_agents(self) -> None:
        for node in self.lab.record.nodes:
            agent = Agent(self.lab, node, self._digest_of(node))
            self._handlers.agents[node] = agent
            agent.start()
        self._publisher.on_published = self._look_at_agents

    def _digest_of(self, node: str) -> Callable[[], str]:
        return lambda: self._publisher.digests.get(node, "")

    def _look_at_agents(self) -> None:
        for agent in self._handlers.agents.values():
            agent.look()

    def _stop(self) -> None:
        for agent in self._handlers.agents.values():
            agent.stop()
        self.loop.stop()

    def _changed(self) -> None:
        """Hear of a change of the store; nobody else does before all parts are there."""
        if self._together:
            self._reconciler.ask()
            self.loop.call(self._api.changed)

    def _publish(self, view: View) -> None:
        self._admission.released(view)
        self._publisher.publish(view)

    def _clock(self, now: float) -> str:
        return timestamp(now + self._offset_s)


def make_network(record: LabRecord, plan: AddressPlan) -> None:
    """Make the fabric and the nodes.

    Raises:
        MachineError: `ip` refused.
    """
    add_namespace(fabric_namespace(record.name))
    for node in record.nodes:
        add_namespace(node_namespace(record.name, node), NODE_SYSCTLS)
    apply(fabric_batches(record.name, record.nodes))
    apply(node_batch(record.name, record.nodes, number, plan) for number in range(1, len(record.nodes) + 1))


def node_object(lab: Lab, node: str, number: int) -> Node:
    """Return the Node object of a node."""
    pair = lab.plan.node(number)
    addresses = [NodeAddress(type="InternalIP", address=text) for text in pair.texts()]
    addresses.append(NodeAddress(type="Hostname", address=node))
    labels = {"kubernetes.io/hostname": node, "kubernetes.io/os": "linux", ZONE_LABEL: f"zone-{number}"}
    return Node(
        metadata=Metadata(name=node, labels=labels),
        spec=NodeSpec(pod_cidrs=(str(lab.plan.pods_v4(number)), str(lab.plan.pods_v6(number)))),
        status=NodeStatus(addresses=tuple(addresses)),
    )
