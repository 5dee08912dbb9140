"""A digest of a set of resources that follows changes without looking at what did not change.

Theory: the sum, modulo 2^128, of a hash per resource: equal sets have equal sums whatever the order of changes, and adding and
taking away cost one hash each. It tells people and tests whether two states are the same; nothing is trusted because of it
(each resource has its own hash for that).
"""

import hashlib
from typing import Final

_MODULUS: Final = 1 << 128


class ContentDigest:
    """The digest of a changing set of keys with their hashes."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, key: str, content_hash: str) -> None:
        """Add a resource."""
        self._sum = (self._sum + _term(key, content_hash)) % _MODULUS

    def remove(self, key: str, content_hash: str) -> None:
        """Take away a resource that was added."""
        self._sum = (self._sum - _term(key, content_hash)) % _MODULUS

    @property
    def text(self) -> str:
        """The digest in hexadecimal."""
        return f"{self._sum:032x}"


def _term(key: str, content_hash: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{key}\0{content_hash}".encode()).digest()[:16], "big")
