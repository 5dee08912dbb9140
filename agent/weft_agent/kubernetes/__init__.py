"""The node's own view of Kubernetes: the pods of this node, watched at the API server, with or without an operator.

Belongs here: the agent's account and whether it still exists, a small HTTPS client, how a kind is followed (`ListWatch`), the
watch of pods, and what it has shown (`NodePods`, pure).
Does not belong here: a decision what a pod means (`control.roster`), or an EndpointSlice (`weft_agent.degraded`); any other
kind of object (the operator compiles them).
"""

from weft_agent.kubernetes.account import Account, AccountError
from weft_agent.kubernetes.list_watch import ListWatch
from weft_agent.kubernetes.node_pods import NodePods
from weft_agent.kubernetes.own_account import OwnAccount
from weft_agent.kubernetes.pod_watch import PodWatch

__all__ = ["Account", "AccountError", "ListWatch", "NodePods", "OwnAccount", "PodWatch"]
