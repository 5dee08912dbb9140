"""How often a node may ask for certificates: a token bucket for each. Pure; `now` is an argument."""

from dataclasses import dataclass
from typing import Final

BURST: Final = 250.0
"""Requests at once: a node of 110 to 250 pods that starts, each pod with an account of its own."""
RATE_PER_S: Final = 5.0
"""Requests in the long run; a full node that renews everything twice a day needs 0.01 per second."""
FORGET_S: Final = BURST / RATE_PER_S
"""After so long without a request a bucket is full, and nothing need be remembered of it."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class NodeRates:
    """The buckets of all nodes."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._swept = 0.0

    def __len__(self) -> int:
        """Nodes remembered."""
        return len(self._buckets)

    def wait_s(self, node: str, now: float) -> float:
        """Take one request of a node; return in how many seconds it may come again, 0 if it may come now."""
        self._sweep(now)
        bucket = self._buckets.setdefault(node, _Bucket(BURST, now))
        bucket.left = min(BURST, bucket.left + (now - bucket.at) * RATE_PER_S)
        bucket.at = now
        if bucket.left < 1.0:
            return (1.0 - bucket.left) / RATE_PER_S
        bucket.left -= 1.0
        return 0.0

    def _sweep(self, now: float) -> None:
        if now - self._swept > FORGET_S:
            self._swept = now
            for node in [name for name, bucket in self._buckets.items() if now - bucket.at > FORGET_S]:
                del self._buckets[node]
