"""Rate-limit buckets of a node, shared by its workers: an open-addressing table of (key, time) in one memory, with locks.

Theory: a bucket is one number, the theoretical arrival time of GCRA, so it fits beside its key in 16 bytes and a bucket
whose time has passed is full, which is the same as not being there: its place may be taken by another key. The table is cut
into groups; a key lives in one group, and a step reads and writes under a lock on that group's byte of the file. These are
record locks, which belong to a process: the kernel drops them when a worker dies in the middle, and the order of the two
writes makes what it leaves behind too strict for a moment, never too lax. A lone worker skips the lock.

When a group has no place left, a new key is refused until the first place falls free: forgetting a bucket that is in use
would let its owner start anew. `now` must be the same clock in all workers: `time.monotonic()`, not trio's, which adds an
offset of its own to each process.

Source: fcntl_locking(2); Brandur Leach, "Rate limiting, cells, and GCRA".
"""

import fcntl
import mmap
from hashlib import blake2b
from typing import Final

from weft_agent.channel import memfd
from weft_agent.channel.layout import BUCKET_GROUPS, BUCKETS_PER_GROUP
from weft_core.policy.ratelimit import gcra

SLOTS: Final = BUCKET_GROUPS * BUCKETS_PER_GROUP
"""65 536 buckets; two limits for each of 500 pods' 60 clients."""


def key_hash(key: str) -> int:
    """Return a bucket's 64-bit number, the same in every process and never 0.

    Args:
        key: `LimitRef.key`, unique per node.
    """
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") or 1


class Buckets:
    """The table, as one worker sees it.

    Args:
        fd: shared memory of `BUCKETS_BYTES`; owned from now on.
        alone: True when no other process uses the table, so that no lock is needed.
    """

    __slots__ = ("_fd", "_keys", "_map", "_times", "alone")

    def __init__(self, fd: int, *, alone: bool) -> None:
        self._fd = fd
        self._map: mmap.mmap = memfd.mapped(fd)
        view = memoryview(self._map)
        self._keys = view[: SLOTS * 8].cast("Q")
        self._times = view[SLOTS * 8 :].cast("d")
        self.alone = alone

    @property
    def fd(self) -> int:
        """The memory's descriptor, to be handed on."""
        return self._fd

    def take(self, key: int, now: float, rate_per_s: float, burst: int) -> float:
        """Take one token.

        Args:
            key: from `key_hash`.
            now: `time.monotonic()`.
            rate_per_s: refill.
            burst: size of the bucket, at least 1.

        Returns:
            0.0 when there was a token, else the seconds until there is one.
        """
        group = key % BUCKET_GROUPS
        if self.alone:
            return self._step(group, key, now, rate_per_s, burst)
        fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, group)
        try:
            return self._step(group, key, now, rate_per_s, burst)
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, group)

    def close(self) -> None:
        """Unmap the table; drops this process's locks on it."""
        self._keys.release()
        self._times.release()
        self._map.close()

    def _step(self, group: int, key: int, now: float, rate_per_s: float, burst: int) -> float:
        slot, known = self._find(group, key, now)
        if slot < 0:
            base = group * BUCKETS_PER_GROUP
            return min(self._times[base : base + BUCKETS_PER_GROUP].tolist()) - now
        allowed, arrival, retry_after_s = gcra(self._times[slot] if known else 0.0, now, rate_per_s, burst)
        if not allowed:
            return retry_after_s
        self._times[slot] = arrival  # before the key: see the module's theory
        if not known:
            self._keys[slot] = key
        return 0.0

    def _find(self, group: int, key: int, now: float) -> tuple[int, bool]:
        """Return the key's slot and True, or the slot it may take and False; -1 when the group is full."""
        keys = self._keys
        base = group * BUCKETS_PER_GROUP
        start = (key // BUCKET_GROUPS) % BUCKETS_PER_GROUP
        free = -1
        for step in range(BUCKETS_PER_GROUP):
            slot = base + (start + step) % BUCKETS_PER_GROUP
            found = keys[slot]
            if found == key:
                return slot, True
            if found == 0:
                return (slot if free < 0 else free), False
            if free < 0 and self._times[slot] <= now:
                free = slot
        return free, False
