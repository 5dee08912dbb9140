"""What the reconciler has to know of an object beside the object: the seam to the live compiler and the config streams."""

from dataclasses import dataclass
from typing import Protocol

from weft_operator.compile import ObjectResult
from weft_operator.conditions import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How things stand with one object."""

    result: ObjectResult
    """What the compiler made of it; of which generation it says itself."""
    progress: Progress
    """On how many nodes that is in force."""


class Outlook(Protocol):
    """Answers what became of objects."""

    def look(self, kind: str, key: str) -> Look | None:
        """Say how things stand with an object; None: the compiler has not seen it (yet), or it is none of its business."""
