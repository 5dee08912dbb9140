"""Telling every node what it should hold, and knowing what of it is in force: the config streams.

Belongs here: what is sent to whom and when (`session`, pure), the hub of all sessions (`hub`), the WebSocket under one of them
(`connection`, `endpoint`), what became of objects on how many nodes (`outlook`), and what other replicas know of their nodes
(`standing`, `peers`).
Does not belong here: what a resource says (`compile`), where deltas come from (`live`), and who a caller is (`identity`): the
hub asks a `Gatekeeper`, so that it works without Kubernetes.
"""

from weft_operator.distribution.endpoint import StreamEndpoint
from weft_operator.distribution.gatekeeper import Caller, Gatekeeper, RefusedError
from weft_operator.distribution.hub import Hub, NodeStatus
from weft_operator.distribution.metrics import HubMetrics
from weft_operator.distribution.peers import Kinship, Peers, StandingEndpoint
from weft_operator.distribution.settings import HubSettings
from weft_operator.distribution.trust import lacking_roots

__all__ = [
    "Caller",
    "Gatekeeper",
    "Hub",
    "HubMetrics",
    "HubSettings",
    "Kinship",
    "NodeStatus",
    "Peers",
    "RefusedError",
    "StandingEndpoint",
    "StreamEndpoint",
    "lacking_roots",
]
