"""The node's own view of Kubernetes: the pods of this node, watched at the API server, with or without an operator.

Belongs here: the agent's account and whether it still exists, a small HTTPS client, the watch of pods, and what it has shown
(`NodePods`, pure).
Does not belong here: any other kind of object (the operator compiles them), a decision what a pod means (`control.roster`).
"""

from weft_agent.kubernetes.account import Account, AccountError
from weft_agent.kubernetes.node_pods import NodePods
from weft_agent.kubernetes.own_account import OwnAccount
from weft_agent.kubernetes.pod_watch import PodWatch

__all__ = ["Account", "AccountError", "NodePods", "OwnAccount", "PodWatch"]
