"""Is kopf still watching? Two signs that need no request of their own, and what follows when both are missing. Pure.

Theory: a watch can hang without an error, and an operator that hears nothing looks exactly like one that has nothing to do.
So two things are held against each other. The leader renews its Lease every few seconds, and kopf watches that one Lease:
the renewal must come back (this tests kopf's thread, its loop and its connection). And what our own reflectors see of a
watched object, kopf must see too (this tests each watch by itself, exactly when it matters). What does not come back within
`STALE_S` makes kopf be started anew, and when that does not help the process is not alive any more.

Source: kopf issues 585, 957, 996, 1145 ("operator becomes a zombie when the watch stream ends").
"""

from typing import Final

from weft_operator.controllers.resources import Reference

STALE_S: Final = 90.0
RESTARTS: Final = 2
"""Starts that are tried before liveness fails."""


class Heartbeat:
    """Times of what was heard and of what is waited for.

    Args:
        now: monotonic seconds; kopf has from here until the first sign is missed.
    """

    def __init__(self, now: float) -> None:
        self._heard = now
        self._expected: dict[Reference, tuple[float, int]] = {}
        self._restarts = 0

    def beat(self, now: float) -> None:
        """Note that the Lease came back."""
        self._heard = now
        if not self._expected:
            self._restarts = 0

    def expect(self, reference: Reference, version: str, now: float) -> None:
        """Note that somebody else saw a version of a watched object."""
        since, _ = self._expected.get(reference, (now, 0))
        self._expected[reference] = (since, _number(version))

    def saw(self, reference: Reference, version: str) -> None:
        """Note that kopf saw a version of an object; a later one will do."""
        expected = self._expected.get(reference)
        if expected is not None and _number(version) >= expected[1]:
            del self._expected[reference]

    def forget(self, reference: Reference) -> None:
        """Drop what is waited for of an object that is gone."""
        self._expected.pop(reference, None)

    def missing(self, now: float) -> str:
        """Return what did not come back, in words; empty: all is well."""
        if now - self._heard > STALE_S:
            return f"nothing was heard for {now - self._heard:.0f} s"
        late = [reference for reference, (since, _) in self._expected.items() if now - since > STALE_S]
        return f"{min(late)} changed {STALE_S:.0f} s ago and was not heard of" if late else ""

    def restarted(self, now: float) -> None:
        """Note that kopf was started anew; everything is waited for from now."""
        self._restarts += 1
        self._heard = now
        self._expected.clear()

    @property
    def alive(self) -> bool:
        """Whether starting anew can still help."""
        return self._restarts <= RESTARTS


def _number(version: str) -> int:
    """Return a resource version as the number it is (API servers order them so since v1.35); 0 where it is none."""
    return int(version) if version.isascii() and version.isdigit() else 0
