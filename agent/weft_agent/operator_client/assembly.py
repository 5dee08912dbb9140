"""Updates from their parts: complete before anything of them counts, and never out of order.

Theory: an update comes as one message or several with the same nonce, the last of which says that no more come. Nonces rise.
What breaks these rules ends the session: the difference between what the operator thinks we hold and what we hold would
never be noticed otherwise. A new session begins with a new assembly, so a half update leaves nothing behind.

Source: `weft_contract.stream.Update`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from weft_agent.operator_client.errors import ProtocolError
from weft_contract.stream import Hash, Key, Update

MAX_UPDATE_BYTES: Final = 256 * 1024 * 1024
"""As large as the largest file of the static mode."""


@dataclass(frozen=True, slots=True)
class Change:
    """One whole update, or several that were merged because nobody had taken the first yet."""

    nonces: tuple[int, ...]
    """Rising; all of them are acknowledged together."""
    upserts: Mapping[Key, tuple[Hash, bytes]]
    removes: frozenset[Key]
    """None of them is in `upserts`."""

    def then(self, later: "Change") -> "Change":
        """Return what both make together, the later one winning."""
        upserts = {key: item for key, item in self.upserts.items() if key not in later.removes} | dict(later.upserts)
        removes = (self.removes - later.upserts.keys()) | later.removes
        return Change((*self.nonces, *later.nonces), upserts, removes)


class Assembly:
    """The parts of one session's updates."""

    def __init__(self) -> None:
        self._last_nonce: int | None = None
        self._open: bool = False
        self._upserts: dict[Key, tuple[Hash, bytes]] = {}
        self._removes: set[Key] = set()
        self._bytes = 0

    def take(self, part: Update) -> Change | None:
        """Take a part; return the update when it is whole.

        Raises:
            ProtocolError: a nonce that does not rise, parts of two updates mixed, a resource named twice, or too much.
        """
        self._check_nonce(part.nonce)
        for key, content_hash, body in part.upserts:
            self._name_once(key)
            self._upserts[key] = (content_hash, body)
            self._bytes += len(key) + len(body)
        for key in part.removes:
            self._name_once(key)
            self._removes.add(key)
            self._bytes += len(key)
        if self._bytes > MAX_UPDATE_BYTES:
            raise ProtocolError(f"update {part.nonce} is larger than {MAX_UPDATE_BYTES} bytes")
        self._open = part.more
        if part.more:
            return None
        change = Change((part.nonce,), self._upserts, frozenset(self._removes))
        self._upserts, self._removes, self._bytes = {}, set(), 0
        return change

    def _check_nonce(self, nonce: int) -> None:
        last = self._last_nonce
        if self._open and nonce != last:
            raise ProtocolError(f"a part of update {nonce} came before update {last} was whole")
        if not self._open and last is not None and nonce <= last:
            raise ProtocolError(f"update {nonce} came after update {last}")
        self._last_nonce = nonce

    def _name_once(self, key: Key) -> None:
        if key in self._upserts or key in self._removes:
            raise ProtocolError(f"{key} is named twice in one update")
