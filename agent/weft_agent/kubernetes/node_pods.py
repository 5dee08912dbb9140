"""What the API server has shown of this node's pods: those that are there, and those that are gone for certain.

Pure. A pod that was never shown is not gone: the configuration may be ahead of the watch. One that was shown and then
deleted, or that is missing from a later full list, is gone and stays so: uids are never used again.
"""

from collections.abc import Iterable
from typing import Final

from weft_agent.kubernetes.event import Change
from weft_contract.objects import Pod

GONE_MAX: Final = 4096
"""Uids remembered as gone; the configuration forgets a pod within seconds, and a node runs some hundred."""


class NodePods:
    """The pods of one node."""

    def __init__(self) -> None:
        self.present: dict[str, Pod] = {}
        """By uid."""
        self.synced = False
        """Whether a full list was ever taken in."""
        self._gone: dict[str, None] = {}

    def is_gone(self, uid: str) -> bool:
        """Tell whether a pod is certainly gone."""
        return uid in self._gone

    def replace(self, pods: Iterable[Pod]) -> None:
        """Take in a full list."""
        shown = {pod.metadata.uid: pod for pod in pods if pod.metadata.uid not in self._gone}
        for uid in self.present.keys() - shown.keys():
            self._bury(uid)
        self.present = shown
        self.synced = True

    def change(self, kind: Change, pod: Pod) -> bool:
        """Take in one event; True: something is different now."""
        uid = pod.metadata.uid
        if kind == "DELETED":
            known = self.present.pop(uid, None) is not None
            fresh = uid not in self._gone
            self._bury(uid)
            return known or fresh
        if uid in self._gone or self.present.get(uid) == pod:
            return False
        self.present[uid] = pod
        return True

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]
