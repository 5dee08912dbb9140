"""What control knows of one pod: its workload, the state of its capture, its open namespace, its listeners."""

from dataclasses import dataclass, field
from typing import Literal

import trio

from weft_agent.capture.network import Listeners, PodNetwork
from weft_contract.resources import Workload

CaptureState = Literal["pending", "captured", "failed", "absent", "leaving"]


@dataclass(slots=True)
class Pod:
    """One pod that is, should be, or was captured."""

    workload: Workload
    state: CaptureState = "pending"
    error: str = ""
    network: PodNetwork | None = None
    listeners: Listeners = field(default_factory=dict)
    busy: trio.Lock = field(default_factory=trio.Lock)
    """Held while a thread works in the namespace."""
    again: trio.Event = field(default_factory=trio.Event)
    """The workload changed, or its rules could not be healed: capture anew."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Of the task that keeps the capture; cancelled when the pod leaves."""
    open: bool = False
    """Whether sockets can be made in the namespace."""
    release: bool = False
    """Whether leaving takes the rules away. False unless somebody decided so: an agent that dies must not open a pod."""

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.workload.namespace}/{self.workload.name}"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the pod's metrics."""
        return {"namespace": self.workload.namespace, "pod": self.workload.name}

    def close_listeners(self) -> None:
        """Close control's copies; workers may have theirs open."""
        for sock in self.listeners.values():
            sock.close()
        self.listeners = {}
