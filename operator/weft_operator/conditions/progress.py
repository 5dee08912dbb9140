"""Programmed: is an object in force on every node that needs it, and if not, where not and why.

The message names nodes and never a duration: a text that changes by itself would be written to the API server again and
again. Names are sorted and few, so that the same state gives the same words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from weft_operator.compile import Verdict
from weft_operator.conditions.condition import Wanted

MAX_NAMES: Final = 5
"""Nodes that a message names; it says how many more there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an object has come."""

    needed: int
    """Nodes that need it."""
    lagging: Sequence[str] = ()
    """Nodes that have not said yet that they have it."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Nodes that kept their last good version, and why."""

    @property
    def missing(self) -> frozenset[str]:
        """Nodes where it is not in force."""
        return frozenset(self.lagging) | self.refused.keys()

    @property
    def text(self) -> str:
        """`n/m`."""
        return f"{self.needed - len(self.missing)}/{self.needed}"


def programmed(accepted: Verdict, progress: Progress) -> Wanted:
    """Return the condition `Programmed`.

    An object that is not accepted is never programmed, also where the refusal it compiles to is in force everywhere:
    whoever waits for this condition waits for what the object says.
    """
    have = progress.needed - len(progress.missing)
    share = f"at {have} of {progress.needed} nodes"
    if not accepted.holds:
        message = f"not accepted; what it refuses until then is in force {share}" if progress.needed else "not accepted"
        return Wanted(type="Programmed", status="False", reason=accepted.reason, message=message)
    if progress.refused:
        node, why = min(progress.refused.items())
        message = f"in force {share}; refused by {_names(progress.refused)}; {node} says: {why}"
        return Wanted(type="Programmed", status="False", reason="Refused", message=message)
    if progress.lagging:
        message = f"in force {share}; waiting for {_names(progress.lagging)}"
        return Wanted(type="Programmed", status="False", reason="Pending", message=message)
    if not progress.needed:
        message = "no pod in the mesh needs it, so that no node does"
        return Wanted(type="Programmed", status="True", reason="NoPods", message=message)
    return Wanted(type="Programmed", status="True", reason="Programmed", message=f"in force {share}")


def _names(nodes: Mapping[str, str] | Sequence[str]) -> str:
    names = sorted(set(nodes))
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
